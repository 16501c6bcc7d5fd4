"""Rows of benchmarks/attacks.py: one for each way of relearning at its worst, each strength, each other attack."""

import json
from dataclasses import replace

import pytest

from benchmarks.conftest import BENCHMARKS
from srmu.evaluation.attacks.seeds import over_seeds
from srmu.results.attack_records import AttackRecord, Control, CurvePoint, RelearnCell, SweepPoint

ABOUT = {"model": "tiny", "kind": "entities", "request": "africa", "method": "default"}
REQUIRED = {
    "model", "kind", "method", "default", "attack", "learning_rate", "steps", "seeds", "budget", "forget_before",
    "forget_after", "base_after", "gold_after", "recovery", "utility",
}  # fmt: skip
PLAIN = AttackRecord(
    status="result", needs="weights and data", budget="full", seeds=(0,), n=40, chance=0.25, forget_before=0.25,
    base_before=1.0, utility=0.98, forget_after=0.4, base_after=1.0, recovery=0.2, counts=True,
)  # fmt: skip


@pytest.fixture(scope="module")
def attack_rows(benchmark_module):
    return benchmark_module("attack_rows")


def relearned(*points, material="half", seed=0):
    """A seed's record: points are (rate, step, result, base)."""
    cells = {}
    for rate, step, after, base in points:
        counts = base >= 0.8
        point = CurvePoint(
            step=step, forget=after, base=base, counts=counts,
            recovery=(after - 0.25) / (base - 0.25) if counts else None, utility=None, base_utility=None,
            disturbance=0.1, base_disturbance=0.1,
        )  # fmt: skip
        cells.setdefault(rate, []).append(point)
    return replace(
        PLAIN, seeds=(seed,),
        cells=tuple(
            RelearnCell(material=material, tuning="full", learning_rate=rate, curve=tuple(curve))
            for rate, curve in cells.items()
        ),
    )  # fmt: skip


def test_accuracies_are_averaged_before_the_worst_step_is_chosen(attack_rows):
    first = relearned((1e-5, 10, 0.65, 1.0), (1e-5, 20, 0.45, 1.0))
    second = relearned((1e-5, 10, 0.25, 1.0), (1e-5, 20, 0.55, 1.0), seed=1)
    (row,) = attack_rows.rows_of_record("relearn", over_seeds([first, second]), ABOUT, None)
    assert (row["attack"], row["steps"], row["forget_after"], row["base_after"]) == ("relearn_half_full", 20, 0.5, 1.0)
    assert row["recovery"] == pytest.approx(0.25 / 0.75)
    assert (row["seeds"], row["default"], row["budget"], row["utility"]) == ([0, 1], True, "full", 0.98)
    assert row.keys() >= REQUIRED


def test_a_step_that_destroys_the_base_does_not_count(attack_rows):
    record = relearned((1e-5, 10, 0.4, 0.9), (1e-3, 10, 0.79, 0.79))
    (row,) = attack_rows.rows_of_record("relearn", record, {**ABOUT, "method": "mine"}, None)
    assert (row["learning_rate"], row["forget_after"], row["default"]) == (1e-5, 0.4, False)
    (row,) = attack_rows.rows_of_record("relearn", relearned((1e-3, 10, 0.79, 0.79)), ABOUT, None)
    assert (row["recovery"], row["forget_after"]) == (None, None)


def test_each_material_has_its_row_and_needs_data_where_it_tells_facts(attack_rows):
    half, kept = relearned((1e-5, 10, 0.4, 1.0)), relearned((1e-5, 10, 0.5, 1.0), material="kept")
    rows = attack_rows.rows_of_record("relearn", replace(half, cells=half.cells + kept.cells), ABOUT, half)
    assert [(row["attack"], row["needs"], row["gold_after"]) for row in rows] == [
        ("relearn_half_full", "weights and data", 0.4), ("relearn_kept_full", "weights", None),
    ]  # fmt: skip


def test_each_strength_of_a_sweep_has_its_row_and_steps_where_these_are_swept(attack_rows):
    sweep = tuple(
        SweepPoint(at=at, forget=0.3, base=0.9, counts=True, recovery=0.1, utility=1.0, base_utility=1.0)
        for at in (0.1, 0.2)
    )
    record = replace(PLAIN, sweep=sweep, sweep_over="share of the base")
    rows = attack_rows.rows_of_record("interpolate", record, ABOUT, None)
    assert [(row["attack"], row["at"], row["steps"]) for row in rows] == [
        ("interpolate", 0.1, None), ("interpolate", 0.2, None),
    ]  # fmt: skip
    record = replace(
        record, sweep=tuple(replace(point, at=10 * point.at) for point in sweep), sweep_over="steps of search",
        control=Control(model="x", forget=0.2),
    )  # fmt: skip
    rows = attack_rows.rows_of_record("gcg", record, ABOUT, None)
    assert [(row["steps"], row["control"]) for row in rows] == [(1, 0.2), (2, 0.2)]


def test_an_attack_without_numbers_has_no_row(attack_rows):
    assert attack_rows.rows_of_record("int4", AttackRecord(status="skipped"), ABOUT, None) == []
    (row,) = attack_rows.rows_of_record("int4", PLAIN, ABOUT, None)
    assert (row["attack"], row["forget_after"], row["at"]) == ("int4", 0.4, None)


def test_rows_of_other_methods_requests_and_strengths_stay_in_the_file(attack_rows, tmp_path):
    def row(method, number, request="africa", at=None):
        identity = {"model": "tiny", "request": request, "method": method, "attack": "prune", "at": at}
        return identity | {"forget_after": number}

    out = tmp_path / "attacks.json"
    attack_rows.write_rows(out, [row("base", 1), row("rmu", 2)], {"command": "a"})
    attack_rows.write_rows(out, [row("rmu", 3, "elements"), row("rmu", 8, at=0.1)], {"command": "b"})
    attack_rows.write_rows(out, [row("base", 4), row("mine", 5)], {"command": "a"})
    record = json.loads(out.read_text())
    assert {(r["request"], r["method"], r["at"]): r["forget_after"] for r in record["rows"]} == {
        ("africa", "rmu", None): 2, ("elements", "rmu", None): 3, ("africa", "rmu", 0.1): 8,
        ("africa", "base", None): 4, ("africa", "mine", None): 5,
    }  # fmt: skip
    assert [made["command"] for made in record["made"]] == ["b", "a"]


def test_each_committed_row_has_all_keys_and_stands_once(attack_rows):
    rows = json.loads((BENCHMARKS / "results" / "attacks.json").read_text())["rows"]
    assert all(row.keys() >= REQUIRED | set(attack_rows.IDENTITY) for row in rows)
    assert len({attack_rows.identity(row) for row in rows}) == len(rows)
