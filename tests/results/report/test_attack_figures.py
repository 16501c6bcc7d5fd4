"""Pictures of attacks: only results are drawn, and the worst relearning by step."""

from typing import Any

from srmu.results.report.attack_figures import attack_figures


def relearned() -> dict[str, Any]:
    points = [{"step": step, "forget": 0.3 + step / 100, "base": 0.9} for step in (10, 20)]
    cells = [{"material": name, "tuning": "full", "learning_rate": 1e-5, "curve": points} for name in ("half", "kept")]
    return {
        "status": "result", "forget_before": 0.3, "forget_after": 0.5, "base_before": 0.95, "base_after": 0.9,
        "utility_after": None, "worst": {"material": "kept", "tuning": "full", "learning_rate": 1e-5, "step": 20},
        "cells": cells,
    }  # fmt: skip


def test_an_attack_without_a_result_is_not_drawn() -> None:
    assert attack_figures({}) == []
    assert attack_figures({"probe": {"status": "error", "forget_after": 0.2}, "int4": {"status": "skipped"}}) == []


def test_results_are_drawn_and_the_worst_relearning_by_step() -> None:
    overview, curve = attack_figures({"relearn": relearned(), "int4": {"status": "skipped"}})
    assert "relearn" in overview["figure"]
    assert "int4" not in overview["figure"]
    assert "kept, full" in curve["words"]
    assert curve["legend"] == ["base", "result"]
    assert str(curve["figure"]).count("<polyline") == 2


def test_a_record_of_another_make_draws_what_it_has() -> None:
    (overview,) = attack_figures({"relearn": {"status": "result", "forget_after": 0.4}})
    assert str(overview["figure"]).count("<circle") == 1
