from pathlib import Path
from typing import Any

import pytest

from main_job import FORGET, RETAIN, SETTINGS
from srmu import estimate as estimate_module
from srmu.config import UnlearnConfig
from srmu.estimate import PROCESS_MB, estimate
from srmu.plan import make_plan

RATE = 1e9


@pytest.fixture(autouse=True)
def fixed_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(estimate_module, "_operations_a_second", lambda plan: RATE)


def cost_of(base: Path, **changes: Any) -> dict[str, float]:
    given: dict[str, Any] = {**SETTINGS, "model": str(base), "forget": tuple(FORGET), "retain": tuple(RETAIN)}
    return estimate(make_plan(UnlearnConfig(**{**given, **changes})))


def test_time_grows_with_the_steps_and_the_rows(saved_family):
    base = saved_family("llama")
    once = cost_of(base)["training_seconds"]
    assert cost_of(base, steps=2 * SETTINGS["steps"])["training_seconds"] == pytest.approx(2 * once)
    doubled = cost_of(base, forget_rows=8, retain_rows=8)["training_seconds"]
    assert doubled == pytest.approx(2 * once)


def test_the_operations_are_those_of_the_layers(saved_family):
    # A layer of the tiny Llama: 3 * 32 * 48 (MLP) + 32 * (32 + 16 + 16 + 32) (attention) + 2 * 32 (norms).
    layer = 3 * 32 * 48 + 32 * 96 + 64
    tokens = 8 * 13  # 4 + 4 rows of 12 words and <s>
    expected = tokens * (2 * 4 * layer + 2 * 3 * layer + 2 * 2 * layer + 2 * 3 * 32 * 48) * SETTINGS["steps"] / RATE
    assert cost_of(saved_family("llama"))["training_seconds"] == pytest.approx(expected)


def test_of_experts_only_those_that_a_token_meets_count(saved_family):
    base = saved_family("mixtral", dtype="bfloat16", sharded=True)
    experts, attention, small = 3 * 32 * 48, 32 * 96, 64 + 4 * 32
    layer = 2 * experts + attention + small
    trained = 3 * 4 * 32 * 48
    expected = 104 * (2 * 4 * layer + 2 * 3 * layer + 2 * 2 * layer + 2 * trained) * SETTINGS["steps"] / RATE
    assert cost_of(base)["training_seconds"] == pytest.approx(expected)


def test_a_small_model_is_said_to_need_little_more_than_the_process(saved_family):
    cost = cost_of(saved_family("llama"))
    assert PROCESS_MB < cost["training_mb"] < PROCESS_MB + 20
    assert cost["disk_mb"] == make_plan(
        UnlearnConfig(model=str(saved_family("llama")), forget=tuple(FORGET))
    ).disk_bytes / 1e6  # fmt: skip


def test_the_measured_rate_is_that_of_a_machine(saved_family, monkeypatch):
    monkeypatch.undo()
    plan = make_plan(UnlearnConfig(model=str(saved_family("llama")), forget=tuple(FORGET)))
    assert 1e8 < estimate_module._operations_a_second(plan) < 1e16
