"""One pass over a checkpoint's weight files before anything is computed: their hashes, and whether all is finite."""

import hashlib
from collections.abc import Mapping

import torch

from srmu.errors import InputError, RunError
from srmu.surgery.checkpoint import Checkpoint
from srmu.surgery.header import StoredTensor

_FLOATS = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
_PIECE_BYTES = 1 << 22
# Attention masks that old checkpoints store have four sizes, and may hold minus infinity.
_MASK_DIMENSIONS = 4


def scan_checkpoint(checkpoint: Checkpoint) -> dict[str, str]:
    """SHA-256 of every weight file; layers that a run does not train are looked at too.

    Args:
        checkpoint: It is read once, in pieces.

    Raises:
        InputError: A tensor holds NaN or infinity, or a file is shorter than it was when the checkpoint was opened.
    """
    return {shard: _scan_shard(checkpoint, shard) for shard in checkpoint.shards}


def check_same_base(before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Check that the weight files are those that a run began with, by their hashes.

    Raises:
        RunError: One was exchanged meanwhile.
    """
    for shard in sorted(before.keys() | after.keys()):
        if before.get(shard) != after.get(shard):
            raise RunError(
                f"Weight file {shard!r} of the base changed while the run trained, so the result would be of neither. "
                "Restore the base and begin anew."
            )


def _scan_shard(checkpoint: Checkpoint, shard: str) -> str:
    places = [tensor for tensor in checkpoint.tensors.values() if tensor.shard == shard]
    digest = hashlib.sha256()
    file = checkpoint.path / shard
    with file.open("rb") as opened:
        digest.update(opened.read(min((tensor.start for tensor in places), default=file.stat().st_size)))
        # Tensors follow one another without a gap: the header was checked.
        for tensor in places:
            for start in range(tensor.start, tensor.end, _PIECE_BYTES):
                piece = opened.read(min(_PIECE_BYTES, tensor.end - start))
                if len(piece) != min(_PIECE_BYTES, tensor.end - start):
                    raise InputError(f"Weight file {str(file)!r} became shorter while it was read. Copy it again.")
                digest.update(piece)
                _check_finite(checkpoint, tensor, piece)
    return digest.hexdigest()


def _check_finite(checkpoint: Checkpoint, tensor: StoredTensor, piece: bytes) -> None:
    if tensor.dtype not in _FLOATS or len(tensor.shape) >= _MASK_DIMENSIONS:
        return
    values = torch.frombuffer(bytearray(piece), dtype=_FLOATS[tensor.dtype])
    # The extremes carry any NaN or infinity.
    if not bool(torch.isfinite(torch.stack(values.aminmax())).all()):
        raise InputError(
            f"Tensor {tensor.name!r} of the checkpoint {str(checkpoint.path)!r} is not finite: it holds NaN or "
            "infinity. Use a sound checkpoint."
        )
