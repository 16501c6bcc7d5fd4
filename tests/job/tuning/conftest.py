"""A tiny model with two sorts of texts, as a plan with its rows."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from main_job import FORGET, RETAIN, SETTINGS, inline, write_texts
from srmu.config.settings import make_config
from srmu.job.plan import Plan, make_plan
from srmu.job.prepare import Prepared, prepare_rows
from srmu.job.tuning.bench import TrialBench
from srmu.job.tuning.validation import heldout_validation
from srmu.runtime.progress import Reporter


class Task(NamedTuple):
    """What trials begin with."""

    plan: Plan
    prepared: Prepared

    def bench(self) -> TrialBench:
        """A new bench, measured on held-out texts and the plan's questions."""
        return TrialBench(self.plan, self.prepared.topics, heldout_validation(self.plan, self.prepared))


@pytest.fixture(scope="session")
def base(saved_family: Callable[..., Path]) -> Path:
    return saved_family("llama")


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture
def make_task(base: Path) -> Callable[..., Task]:
    """A task of the tiny model; arguments are settings."""

    def make(**changes: Any) -> Task:
        given = {
            **SETTINGS,
            "model": str(base),
            "forget": inline(FORGET),
            "retain": inline(RETAIN),
            "steps": 4,
            **changes,
        }
        plan = make_plan(make_config(given))
        return Task(plan, prepare_rows(plan, Reporter()))

    return make
