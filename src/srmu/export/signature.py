"""Signatures over a run's `SHA256SUMS`, made and checked by `ssh-keygen`: srmu handles no key.

They are made with `ssh-keygen -Y sign -f KEY -n srmu RUN/SHA256SUMS`, which is in every OpenSSH since 8.0 (2019).
"""

import shutil
import subprocess
from pathlib import Path

from srmu.errors import InputError
from srmu.results.run_files import SIGNATURE_FILE, SUMS_FILE

NAMESPACE = "srmu"
"""What a signature is for, so that one made for something else does not count here."""
_PATIENCE = 60
"""Seconds that `ssh-keygen` may take."""


def find_signer(run_dir: Path, allowed_signers: Path) -> str | None:
    """Who of those allowed signed the run's `SHA256SUMS` as it is now; none where nobody did.

    Args:
        run_dir: The run directory.
        allowed_signers: A file of names and public keys, as `man ssh-keygen` describes it under ALLOWED SIGNERS.

    Raises:
        InputError: `ssh-keygen` is not installed, or there is no such file.
    """
    if not allowed_signers.is_file():
        raise InputError(
            f"There is no file {str(allowed_signers)!r} of those who may sign. Write a line of a name and a public key."
        )
    signature = str(run_dir / SIGNATURE_FILE)
    principals = _ssh_keygen("find-principals", "-s", signature, "-f", str(allowed_signers))
    for name in (principals or "").splitlines():
        asked = ("-s", signature, "-f", str(allowed_signers), "-I", name, "-n", NAMESPACE)
        if _ssh_keygen("verify", *asked, stdin=run_dir / SUMS_FILE) is not None:
            return name
    return None


def _ssh_keygen(action: str, *arguments: str, stdin: Path | None = None) -> str | None:
    """What it printed; none where it says no."""
    program = shutil.which("ssh-keygen")
    if program is None:
        raise InputError("Signatures are checked with ssh-keygen, which is not installed. Install OpenSSH.")
    content = stdin.read_bytes() if stdin else b""
    try:
        done = subprocess.run(
            [program, "-Y", action, *arguments], input=content, capture_output=True, timeout=_PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    return done.stdout.decode(errors="replace").strip() if done.returncode == 0 else None
