"""Pictures of attacks: only results are drawn, the worst relearning by step, and sweeps by their strength."""

from srmu.results.attack_records import AttackRecord, CurvePoint, RelearnCell, SweepPoint, WorstPoint
from srmu.results.report.attack_figures import attack_figures


def relearned() -> AttackRecord:
    points = tuple(
        CurvePoint(
            step=step, forget=0.3 + step / 100, base=0.9, counts=True, recovery=0.1, utility=None, base_utility=None,
            disturbance=0.1, base_disturbance=0.1,
        )
        for step in (10, 20)
    )  # fmt: skip
    cells = tuple(
        RelearnCell(material=name, tuning="full", learning_rate=1e-5, curve=points) for name in ("half", "kept")
    )
    return AttackRecord(
        status="result", forget_before=0.3, forget_after=0.5, base_before=0.95, base_after=0.9, cells=cells,
        worst=WorstPoint(material="kept", tuning="full", learning_rate=1e-5, step=20),
    )  # fmt: skip


def test_an_attack_without_a_result_is_not_drawn() -> None:
    assert attack_figures({}) == []
    without = {"probe": AttackRecord(status="error", forget_after=0.2), "int4": AttackRecord(status="skipped")}
    assert attack_figures(without) == []


def test_results_are_drawn_and_the_worst_relearning_by_step() -> None:
    overview, curve = attack_figures({"relearn": relearned(), "int4": AttackRecord(status="skipped")})
    assert "relearn" in overview.figure
    assert "int4" not in overview.figure
    assert "kept, full" in curve.words
    assert curve.legend == ["base", "result"]
    assert str(curve.figure).count("<polyline") == 2


def test_a_sweep_is_drawn_by_its_strength() -> None:
    sweep = tuple(
        SweepPoint(at=at, forget=at, base=0.9, counts=True, recovery=0.0, utility=None, base_utility=None)
        for at in (0.1, 0.5)
    )
    record = AttackRecord(
        status="result", forget_before=0.0, forget_after=0.5, base_before=0.9, base_after=0.9,
        sweep_over="share of the base", sweep=sweep,
    )  # fmt: skip
    _, picture = attack_figures({"interpolate": record})
    assert "share of the base" in picture.figure
    assert picture.words.startswith("Interpolate")
    assert str(picture.figure).count("<polyline") == 2


def test_a_record_of_few_numbers_draws_what_it_has() -> None:
    (overview,) = attack_figures({"relearn": AttackRecord(status="result", forget_after=0.4)})
    assert str(overview.figure).count("<circle") == 1
