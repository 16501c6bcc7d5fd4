"""The patched checkpoint: the base's files, byte for byte, with the changed tensors' bytes written in."""

import hashlib
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from srmu.errors import InputError, RunError
from srmu.results.manifest import TensorChange
from srmu.runtime.files import (
    CHUNK_BYTES,
    can_clone,
    check_space,
    copy_file,
    file_sha256,
    list_files,
    new_directory,
    sync,
)
from srmu.surgery.checkpoint import Checkpoint, open_checkpoint
from srmu.surgery.header import StoredTensor
from srmu.surgery.other_weights import is_other_folder, is_other_weights

STORED_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
"""Dtypes that a changed tensor may have; everything that a solver trains is stored in one of them."""
CARD = "README.md"
_SPARE_BYTES = 1 << 24
_COMPARED_BYTES = 1 << 18
"""Arithmetic on pieces of this size stays in the processor's cache."""


@dataclass(frozen=True)
class CheckReport:
    """What `check_only_changed` found, and the hashes that it computed on the way.

    Attributes:
        changes: One entry a named tensor.
        base_shards: SHA-256 of the base's weight files, by name.
        result_files: SHA-256 of every file of the result, by name.
        left_out: Files of the base, and folders with a '/' at the end, that the result must not have: weights in
            other formats, which would know everything.
    """

    changes: list[TensorChange]
    base_shards: dict[str, str]
    result_files: dict[str, str]
    left_out: tuple[str, ...] = ()


def export_checkpoint(
    base: Checkpoint, changed: Mapping[str, Tensor], out_dir: str | Path, *, readme: str | None = None
) -> None:
    """Write a checkpoint that differs from the base in the changed tensors and its `README.md` alone.

    Every file and folder of the base is copied, links followed, but for weights in other formats beside those that
    are read, such as `pytorch_model.bin` or `onnx/`: unchanged, they would know everything. `config.json`
    comes last: what a killed process leaves behind does not load. One tensor is in memory at a time if `changed` reads
    them lazily.

    Args:
        base: The checkpoint to patch; it is only read.
        changed: New values by stored name, in the stored shape and dtype.
        out_dir: Directory to make; it must be absent or empty.
        readme: Text of the model card; none given = the base's stays.

    Raises:
        InputError: A tensor that does not fit, an output that exists or lies inside the base, too little
            disk space.
        RunError: A value that is not finite, or a write that failed.
    """
    out_dir = Path(out_dir)
    _check_tensors(base, changed)
    if out_dir.resolve().is_relative_to(base.path.resolve()):
        raise InputError(
            f"Output {str(out_dir)!r} lies inside the checkpoint {str(base.path)!r}. Choose another place."
        )
    folders, files, _ = copied_files(base)
    places = [base.tensors[name] for name in changed]
    # Flushing a file to the disk overlaps copying the next one.
    with new_directory(out_dir) as partial, ThreadPoolExecutor(max_workers=1) as flusher:
        _check_room(base, changed, files, partial)
        for folder in folders:
            (partial / folder).mkdir()
        if readme is not None:
            files = [name for name in files if name != CARD]
            (partial / CARD).write_bytes(readme.encode())
        flushed = []
        for name in sorted(files, key=lambda name: name == "config.json"):
            copy_file(base.path / name, partial / name)
            _write_tensors(partial / name, [place for place in places if place.shard == name], changed)
            flushed.append(flusher.submit(sync, partial / name))
        last = ["", *folders, *([CARD] if readme is not None else [])]
        flushed += [flusher.submit(sync, partial / name) for name in last]
        for future in flushed:
            future.result()


