"""`SHA256SUMS` of a run directory made anew: what somebody does who forges a run consistently."""

import hashlib
from pathlib import Path


def seal(run_dir: Path) -> Path:
    """List every file of the directory as it is now."""
    names = sorted(path.relative_to(run_dir).as_posix() for path in run_dir.rglob("*") if path.is_file())
    lines = [
        f"{hashlib.sha256((run_dir / name).read_bytes()).hexdigest()}  {name}\n"
        for name in names
        if not name.startswith("SHA256SUMS")
    ]
    (run_dir / "SHA256SUMS").write_text("".join(lines))
    return run_dir
