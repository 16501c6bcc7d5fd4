"""Several seeds as one record: averages first, then the worst case, and no verdict from a part of the seeds."""

from dataclasses import replace

import pytest

from srmu.evaluation.attacks.seeds import over_seeds
from srmu.results.attack_records import (
    DOES_NOT_COUNT,
    NO_STEP_COUNTS,
    AttackRecord,
    Control,
    CurvePoint,
    MatchedCell,
    RelearnCell,
    SweepPoint,
    WorstPoint,
)

PLAIN = AttackRecord(
    status="result", needs="weights", budget="quick", seconds=1.04, chance=0.25, forget_before=0.3, base_before=0.95,
    utility=0.99, n=40,
)  # fmt: skip


def point(step, forget, base, utility=0.9):
    return CurvePoint(
        step=step, forget=forget, base=base, counts=True, recovery=9.0, utility=utility, base_utility=1.0,
        disturbance=0.1, base_disturbance=0.2,
    )  # fmt: skip


def relearned(seed, *points, more=(), **changes):
    cell = RelearnCell(material="half", tuning="full", learning_rate=1e-5, curve=points)
    cells = (cell, *(replace(cell, material="kept", curve=(one,)) for one in more))
    record = replace(PLAIN, seeds=(seed,), cells=cells, recovery=seed / 10, stderr=0.1, counts=True)
    return replace(record, **changes)


def test_of_one_seed_the_record_is_its_own():
    entry = relearned(3, point(8, 0.5, 0.9))
    assert over_seeds([entry]) == entry


def test_accuracies_are_averaged_before_the_worst_step_is_chosen():
    first = relearned(0, point(8, 0.65, 0.95, utility=0.8), point(16, 0.45, 0.95))
    second = relearned(1, point(8, 0.25, 0.95), point(16, 0.55, 0.95, utility=0.7), forget_before=0.2)
    found = over_seeds([first, second])
    assert found.worst == WorstPoint(material="half", tuning="full", learning_rate=1e-5, step=16)
    assert (found.forget_after, found.base_after) == (0.5, 0.95)
    assert found.recovery == pytest.approx(0.25 / 0.7)
    assert found.utility_after == pytest.approx(0.8)
    assert found.forget_before == 0.25
    assert (found.seeds, found.n, found.seconds, found.status) == ((0, 1), 80, 2.1, "result")
    assert found.recovery_by_seed == {"0": 0.0, "1": 0.1}
    assert found.stderr is None
    assert [one.recovery for one in found.cells[0].curve] == pytest.approx([0.2 / 0.7, 0.25 / 0.7])


def test_only_what_all_seeds_have_and_what_counts_on_average_is_looked_at():
    # After 16 steps the base has lost too much on average, and only one seed went to 30 or told kept facts.
    first = relearned(0, point(8, 0.3, 0.9), point(16, 0.9, 0.9), point(30, 0.9, 0.9), more=[point(8, 0.9, 0.9)])
    second = relearned(1, point(8, 0.3, 0.9), point(16, 0.9, 0.3))
    found = over_seeds([first, second])
    assert found.worst.step == 8
    assert [one.counts for one in found.cells[0].curve] == [True, False]
    assert len(found.cells) == 1


def test_seeds_of_which_none_counts_may_count_together_and_else_do_not():
    lost = {"status": "not applicable", "notes": ("lora: none",), "recovery": None, "counts": False}
    entries = [relearned(0, point(8, 0.3, 0.6), **lost), relearned(1, point(8, 0.3, 0.96))]
    found = over_seeds(entries)
    assert (found.status, found.base_after, found.counts) == ("result", pytest.approx(0.78), True)
    found = over_seeds([entries[0], relearned(1, point(8, 0.3, 0.6), **lost)])
    assert (found.status, found.detail) == ("not applicable", f"{NO_STEP_COUNTS}; lora: none")
    assert (found.recovery, found.counts) == (None, False)


@pytest.mark.parametrize("status", ["error", "skipped", "not applicable"])
def test_a_seed_without_numbers_leaves_no_verdict(status):
    broken = AttackRecord(status=status, notes=("why",), budget="quick", seeds=(1,), seconds=0.5)
    found = over_seeds([relearned(0, point(8, 0.5, 0.9)), broken])
    assert (found.status, found.detail, found.seeds) == (status, "seed 1: why", (0, 1))
    assert found.forget_after is None


