"""The delta: the changed tensors, and what is needed to rebuild the checkpoint from them and the base."""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from srmu.errors import InputError
from srmu.export.patch import export_checkpoint, name_some, tensor_bytes
from srmu.results.run_files import DELTA_FILE
from srmu.runtime.files import file_sha256, sync
from srmu.surgery.checkpoint import Checkpoint, StoredTensors, open_checkpoint, tensor_sha256
from srmu.surgery.header import StoredTensor, read_header

DELTA_FORMAT = "1"


@dataclass(frozen=True)
class Delta:
    """An opened delta.

    Attributes:
        tensors: The changed tensors by stored name, read when asked for.
        base_shards: SHA-256 of the base's weight files.
        base_tensors: SHA-256 of the base's values of the changed tensors.
        result_tensors: SHA-256 of the new values.
        readme: Model card of the result; none = the base's.
        metadata: All the file's metadata, text to text.
    """

    tensors: StoredTensors
    base_shards: dict[str, str]
    base_tensors: dict[str, str]
    result_tensors: dict[str, str]
    readme: str | None
    metadata: dict[str, str]


def write_delta(
    path: str | Path,
    base: Checkpoint,
    changed: Mapping[str, Tensor],
    *,
    base_shards: Mapping[str, str],
    readme: str | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the changed tensors as a safetensors file, one tensor in memory at a time.

    Args:
        path: File to write; it appears whole or not at all.
        base: The checkpoint that the tensors belong to.
        changed: New values by stored name, in the stored shape and dtype.
        base_shards: SHA-256 of the base's weight files (`CheckReport.base_shards`).
        readme: Model card of the result.
        metadata: Further entries, text to text.
    """
    path = Path(path)
    # The format wants every tensor aligned to its dtype: the widest first.
    names = sorted(changed, key=lambda name: (-changed[name].element_size(), name))
    fields = {
        **(metadata or {}),
        "format": "pt",
        "srmu_delta": DELTA_FORMAT,
        "base_shards": json.dumps(dict(base_shards)),
        "base_tensors": json.dumps({name: tensor_sha256(base, name) for name in names}),
        "result_tensors": json.dumps({name: hashlib.sha256(tensor_bytes(changed[name])).hexdigest() for name in names}),
    }
    if readme is not None:
        fields["readme"] = readme
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        with partial.open("wb") as file:
            file.write(_header([base.tensors[name] for name in names], fields))
            for name in names:
                file.write(tensor_bytes(changed[name]))
        sync(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)


def read_delta(path: str | Path) -> Delta:
    """Open a delta file, or the one of a run directory, and check its tensors against its own hashes.

    Raises:
        InputError: No delta, one of another format, or a damaged one.
    """
    path = Path(path)
    file = path / DELTA_FILE if path.is_dir() else path
    if not file.is_file():
        raise InputError(f"There is no delta at {str(file)!r}. Give a run directory or its {DELTA_FILE}.")
    tensors, metadata = read_header(file)
    if metadata.get("srmu_delta") != DELTA_FORMAT:
        raise InputError(
            f"{str(file)!r} is no delta of this version of srmu (its format is "
            f"{metadata.get('srmu_delta')!r}, "
            f"expected {DELTA_FORMAT!r}). Give the {DELTA_FILE} of a run."
        )
    content = Checkpoint(file.parent, {}, (file.name,), tensors)
    hashes = {key: _hashes(metadata, key, file) for key in ("base_shards", "base_tensors", "result_tensors")}
    if not tensors.keys() == hashes["base_tensors"].keys() == hashes["result_tensors"].keys():
        raise InputError(
            f"The delta {str(file)!r} does not list the hashes of its own tensors. Copy or download it again."
        )
    for name, expected in hashes["result_tensors"].items():
        if tensor_sha256(content, name) != expected:
            raise InputError(f"Tensor {name!r} of the delta {str(file)!r} is damaged. Copy or download the file again.")
    return Delta(StoredTensors(content), **hashes, readme=metadata.get("readme"), metadata=metadata)


def apply_delta(
    base_dir: str | Path, delta_or_run: str | Path, out_dir: str | Path, *, readme: str | None = None
) -> None:
    """Rebuild a run's checkpoint, bit for bit, from the base and the delta.

    Args:
        base_dir: The checkpoint that the run began with.
        delta_or_run: A delta file, or a run directory.
        out_dir: Directory to make; it must be absent or empty.
        readme: Model card to write instead of the delta's own.

    Raises:
        InputError: The wrong base, or what `export_checkpoint` refuses.
    """
    delta = read_delta(delta_or_run)
    base = open_checkpoint(base_dir)
    check_base(base, delta)
    export_checkpoint(base, delta.tensors, out_dir, readme=delta.readme if readme is None else readme)


def check_base(base: Checkpoint, delta: Delta) -> None:
    """Refuse another base than the delta's: changed tensors first, which is quick, then every weight file.

    Raises:
        InputError: Naming the first thing that differs.
    """
    for name, expected in delta.base_tensors.items():
        if name not in base.tensors:
            raise _wrong_base(base, f"it has no tensor {name!r}")
        if (found := tensor_sha256(base, name)) != expected:
            raise _wrong_base(base, f"its tensor {name!r} has SHA-256 {found[:12]}…, expected {expected[:12]}…")
    if set(base.shards) != set(delta.base_shards):
        raise _wrong_base(
            base, f"its weight files are {name_some(base.shards)}, expected {name_some(delta.base_shards)}"
        )
    for shard, expected in delta.base_shards.items():
        if (found := file_sha256(base.path / shard)) != expected:
            raise _wrong_base(base, f"its file {shard!r} has SHA-256 {found[:12]}…, expected {expected[:12]}…")


def _wrong_base(base: Checkpoint, reason: str) -> InputError:
    return InputError(
        f"Checkpoint {str(base.path)!r} is not the base of this delta: {reason}. "
        "Give the checkpoint that the run began with."
    )


def _header(tensors: list[StoredTensor], fields: dict[str, str]) -> bytes:
    entries: dict[str, object] = {"__metadata__": fields}
    position = 0
    for tensor in tensors:
        end = position + tensor.end - tensor.start
        entries[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    content = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    content += b" " * (-len(content) % 8)
    return len(content).to_bytes(8, "little") + content


def _hashes(metadata: dict[str, str], key: str, file: Path) -> dict[str, str]:
    try:
        loaded = json.loads(metadata.get(key, ""))
    except (ValueError, RecursionError):
        loaded = None
    if not isinstance(loaded, dict) or not all(isinstance(value, str) for value in loaded.values()):
        raise InputError(f"The delta {str(file)!r} does not list its {key}. Copy or download it again.")
    return loaded
