"""Verification of a run directory, by its `SHA256SUMS` and its manifest. What was not checked never reads as passed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from srmu.errors import InputError, SrmuError
from srmu.export.delta import check_base, read_delta
from srmu.export.patch import check_only_changed, copied_files, is_finite
from srmu.export.signature import find_signer
from srmu.results.base_place import base_places, find_base
from srmu.results.digests import read_sums, settle, unlisted
from srmu.results.manifest import Base, Manifest, Parent, read_any_manifest
from srmu.results.records import read_results
from srmu.results.run_files import DELTA_FILE, MANIFEST_FILE, MODEL_DIR, SIGNATURE_FILE, SUMS_FILE, is_read
from srmu.runtime.files import file_sha256, list_files
from srmu.surgery.checkpoint import open_checkpoint, read_tensor, tensor_sha256

Status = Literal["pass", "fail", "skipped", "error"]


@dataclass(frozen=True)
class Check:
    """One check of a run directory.

    Attributes:
        name: What was to be checked.
        status: pass and fail are verdicts; skipped was not done, for the reason in `detail`; error could not
            be done.
        detail: What was found.
    """

    name: str
    status: Status
    detail: str


class _Fail(Exception):
    """The check was done and the run directory is wrong."""


class _Skip(Exception):
    """The check was not done."""


def verify_run(
    run_dir: str | Path, *, base: str | Path | None = None, allowed_signers: str | Path | None = None
) -> list[Check]:
    """Check a run directory against its own hashes, and against the base where that is at hand.

    Args:
        run_dir: A finished run directory.
        base: The base checkpoint; none given = the path in the manifest, if it still holds the base.
        allowed_signers: Who may have signed the run, as `ssh-keygen` reads them; none given = nobody is asked for.

    Returns:
        One entry a check, always the same ones in the same order. All is well only if none is "fail" or
        "error"; checks that are "skipped" were not made.
    """
    run_dir = Path(run_dir)
    found: list[Manifest] = []
    hashes = _Hashes()

    def load() -> str:
        found.append(read_any_manifest(run_dir))
        return f"{len(found[0].changed)} changed tensors, {len(found[0].result.files)} files"

    def need(check: Callable[[Manifest], str]) -> Callable[[], str]:
        def run() -> str:
            if not found:
                raise _Skip("the manifest cannot be read")
            return check(found[0])

        return run

    steps: dict[str, Callable[[], str]] = {
        "every file": lambda: _check_sums(run_dir, hashes),
        "signature": lambda: _check_signature(run_dir, allowed_signers),
        "manifest": load,
        "results": lambda: _check_results(run_dir),
        "files of the model": need(lambda manifest: _check_hashes(run_dir / MODEL_DIR, manifest.result.files, hashes)),
        "no file more or less": need(lambda manifest: _check_names(run_dir / MODEL_DIR, manifest.result.files)),
        "files of the run": need(lambda manifest: _check_hashes(run_dir, manifest.run_files, hashes)),
        "changed tensors finite": need(lambda manifest: _check_finite(run_dir, manifest)),
        "delta equals the model": need(lambda manifest: _check_delta(run_dir, manifest)),
        "chain of requests": need(lambda manifest: _check_chain(run_dir, manifest)),
        "nothing else differs from the base": need(lambda manifest: _check_base(run_dir, manifest, base)),
    }
    return [_run(name, step) for name, step in steps.items()]


def _run(name: str, step: Callable[[], str]) -> Check:
    try:
        return Check(name, "pass", step())
    except _Fail as failure:
        return Check(name, "fail", str(failure))
    except _Skip as reason:
        return Check(name, "skipped", str(reason))
    except (SrmuError, OSError) as error:
        return Check(name, "error", str(error))


class _Hashes:
    """SHA-256 of files, each read once."""

    def __init__(self) -> None:
        self._known: dict[Path, str] = {}

    def of(self, file: Path) -> str:
        if file not in self._known:
            self._known[file] = file_sha256(file)
        return self._known[file]


def _check_sums(run_dir: Path, hashes: _Hashes) -> str:
    settle(run_dir)
    digests = read_sums(run_dir)
    if MANIFEST_FILE not in digests:
        raise _Fail(f"{SUMS_FILE} does not list {MANIFEST_FILE!r}")
    _check_hashes(run_dir, digests, hashes)
    others = unlisted(run_dir, digests)
    if ours := [name for name in others if is_read(name)]:
        raise _Fail(f"{SUMS_FILE} does not list {ours[0]!r}, which srmu would read")
    more = f"; {len(others)} more are no part of the run, such as {others[0]!r}" if others else ""
    own = hashes.of(run_dir / SUMS_FILE)
    return f"{len(digests)} files have the hashes in {SUMS_FILE}, whose own SHA-256 is {own}{more}"


def _check_results(run_dir: Path) -> str:
    results = read_results(run_dir)
    counts = {
        "groups of questions": len(results.all_questions), "groups of texts": len(results.all_texts),
        "attacks": len(results.attacks),
    }  # fmt: skip
    return ", ".join(f"{name}: {count}" for name, count in counts.items() if count) or "nothing was measured"


def _check_signature(run_dir: Path, allowed_signers: str | Path | None) -> str:
    signed = (run_dir / SIGNATURE_FILE).is_file()
    if allowed_signers is None:
        raise _Skip(
            "it is signed; say by whom it may be with --allowed-signers" if signed else f"there is no {SIGNATURE_FILE}"
        )
    if not signed:
        raise _Fail(f"there is no {SIGNATURE_FILE}: nobody signed the run")
    signer = find_signer(run_dir, Path(allowed_signers))
    if signer is None:
        raise _Fail(
            f"{SIGNATURE_FILE} is no signature of this {SUMS_FILE} by any of {str(allowed_signers)!r}; the run may "
            "have been added to since it was signed"
        )
    return f"{SUMS_FILE} was signed by {signer!r}"


def _check_hashes(directory: Path, digests: Mapping[str, str], hashes: _Hashes) -> str:
    for name, expected in digests.items():
        # A manifest may come from elsewhere: its names must not lead out of the run directory.
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise _Fail(f"the manifest lists {name!r}, outside the run directory")
        if not (directory / name).is_file():
            raise _Fail(f"{name!r} is missing")
        if (found := hashes.of(directory / name)) != expected:
            raise _Fail(f"{name!r} has SHA-256 {found[:12]}…, recorded {expected[:12]}…")
    return f"{len(digests)} files have their recorded hashes"


def _check_names(directory: Path, hashes: Mapping[str, str]) -> str:
    if not directory.is_dir():
        raise _Fail(f"there is no {directory.name!r} directory")
    found = set(list_files(directory)[1])
    if extra := sorted(found - hashes.keys()):
        raise _Fail(
            f"{extra[0]!r} is not in the manifest" + (f", nor are {len(extra) - 1} more" if len(extra) > 1 else "")
        )
    if missing := sorted(hashes.keys() - found):
        raise _Fail(f"{missing[0]!r} is missing" + (f", and {len(missing) - 1} more" if len(missing) > 1 else ""))
    if others := copied_files(open_checkpoint(directory))[2]:
        raise _Fail(f"{others[0]!r} holds weights in another format, which know everything")
    return f"the same {len(found)} files"


def _check_finite(run_dir: Path, manifest: Manifest) -> str:
    checkpoint = open_checkpoint(run_dir / MODEL_DIR)
    for change in manifest.changed:
        if change.name not in checkpoint.tensors:
            raise _Fail(f"tensor {change.name!r} is not in the model")
        if not is_finite(read_tensor(checkpoint, change.name)):
            raise _Fail(f"tensor {change.name!r} is not finite")
    return f"{len(manifest.changed)} tensors"


def _check_delta(run_dir: Path, manifest: Manifest) -> str:
    if DELTA_FILE not in manifest.run_files:
        raise _Skip(f"the run recorded no {DELTA_FILE}")
    if not (run_dir / DELTA_FILE).is_file():
        raise _Fail(f"{DELTA_FILE!r} is missing")
    delta = read_delta(run_dir)
    names = {change.name for change in manifest.changed}
    if names != set(delta.tensors):
        raise _Fail("the delta holds other tensors than the manifest names")
    checkpoint = open_checkpoint(run_dir / MODEL_DIR)
    for name, expected in delta.result_tensors.items():
        if name not in checkpoint.tensors or tensor_sha256(checkpoint, name) != expected:
            raise _Fail(f"tensor {name!r} of the model differs from the delta")
    return f"{len(names)} tensors are equal"


def _check_base(run_dir: Path, manifest: Manifest, base: str | Path | None) -> str:
    recorded = manifest.base
    path = Path(base) if base is not None else find_base(run_dir, recorded)
    if base is None and not path.is_dir():
        raise _Skip(f"the base is not at {str(path)!r} any more; give it with --base")
    checkpoint = open_checkpoint(path)
    shards = {shard: file_sha256(path / shard) for shard in checkpoint.shards}
    if shards != recorded.shards:
        if base is None:
            raise _Skip(f"{str(path)!r} holds another checkpoint now; give the base with --base")
        raise InputError(f"Checkpoint {str(path)!r} is not the base of this run. Give the one that the run began with.")
    if DELTA_FILE in manifest.run_files:
        check_base(checkpoint, read_delta(run_dir))
    try:
        names = [change.name for change in manifest.changed if change.name in checkpoint.tensors]
        check_only_changed(checkpoint, run_dir / MODEL_DIR, names, allow_unchanged=True)
    except SrmuError as error:
        raise _Fail(str(error)) from None
    return f"{len(checkpoint.tensors) - len(names)} other tensors and every other file are equal to the base's"


def _check_chain(run_dir: Path, manifest: Manifest) -> str:
    """Follow the runs that this one builds on back to the first base, by the hashes that each has of the one before."""
    runs: list[str] = []
    while (parent := manifest.base.parent) is not None:
        run_dir, manifest = _follow(run_dir, manifest.base, parent)
        runs.append(run_dir.name)
    base = manifest.base
    if not runs:
        return f"no earlier request: the run builds on {Path(base.model).name!r} itself"
    path = find_base(run_dir, base)
    links = f"earlier requests {', '.join(reversed(runs))}, back to the base {path.name!r}"
    for shard, digest in base.shards.items():
        if not (path / shard).is_file():
            raise _Skip(f"{links}: the links hold, but the base is not at {str(path)!r} any more")
        if file_sha256(path / shard) != digest:
            raise _Skip(f"{links}: the links hold, but {str(path)!r} holds another checkpoint now")
    return links


def _follow(run_dir: Path, base: Base, parent: Parent) -> tuple[Path, Manifest]:
    """The parent run, where it was or beside its child, and its manifest; both are those that the child recorded."""
    name = parent.run
    if not name or Path(name).name != name:
        raise _Fail(f"the manifest names {name!r} as its parent run, which is no directory name")
    places = [*(place.parent for place in base_places(run_dir, base)), run_dir.absolute().parent / name]
    present = [place for place in places if (place / MANIFEST_FILE).is_file()]
    if not present:
        raise _Skip(f"run {name!r}, on whose model {run_dir.name!r} builds, was not found")
    same = [place for place in present if file_sha256(place / MANIFEST_FILE) == parent.manifest_sha256]
    if not same:
        raise _Fail(f"the manifest of run {name!r} is not the one that {run_dir.name!r} recorded")
    manifest = read_any_manifest(same[0])
    files = manifest.result.files
    if wrong := [shard for shard, digest in base.shards.items() if files.get(shard) != digest]:
        raise _Fail(f"{wrong[0]!r} of run {name!r} has another hash there than in {run_dir.name!r}")
    return same[0], manifest
