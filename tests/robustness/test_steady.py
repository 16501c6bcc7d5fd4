"""A long run neither grows nor leaves anything behind: memory, hooks, file handles."""

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch

from main_job import FORGET, RETAIN, SETTINGS
from srmu import unlearn
from srmu.runtime.progress import Progress, Reporter
from srmu.surgery.truncate import TruncatedModel, load_truncated

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")


def anonymous_bytes() -> int:
    """Memory of this process that is no file's."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))


class Watch(Reporter):
    """Looks at the process at every tenth of the training."""

    def __init__(self) -> None:
        self.memory: list[int] = []
        self.handles: list[int] = []

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        def look(done: int, total: int) -> None:
            if title == "Unlearning" and done and done % (total // 10) == 0:
                gc.collect()
                self.memory.append(anonymous_bytes())
                self.handles.append(len(os.listdir("/proc/self/fd")))

        yield look


def hooks_of(model: torch.nn.Module) -> int:
    return sum(
        len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
        for module in model.modules()
    )


@pytest.mark.parametrize(
    ("steps", "cache_gb"), [(200, 1.0), *(pytest.param(2000, size, marks=pytest.mark.slow) for size in (0.0, 1.0))]
)
def test_a_long_run_stays_as_it_is(
    steps: int, cache_gb: float, saved_family: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[TruncatedModel] = []

    def load(*arguments: Any, **options: Any) -> TruncatedModel:
        loaded.append(load_truncated(*arguments, **options))
        return loaded[-1]

    monkeypatch.setattr("srmu.job.training.load_truncated", load)
    watch = Watch()
    handles = len(os.listdir("/proc/self/fd"))
    settings = {**SETTINGS, "steps": steps, "learning_rate": 1e-4, "cache_gb": cache_gb, "save_every": steps // 20}
    unlearn(
        model=str(saved_family("llama")), forget=FORGET, retain=RETAIN, eval=False, out=str(tmp_path / "run"),
        reporter=watch, **settings,
    )  # fmt: skip
    assert len(watch.memory) == 10
    # The first tenth warms allocators up, which may also take some once later on; what is kept at every step grows from
    # tenth to tenth: a tensor of 4 kB would make 7 MB of 1,800 steps.
    growth = median(later - earlier for earlier, later in pairwise(watch.memory[1:]))
    assert 8 * growth < 4e6, watch.memory
    assert watch.memory[-1] - watch.memory[1] < 12e6, watch.memory
    assert len(set(watch.handles)) == 1
    assert len(os.listdir("/proc/self/fd")) == handles
    assert [hooks_of(truncated.inner) for truncated in loaded] == [0]