def test_an_error_is_said_before_anything_else():
    entries = [
        AttackRecord(status="skipped", notes=("no package",), seeds=(0,)),
        AttackRecord(status="error", notes=("ValueError in x.py:1",), seeds=(1,)),
    ]
    assert over_seeds(entries).status == "error"


def test_matched_relearning_takes_the_cell_that_is_worst_on_average():
    def entry(seed, *results):
        cells = tuple(
            MatchedCell(
                material=material, tuning="full", learning_rate=1e-5, disturbance=0.2, forget=result, base=0.95,
                utility=0.9, recovery=9.0, counts=True,
            )
            for material, result in zip(("half", "kept"), results, strict=True)
        )  # fmt: skip
        return replace(PLAIN, seeds=(seed,), matched=cells, recovery=0.5)

    found = over_seeds([entry(0, 0.7, 0.5), entry(1, 0.3, 0.6)])
    assert (found.worst.material, found.forget_after) == ("kept", pytest.approx(0.55))
    assert found.worst.disturbance == pytest.approx(0.2)


def test_a_sweep_takes_the_strength_that_is_worst_on_average():
    def entry(seed, *results):
        sweep = tuple(
            SweepPoint(
                at=at, forget=result, base=0.9, counts=True, recovery=9.0, utility=1.0 - at, base_utility=1.0
            )
            for at, result in zip((0.1, 0.2), results, strict=True)
        )  # fmt: skip
        return replace(PLAIN, seeds=(seed,), sweep_over="share of the base", sweep=sweep, recovery=0.5)

    found = over_seeds([entry(0, 0.7, 0.5), entry(1, 0.3, 0.6)])
    assert (found.worst, found.forget_after) == (WorstPoint(at=0.2), pytest.approx(0.55))
    assert (found.utility_after, found.sweep_over) == (pytest.approx(0.8), "share of the base")
    assert [one.forget for one in found.sweep] == pytest.approx([0.5, 0.55])


def test_an_attack_of_one_number_is_averaged_and_counts_by_its_averages():
    def entry(seed, after, base, **more):
        numbers = {"forget_after": after, "base_after": base, "utility_after": 1.0, "recovery": 0.0}
        return replace(PLAIN, seeds=(seed,), **(numbers | more))

    lost = {"counts": False, "notes": ("bits",)}
    found = over_seeds([entry(0, 0.3, 0.6, **lost), entry(1, 0.5, 1.0, counts=True)])
    assert (found.forget_after, found.counts, found.detail) == (pytest.approx(0.4), True, "bits")
    assert found.recovery == pytest.approx(0.15 / 0.55)
    found = over_seeds([entry(0, 0.3, 0.6, **lost), entry(1, 0.5, 0.6, **lost)])
    assert (found.recovery, found.counts) == (None, False)
    assert found.detail == f"{DOES_NOT_COUNT}; bits"
    # At chance nothing can be said of the base, and JSON has no nan.
    assert over_seeds([entry(0, 0.3, 0.25), entry(1, 0.3, 0.25)]).recovery is None
    # What is no accuracy of the tested questions counts whatever it is.
    assert over_seeds([entry(0, 0.3, 0.5), entry(1, 0.3, 0.5)]).recovery == pytest.approx(0.2)
    assert over_seeds([entry(0, 0.3, 0.5), entry(1, 0.3, 0.5, utility_after=None)]).utility_after is None


def test_controls_are_averaged_and_settings_kept_where_all_seeds_have_them():
    def entry(seed, forget, frame):
        control = Control(model="noised base", forget=forget, kept={"kept": forget})
        after = {"forget_after": 0.4, "base_after": 0.9, "counts": True, "control": control}
        return replace(PLAIN, seeds=(seed,), settings={"bits": 4, "frame": frame}, **after)

    found = over_seeds([entry(0, 0.5, 1), entry(1, 0.75, 2)])
    assert found.control == Control(model="noised base", forget=0.625, kept={"kept": 0.625})
    assert found.settings == {"bits": 4}