def check_only_changed(
    base: Checkpoint, result_dir: str | Path, names: Collection[str], *, allow_unchanged: bool = False
) -> CheckReport:
    """Compare a result with its base, every byte of every file, in one streamed pass.

    Args:
        base: The checkpoint that was patched.
        result_dir: The result.
        names: Stored names of the tensors that may differ.
        allow_unchanged: Accept named tensors that did not change (an expert that no token reached), not all
            of them.

    Raises:
        InputError: The result is no checkpoint, or a named tensor of the base is not finite.
        RunError: Another tensor or file differs, a named tensor does not differ or is not finite.
    """
    result = open_checkpoint(result_dir)
    left_out = _check_same_files(base, result)
    base_shards, result_files = {}, {}
    for shard in base.shards:
        base_shards[shard], result_files[shard], differing = _compare_shard(base, result.path, shard)
        if unexpected := sorted(set(differing) - set(names)):
            raise RunError(f"{unexpected[0]!r} in {shard!r} differs from the base though it was not to change.")
    for name in list_files(result.path)[1]:
        if name in result_files:
            continue
        result_files[name] = file_sha256(result.path / name)
        if name != CARD and result_files[name] != file_sha256(base.path / name):
            raise RunError(
                f"File {name!r} of {str(result.path)!r} differs from the base's though it was not to change."
            )
    changes = [_compare(base, base.tensors[name], result.path) for name in names]
    unchanged = [change.name for change in changes if change.changed_fraction == 0]
    if len(unchanged) == len(changes):
        raise RunError(
            "No tensor differs from the base after rounding to its stored dtype. Raise the learning rate or the steps."
        )
    if unchanged and not allow_unchanged:
        raise RunError(
            f"Tensor {unchanged[0]!r} was to change and equals the base's. Raise the learning rate or the steps."
        )
    return CheckReport(changes, base_shards, dict(sorted(result_files.items())), left_out)


def copied_files(checkpoint: Checkpoint) -> tuple[list[str], list[str], list[str]]:
    """Folders and files of a checkpoint that a result takes over, and what it leaves out (see `CheckReport`)."""
    skipped: list[str] = []

    def skip(name: str) -> bool:
        if other := is_other_folder(name):
            skipped.append(name + "/")
        return other

    folders, files = list_files(checkpoint.path, skip)
    others = [name for name in files if is_other_weights(checkpoint.path, name, checkpoint.weight_files)]
    kept = [name for name in files if name not in others]
    return folders, kept, sorted([*skipped, *others])


def name_some(names: Iterable[str]) -> str:
    """Three names, and how many more there are."""
    listed = sorted(names)
    return ", ".join(listed[:3]) + (f" and {len(listed) - 3} more" if len(listed) > 3 else "")


def tensor_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor as a file stores them (little-endian machines); shares memory where it can."""
    return tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data


def is_finite(tensor: Tensor) -> bool:
    """Whether every value is finite: the extremes carry any NaN or infinity; cheaper than `isfinite`."""
    return not tensor.numel() or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())


def _check_tensors(base: Checkpoint, changed: Mapping[str, Tensor]) -> None:
    if not changed:
        raise InputError("No tensor to change was given. Name at least one.")
    for name in changed:
        if name not in base.tensors:
            raise InputError(
                f"Tensor {name!r} is not in checkpoint {str(base.path)!r}. Use the base that it belongs to."
            )
        stored, tensor = base.tensors[name], changed[name]
        if tuple(tensor.shape) != stored.shape or tensor.dtype != STORED_DTYPES.get(stored.dtype):
            raise InputError(
                f"Tensor {name!r} is {list(tensor.shape)} {tensor.dtype}, "
                f"but checkpoint {str(base.path)!r} stores "
                f"{list(stored.shape)} {stored.dtype}. Use the base that it belongs to, and its stored dtype."
            )
        if not is_finite(tensor):
            raise RunError(
                f"Tensor {name!r} is not finite, so nothing was written. Lower the learning rate or the steering "
                "coefficient."
            )


def _check_room(base: Checkpoint, changed: Mapping[str, Tensor], files: list[str], partial: Path) -> None:
    if can_clone(base.path / base.shards[0], partial):
        # Blocks are shared until written: the shards cost what changes in them.
        needed = sum(base.tensors[name].end - base.tensors[name].start for name in changed)
        files = [name for name in files if name not in base.shards]
    else:
        needed = 0
    needed += sum((base.path / name).stat().st_size for name in files)
    check_space(partial, needed + _SPARE_BYTES)


def _write_tensors(file: Path, places: list[StoredTensor], changed: Mapping[str, Tensor]) -> None:
    """Write tensors of this file over the copied ones, and read them back."""
    if not places:
        return
    with file.open("r+b", buffering=0) as opened:
        for place in places:
            content = tensor_bytes(changed[place.name])
            for start in range(0, len(content), CHUNK_BYTES):
                piece = content[start : start + CHUNK_BYTES]
                written = 0
                while written < len(piece):
                    written += os.pwrite(opened.fileno(), piece[written:], place.start + start + written)
                if os.pread(opened.fileno(), len(piece), place.start + start) != bytes(piece):
                    raise RunError(
                        f"Tensor {place.name!r} could not be read back as written. Check the disk of {str(file)!r}."
                    )


def _check_same_files(base: Checkpoint, result: Checkpoint) -> tuple[str, ...]:
    """Check that the result has the base's files but for weights in other formats; which those are."""
    base_folders, base_files, left_out = copied_files(base)
    result_folders, result_files, others = copied_files(result)
    if others:
        raise RunError(
            f"{others[0]!r} of {str(result.path)!r} holds weights in another format, which know everything. Remove it."
        )
    base_names, result_names = {*base_folders, *base_files} - {CARD}, {*result_folders, *result_files} - {CARD}
    if difference := sorted(base_names ^ result_names):
        where = "the base" if difference[0] in base_names else "the result"
        raise RunError(f"{difference[0]!r} is only in {where}; base and result must hold the same files.")
    return tuple(left_out)


