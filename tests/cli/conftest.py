"""One small finished run for the commands that take one."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from main_job import FORGET, RETAIN, SETTINGS
from srmu import unlearn


@pytest.fixture(scope="session")
def small_base(saved_family: Callable[..., Path]) -> Path:
    """The checkpoint that `finished_run` began with; never write to it."""
    return saved_family("llama_tied", sharded=True)


@pytest.fixture(scope="session")
def finished_run(small_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps; never write to it."""
    out = tmp_path_factory.mktemp("finished") / "run"
    settings = {**SETTINGS, "steps": 2, "forget": FORGET, "retain": RETAIN, "eval": False, "out": str(out)}
    return unlearn(model=small_base, **settings).run_dir


@pytest.fixture
def run_copy(finished_run: Path, tmp_path: Path) -> Path:
    """The run, to be damaged."""
    return Path(shutil.copytree(finished_run, tmp_path / "copy"))
