"""What all benchmarks share: where a model computes, how long it takes, and where its result is kept."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from srmu.evaluation.model_pair import LoadedModel, ModelPair, free, load_for_measuring, resolve_pair
from srmu.results.benchmarks.records import Benchmarks
from srmu.results.records import add_results, read_results
from srmu.runtime.processes import connect, main_process, sharing, together
from srmu.surgery.whole_model import MemoryLimit

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ComputeOptions:
    """Where and in which precision models compute, as for `srmu evaluate`."""

    device: str = "auto"
    dtype: str = "auto"
    memory_gb: MemoryLimit = "auto"
    trust_remote_code: bool = False


def find_model(model: str, compute: ComputeOptions, *, base: str | None = None) -> ModelPair:
    """The checkpoint that a MODEL|RUN argument names, and its base; several processes meet here.

    Raises:
        InputError: There is none, or the run's results cannot be added to.
    """
    connect(cpu=compute.device == "cpu")
    with together():
        pair = resolve_pair(model, base)
        if pair.run_dir is not None:
            # A file that cannot be added to is to be known before hours of measuring.
            read_results(pair.run_dir)
    return pair


def measured(path: Path, compute: ComputeOptions, measure: Callable[[LoadedModel], T]) -> T:
    """What a function finds on a model that is loaded for it alone; several processes share its batches.

    Raises:
        InputError: The checkpoint cannot be loaded, and what the function raises.
    """
    model = load_for_measuring(
        path, device=compute.device, dtype=compute.dtype, memory_gb=compute.memory_gb,
        trust_remote_code=compute.trust_remote_code,
    )  # fmt: skip
    with sharing():
        found = measure(model)
    del model
    free(compute.device)
    return found


def keep(pair: ModelPair, found: Benchmarks) -> None:
    """Add results to the run's `results.json`, where the model is a run's; others that are there stay."""
    if pair.run_dir is None or not main_process():
        return
    add_results(pair.run_dir, lambda results: dataclasses.replace(results, benchmarks=results.benchmarks.merged(found)))


def duration(seconds: float) -> str:
    """A time for people, such as `40 s` or `12 min`."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
