"""The header of a safetensors file, read and checked before any of its offsets is trusted.

A file is 8 bytes (length of the header, little-endian), the header (JSON) and the data. The `safetensors`
library checks the same, but neither gives the place of a tensor in the file, which patching needs, nor says
what to do.
"""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from safetensors import SafetensorError, safe_open

from srmu.errors import InputError

HEADER_LIMIT = 100_000_000
"""Longest header in bytes that the format allows."""

DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "U16": 16, "I16": 16, "F16": 16, "BF16": 16, "U32": 32, "I32": 32, "F32": 32,
    "U64": 64, "I64": 64, "F64": 64, "C64": 64, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8, "F6_E2M3": 6, "F6_E3M2": 6, "F4": 4,
}  # fmt: skip
TORCH_DTYPES = {
    "BOOL": torch.bool, "U8": torch.uint8, "I8": torch.int8, "U16": torch.uint16, "I16": torch.int16,
    "F16": torch.float16, "BF16": torch.bfloat16, "U32": torch.uint32, "I32": torch.int32, "F32": torch.float32,
    "U64": torch.uint64, "I64": torch.int64, "F64": torch.float64, "C64": torch.complex64,
    "F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "F8_E8M0": torch.float8_e8m0fnu,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
}  # fmt: skip
"""What torch calls them; it lacks those of less than eight bits."""
_LARGEST = 2**63 - 1


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies: bytes `start` to `end` of the file `shard`.

    Attributes:
        name: Name in the file.
        shard: File name, relative to the checkpoint.
        dtype: As the header spells it: "F32", "BF16", ...
        shape: Sizes; empty for a scalar.
        start: First byte, counted from the beginning of the file.
        end: Byte after the last one.
    """

    name: str
    shard: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def read_header(path: Path, shard: str | None = None) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    """Read the header of a safetensors file and check it against the file.

    Args:
        path: The file.
        shard: Name to store in each entry; none given = the file's name.

    Returns:
        The tensors by name, in the order of their data, and the metadata.

    Raises:
        InputError: The file is missing, truncated, too long, or its header is not to be trusted.
    """
    try:
        raw, file_size = _read_raw(path)
        tensors, metadata = _parse(raw, shard or path.name, file_size)
        # The library has the last word: what it cannot open, Transformers cannot load.
        with safe_open(path, framework="pt"):
            pass
    except OSError as error:
        raise InputError(
            f"Weight file {str(path)!r} cannot be read ({error.strerror or error}). Check the file and its permissions."
        ) from None
    except (ValueError, SafetensorError) as error:
        raise InputError(f"Weight file {str(path)!r} is damaged: {error}. Copy or download it again.") from None
    return tensors, metadata


def _read_raw(path: Path) -> tuple[bytes, int]:
    with path.open("rb") as file:
        file_size = os.fstat(file.fileno()).st_size
        prefix = file.read(8)
        if len(prefix) < 8:
            raise ValueError(f"it has only {file_size} bytes, too few for a safetensors file")
        length = int.from_bytes(prefix, "little")
        if length > HEADER_LIMIT or 8 + length > file_size:
            raise ValueError(f"its header claims {length} bytes, but the file has {file_size}")
        return file.read(length), file_size


def _parse(raw: bytes, shard: str, file_size: int) -> tuple[dict[str, StoredTensor], dict[str, str]]:
    if not raw.startswith(b"{"):
        raise ValueError("its header does not begin with '{'")
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("its header is nested too deeply") from None
    except ValueError as error:
        # JSON and UTF-8 errors quote what they met; one line of it is enough.
        raise ValueError(f"its header is not JSON ({str(error)[:100]})") from None
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ValueError("its metadata is not a mapping of text to text")
    begin = 8 + len(raw)
    tensors = sorted(
        (_entry(name, value, shard, begin) for name, value in header.items()),
        key=lambda tensor: (tensor.start, tensor.end),
    )
    position = begin
    for tensor in tensors:
        if tensor.start != position:
            kind = "overlaps the one before it" if tensor.start < position else "leaves a hole before it"
            raise ValueError(f"tensor {tensor.name!r} {kind}")
        position = tensor.end
    if position != file_size:
        kind = "truncated" if file_size < position else "too long"
        raise ValueError(f"it is {kind}, with {file_size} bytes where its header describes {position}")
    return {tensor.name: tensor for tensor in tensors}, metadata


def _entry(name: str, value: Any, shard: str, begin: int) -> StoredTensor:
    if not name.isascii():
        name.encode()  # a lone surrogate is no text: UnicodeEncodeError is a ValueError
    if not isinstance(value, dict):
        raise ValueError(f"the entry of tensor {name!r} is not an object")
    dtype, shape, offsets = value.get("dtype"), value.get("shape"), value.get("data_offsets")
    if not isinstance(dtype, str) or dtype not in DTYPE_BITS:
        raise ValueError(f"tensor {name!r} has the unknown dtype {str(dtype)[:40]!r}")
    if not _are_sizes(shape):
        raise ValueError(f"the shape of tensor {name!r} is not a list of sizes")
    if not _are_sizes(offsets) or len(offsets) != 2:
        raise ValueError(f"the offsets of tensor {name!r} are not two byte positions")
    bits = DTYPE_BITS[dtype]
    for size in shape:
        bits *= size
        if bits > _LARGEST:
            raise ValueError(f"tensor {name!r} claims an impossible shape")
    if bits != 8 * (offsets[1] - offsets[0]):
        raise ValueError(
            f"tensor {name!r} has {offsets[1] - offsets[0]} bytes, "
            f"but dtype {dtype} and shape {shape[:8]} need {bits / 8:g}"
        )
    return StoredTensor(name, shard, dtype, tuple(shape), begin + offsets[0], begin + offsets[1])


def _are_sizes(value: Any) -> TypeGuard[list[int]]:
    return isinstance(value, list) and all(type(size) is int and 0 <= size <= _LARGEST for size in value)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a name occurs in it twice")
    return result


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
