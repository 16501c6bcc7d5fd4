"""What a run wrote while it trained, read back for the report: losses by step and importance maps."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError

from srmu.errors import InputError
from srmu.results.digests import check_listed, read_listed, read_sums
from srmu.results.run_files import IMPORTANCE_FILE, METRICS_FILE
from srmu.results.schema import Mismatch, from_json

MAP_SUFFIX = ".importance_map"
_LONGEST_LINE = 1 << 16
_LARGEST = 3.5e38
"""Losses are float32."""


@dataclass(frozen=True)
class LossStep:
    """The losses of one step.

    Attributes:
        step: Its number, from 1.
        topic: That it trained on.
        forget_loss: None where it was not finite.
        retain_loss: None where it was not finite, or where there was none.
    """

    step: int
    topic: str = ""
    forget_loss: float | None = None
    retain_loss: float | None = None


def read_losses(run_dir: Path) -> list[LossStep]:
    """Losses of every step, in order; none where the run kept no metrics.

    Raises:
        InputError: The file is damaged, or not the one that the run's `SHA256SUMS` lists.
    """
    file = run_dir / METRICS_FILE
    if not file.is_file() and METRICS_FILE not in read_sums(run_dir):
        return []
    check_listed(run_dir, METRICS_FILE)
    return list(_losses(file))


def _losses(file: Path) -> Iterator[LossStep]:
    with file.open("rb") as opened:
        number = 0
        while line := opened.readline(_LONGEST_LINE):
            number += 1
            try:
                found = json.loads(line)
                if not isinstance(found, dict):
                    raise Mismatch(f"it holds {type(found).__name__}, expected an object")
                kept = {name: found[name] for name in LossStep.__dataclass_fields__ if name in found}
                step = from_json(LossStep, kept)
                if any(abs(loss or 0.0) > _LARGEST for loss in (step.forget_loss, step.retain_loss)):
                    raise Mismatch("a loss is larger than float32 allows")
            except (ValueError, RecursionError) as error:
                raise InputError(
                    f"{str(file)!r}, line {number}, is damaged ({str(error)[:100]}). Restore it from a copy."
                ) from None
            yield step


def read_maps(run_dir: Path) -> dict[str, list[float]]:
    """The importance map of each topic, one number a feature; none where the target uses no map.

    Raises:
        InputError: The file is damaged, or not the one that the run's `SHA256SUMS` lists.
    """
    content = read_listed(run_dir, IMPORTANCE_FILE)
    if content is None:
        return {}
    from safetensors.numpy import load  # here, so that commands that show no map need no numpy

    file = run_dir / IMPORTANCE_FILE
    try:
        tensors = load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError, MemoryError) as error:
        raise InputError(f"{str(file)!r} cannot be read ({str(error)[:100]}). Restore it from a copy.") from None
    maps = {}
    for name, tensor in sorted(tensors.items()):
        if not name.endswith(MAP_SUFFIX):
            continue
        values = tensor.tolist() if tensor.ndim == 1 and tensor.dtype == "float32" else []
        if not values or not all(abs(value) <= _LARGEST for value in values):
            raise InputError(
                f"{str(file)!r} is damaged: {name[:100]!r} is {tensor.dtype} {list(tensor.shape)}, expected one finite "
                "float32 number for each feature. Restore it from a copy."
            )
        maps[name.removesuffix(MAP_SUFFIX)] = values
    return maps