def _compare_shard(base: Checkpoint, result_dir: Path, shard: str) -> tuple[str, str, list[str]]:
    """Hashes of a shard of the base and of the result, and what differs: tensor names, or "header"."""
    places = [tensor for tensor in base.tensors.values() if tensor.shard == shard]
    header_end = min(tensor.start for tensor in places) if places else (base.path / shard).stat().st_size
    segments = [("header", 0, header_end), *((place.name, place.start, place.end) for place in places)]
    base_digest = hashlib.sha256()
    result_digest = base_digest
    differing = []
    with (base.path / shard).open("rb") as base_file, (result_dir / shard).open("rb") as result_file:
        for name, start, end in segments:
            for position in range(start, end, CHUNK_BYTES):
                size = min(CHUNK_BYTES, end - position)
                expected, found = base_file.read(size), result_file.read(size)
                if expected != found and result_digest is base_digest:
                    # Until the first difference one digest serves both files.
                    result_digest = base_digest.copy()
                base_digest.update(expected)
                if result_digest is not base_digest:
                    result_digest.update(found)
                if expected != found and name not in differing:
                    differing.append(name)
        if result_file.read(1):
            differing.append("the end of the file")
    return base_digest.hexdigest(), result_digest.hexdigest(), differing


def _compare(base: Checkpoint, stored: StoredTensor, result_dir: Path) -> TensorChange:
    changed = entries = 0
    base_square = difference_square = largest = 0.0
    dtype = STORED_DTYPES[stored.dtype]
    bits = {2: torch.int16, 4: torch.int32, 8: torch.int64}[dtype.itemsize]
    for base_bytes, result_bytes in zip(_pieces(base.path, stored), _pieces(result_dir, stored), strict=True):
        before = torch.frombuffer(base_bytes, dtype=dtype)
        after = torch.frombuffer(result_bytes, dtype=dtype)
        changed += int(torch.count_nonzero(before.view(bits) != after.view(bits)))
        entries += before.numel()
        values = before.double()
        difference = after.double() - values
        base_square += float(values.dot(values))
        difference_square += float(difference.dot(difference))
        low, high = difference.aminmax()
        largest = max(largest, -float(low), float(high))
    if not math.isfinite(base_square):
        raise InputError(
            f"Tensor {stored.name!r} of the base {str(base.path)!r} is not finite. Use a sound checkpoint."
        )
    if not math.isfinite(difference_square):
        raise RunError(f"Tensor {stored.name!r} of {str(result_dir)!r} is not finite.")
    relative = (difference_square / base_square) ** 0.5 if base_square else float(difference_square > 0)
    fraction = changed / max(entries, 1)
    return TensorChange(stored.name, stored.shard, stored.dtype, stored.shape, fraction, relative, largest)


def _pieces(directory: Path, stored: StoredTensor) -> Iterator[bytearray]:
    with (directory / stored.shard).open("rb") as file:
        file.seek(stored.start)
        for position in range(stored.start, stored.end, _COMPARED_BYTES):
            yield bytearray(file.read(min(_COMPARED_BYTES, stored.end - position)))
