"""Several seeds as one record: averages first, then the worst case, and no verdict from a part of the seeds."""

import pytest

from srmu.evaluation.attacks.asking import DOES_NOT_COUNT
from srmu.evaluation.attacks.relearn import NO_STEP_COUNTS
from srmu.evaluation.attacks.seeds import over_seeds

ABOUT = {"budget": "quick", "seconds": 1.04, "detail": None, "status": "result"}
BEFORE = {"chance": 0.25, "forget_before": 0.3, "base_before": 0.95, "utility": 0.99, "n": 40}


def point(step, forget, base, utility=0.9):
    return {
        "step": step, "forget": forget, "base": base, "counts": True, "recovery": 9.0, "utility": utility,
        "base_utility": 1.0, "disturbance": 0.1, "base_disturbance": 0.2,
    }  # fmt: skip


def relearned(seed, *points, more=(), **changes):
    cell = {"material": "half", "tuning": "full", "learning_rate": 1e-5, "curve": list(points), "diverged_at": None}
    cells = [cell, *({**cell, "material": "kept", "curve": [one]} for one in more)]
    return {**ABOUT, **BEFORE, "seed": seed, "cells": cells, "recovery": seed / 10, "stderr": 0.1, **changes}


def test_of_one_seed_the_record_is_its_own():
    entry = relearned(3, point(8, 0.5, 0.9))
    assert over_seeds([entry]) == entry


def test_accuracies_are_averaged_before_the_worst_step_is_chosen():
    first = relearned(0, point(8, 0.65, 0.95, utility=0.8), point(16, 0.45, 0.95))
    second = relearned(1, point(8, 0.25, 0.95), point(16, 0.55, 0.95, utility=0.7), forget_before=0.2)
    found = over_seeds([first, second])
    assert found["worst"] == {"material": "half", "tuning": "full", "learning_rate": 1e-5, "step": 16}
    assert (found["forget_after"], found["base_after"]) == (0.5, 0.95)
    assert found["recovery"] == pytest.approx(0.25 / 0.7)
    assert found["utility_after"] == pytest.approx(0.8)
    assert found["forget_before"] == 0.25
    assert (found["seed"], found["n"], found["seconds"], found["status"]) == ([0, 1], 80, 2.1, "result")
    assert found["recovery_by_seed"] == {"0": 0.0, "1": 0.1}
    assert "stderr" not in found
    assert [one["recovery"] for one in found["cells"][0]["curve"]] == pytest.approx([0.2 / 0.7, 0.25 / 0.7])


def test_only_what_all_seeds_have_and_what_counts_on_average_is_looked_at():
    # After 16 steps the base has lost too much on average, and only one seed went to 30 or told kept facts.
    first = relearned(0, point(8, 0.3, 0.9), point(16, 0.9, 0.9), point(30, 0.9, 0.9), more=[point(8, 0.9, 0.9)])
    second = relearned(1, point(8, 0.3, 0.9), point(16, 0.9, 0.3))
    found = over_seeds([first, second])
    assert found["worst"]["step"] == 8
    assert [one["counts"] for one in found["cells"][0]["curve"]] == [True, False]
    assert len(found["cells"]) == 1


def test_seeds_of_which_none_counts_may_count_together_and_else_do_not():
    lost = {"status": "not applicable", "detail": f"{NO_STEP_COUNTS}; lora: none", "recovery": None}
    entries = [relearned(0, point(8, 0.3, 0.6), **lost), relearned(1, point(8, 0.3, 0.96))]
    found = over_seeds(entries)
    assert (found["status"], found["base_after"]) == ("result", pytest.approx(0.78))
    found = over_seeds([entries[0], relearned(1, point(8, 0.3, 0.6), **lost)])
    assert (found["status"], found["detail"]) == ("not applicable", f"{NO_STEP_COUNTS}; lora: none")
    assert "recovery" not in found


@pytest.mark.parametrize("status", ["error", "skipped", "not applicable"])
def test_a_seed_without_numbers_leaves_no_verdict(status):
    broken = {"status": status, "detail": "why", "budget": "quick", "seed": 1, "seconds": 0.5}
    found = over_seeds([relearned(0, point(8, 0.5, 0.9)), broken])
    assert (found["status"], found["detail"], found["seed"]) == (status, "seed 1: why", [0, 1])
    assert "forget_after" not in found


def test_an_error_is_said_before_anything_else():
    entries = [
        {"status": "skipped", "detail": "no package", "budget": "quick", "seed": 0, "seconds": 0.0},
        {"status": "error", "detail": "ValueError in x.py:1", "budget": "quick", "seed": 1, "seconds": 0.0},
    ]
    assert over_seeds(entries)["status"] == "error"


def test_matched_relearning_takes_the_cell_that_is_worst_on_average():
    def entry(seed, *results):
        cells = [
            {
                "material": material, "tuning": "full", "learning_rate": 1e-5, "disturbance": 0.2, "result": result,
                "base": 0.95, "utility_after": 0.9, "recovery": 9.0,
            }
            for material, result in zip(("half", "kept"), results, strict=True)
        ]  # fmt: skip
        return {**ABOUT, **BEFORE, "seed": seed, "cells": cells, "recovery": 0.5}

    found = over_seeds([entry(0, 0.7, 0.5), entry(1, 0.3, 0.6)])
    assert (found["worst"]["material"], found["forget_after"]) == ("kept", pytest.approx(0.55))
    assert found["worst"]["disturbance"] == pytest.approx(0.2)


def test_an_attack_of_one_number_is_averaged_and_counts_by_its_averages():
    def entry(seed, after, base, **more):
        numbers = {"forget_after": after, "base_after": base, "utility_after": 1.0, "recovery": 0.0}
        return {**ABOUT, **BEFORE, "seed": seed, **numbers, **more}

    lost = {"counts": False, "detail": f"bits; {DOES_NOT_COUNT}"}
    found = over_seeds([entry(0, 0.3, 0.6, **lost), entry(1, 0.5, 1.0, counts=True)])
    assert (found["forget_after"], found["counts"], found["detail"]) == (pytest.approx(0.4), True, "bits")
    assert found["recovery"] == pytest.approx(0.15 / 0.55)
    found = over_seeds([entry(0, 0.3, 0.6, **lost), entry(1, 0.5, 0.6, **lost)])
    assert (found["recovery"], found["counts"]) == (None, False)
    assert found["detail"] == f"bits; {DOES_NOT_COUNT}"
    # At chance nothing can be said of the base, and JSON has no nan.
    assert over_seeds([entry(0, 0.3, 0.25), entry(1, 0.3, 0.25)])["recovery"] is None
    # What is no accuracy of the tested questions counts whatever it is.
    assert over_seeds([entry(0, 0.3, 0.5), entry(1, 0.3, 0.5)])["recovery"] == pytest.approx(0.2)
    assert over_seeds([entry(0, 0.3, 0.5), entry(1, 0.3, 0.5, utility_after=None)])["utility_after"] is None
