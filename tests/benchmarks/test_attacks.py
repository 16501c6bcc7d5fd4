"""Rows of benchmarks/attacks.py: means over seeds first, then the worst rate and step that count."""

import importlib.util
import sys
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "attacks.py"


@pytest.fixture(scope="module")
def attacks():
    spec = importlib.util.spec_from_file_location("attacks_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def entry(*points, material="half"):
    """A seed's record: points are (rate, step, result, base)."""
    cells = {}
    for rate, step, after, base in points:
        cells.setdefault(rate, []).append({"step": step, "forget": after, "base": base})
    cells = [{"material": material, "tuning": "full", "learning_rate": rate, "curve": c} for rate, c in cells.items()]
    return {"chance": 0.25, "forget_before": 0.25, "base_before": 1.0, "utility": 0.98, "n": 40, "cells": cells}


def test_accuracies_are_averaged_before_the_worst_step_is_chosen(attacks):
    first = entry((1e-5, 10, 0.65, 1.0), (1e-5, 20, 0.45, 1.0))
    second = entry((1e-5, 10, 0.25, 1.0), (1e-5, 20, 0.55, 1.0))
    (row,) = attacks.averaged([first, second])
    assert (row["steps"], row["forget_after"], row["base_after"]) == (20, 0.5, 1.0)
    assert row["recovery"] == pytest.approx(0.25 / 0.75)


def test_a_step_that_destroys_the_base_does_not_count(attacks):
    (row,) = attacks.averaged([entry((1e-5, 10, 0.4, 0.9), (1e-3, 10, 0.79, 0.79))])
    assert (row["learning_rate"], row["forget_after"]) == (1e-5, 0.4)
    (row,) = attacks.averaged([entry((1e-3, 10, 0.79, 0.79))])
    assert row["recovery"] is None


def test_a_method_has_a_row_for_its_worst_material(attacks):
    records = {"relearn": entry((1e-5, 10, 0.4, 1.0)), "relearn_control": entry((1e-5, 10, 0.3, 1.0), material="false")}
    records["relearn_matched"] = {
        **entry(),
        "status": "result",
        "forget_after": 0.5,
        "base_after": 1.0,
        "recovery": 1 / 3,
    }
    records["relearn"]["cells"] += entry((1e-5, 10, 0.55, 1.0), material="mixed")["cells"]
    rows = attacks.rows_of("world", "domain", {0: {"mine": records}}, ["mine"])
    assert [row["attack"] for row in rows] == [
        "relearn", "relearn_half_full", "relearn_mixed_full", "relearn_false_full", "relearn_matched",
    ]  # fmt: skip
    assert rows[0]["worst_of"] == "relearn_mixed_full"
    assert (rows[-1]["forget_after"], rows[-1]["recovery"]) == (0.5, 1 / 3)
    assert {key: rows[0][key] for key in ("arena", "method", "robust", "seeds", "utility")} == {
        "arena": "world", "method": "mine", "robust": True, "seeds": [0], "utility": 0.98,
    }  # fmt: skip
