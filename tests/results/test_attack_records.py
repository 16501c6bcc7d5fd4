"""Records of attacks: as JSON and back, refused where damaged, and what they say of themselves."""

import json
from dataclasses import replace

import pytest

from srmu.results.attack_records import (
    DOES_NOT_COUNT,
    NO_STEP_COUNTS,
    AttackRecord,
    Control,
    CurvePoint,
    DivergedAt,
    KeptAccuracy,
    MatchedCell,
    RelearnCell,
    SweepPoint,
    WorstPoint,
)
from srmu.results.attack_report import AttackReport
from srmu.results.schema import Mismatch, from_json, json_schema, to_json

POINT = CurvePoint(
    step=8, forget=0.5, base=0.9, counts=True, recovery=0.4, utility=0.9, base_utility=1.0, disturbance=0.1,
    base_disturbance=0.2,
)  # fmt: skip
CELL = RelearnCell(
    material="half", tuning="full", learning_rate=1e-5, curve=(POINT,), diverged_at=DivergedAt(result=16)
)
MATCHED = MatchedCell(
    material="half", tuning="full", learning_rate=1e-5, disturbance=0.2, forget=0.5, base=0.9, counts=True,
    recovery=0.4, utility=0.9,
)  # fmt: skip
FULL = AttackRecord(
    status="result", notes=("lora: needs peft",), needs="weights", budget="quick", seeds=(0, 1), seconds=2.5, n=40,
    chance=0.25, forget_before=0.3, forget_after=0.5, stderr=0.1, base_before=0.95, base_after=0.9, counts=True,
    recovery=0.4, recovery_by_seed={"0": 0.3, "1": None}, utility=1.0, utility_after=0.9,
    kept={"kept": KeptAccuracy(base_after=0.9, after=0.8)}, worst=WorstPoint(material="half", step=8), cells=(CELL,),
    matched=(MATCHED,), sweep_over="share of the base",
    sweep=(SweepPoint(at=0.1, forget=0.5, base=0.9, counts=True, recovery=0.4, utility=0.9, base_utility=1.0),),
    control=Control(model="noised base", forget=0.9, kept={"kept": 0.9}),
    settings={"bits": 4, "share": 0.5, "frame": None, "measure": "x", "by_layer": (0.25, 1.0)},
    chosen={"base": {"layer": 1}, "result": {"layer": 2, "told_half": 0.5}},
)  # fmt: skip


def test_a_record_comes_back_from_json_as_it_was():
    assert from_json(AttackRecord, json.loads(json.dumps(to_json(FULL)))) == FULL
    bare = AttackRecord(status="error", notes=("ValueError in x.py:1",))
    assert from_json(AttackRecord, to_json(bare)) == bare
    assert from_json(AttackRecord, {"status": "skipped"}) == AttackRecord(status="skipped")


def test_every_field_of_a_record_is_in_the_schema():
    schema = json_schema(AttackRecord)
    assert schema["$defs"]["AttackRecord"]["properties"].keys() == to_json(FULL).keys()
    assert {"RelearnCell", "CurvePoint", "MatchedCell", "SweepPoint", "Control"} < schema["$defs"].keys()


@pytest.mark.parametrize(
    ("damage", "place"),
    [
        ({"status": "fine"}, "'status'"),
        ({"recovery": "much"}, "'recovery'"),
        ({"cells": [{"material": "half"}]}, "cells\\[0\\]"),
        ({"forgotten": 1}, "'forgotten' is unknown"),
    ],
)
def test_a_damaged_record_is_refused_by_its_place(damage, place):
    with pytest.raises(Mismatch, match=place):
        from_json(AttackRecord, {**to_json(FULL), **damage})


def test_the_verdict_is_said_from_its_flag_and_before_the_notes():
    assert FULL.detail == "lora: needs peft"
    assert AttackRecord(status="result", counts=False, notes=("x",)).detail == f"{DOES_NOT_COUNT}; x"
    assert AttackRecord(status="not applicable", counts=False, cells=(CELL,)).detail == NO_STEP_COUNTS
    assert AttackRecord(status="result").detail == ""


def test_a_sweep_says_at_which_strength_half_is_back():
    points = [replace(FULL.sweep[0], at=at, recovery=back) for at, back in ((0.1, 0.4), (0.2, 0.5), (0.3, 0.9))]
    record = AttackRecord(status="result", sweep_over="share of the base", sweep=tuple(points))
    assert (record.half_back_at, FULL.half_back_at) == (0.2, None)
    records = {"interpolate": record}
    report = AttackReport(model="m", base="b", budget="quick", seeds=(0,), records=records)
    assert report.notes() == ["interpolate: half of it is back at 0.2 (share of the base)"]


def test_a_report_shows_a_row_for_each_attack_and_its_notes():
    records = {"relearn": FULL, "few_shot": AttackRecord(status="error", notes=("ValueError in <x>.py:1",))}
    report = AttackReport(model="m", base="b", budget="quick", seeds=(0, 1), records=records)
    lines = str(report).splitlines()
    assert lines[0] == "Attacks, quick budget, seeds 0, 1"
    assert lines[1].split()[:2] == ["attack", "needs"]
    assert lines[2].split() == ["relearn", "weights", "result", "0.30", "0.50", "0.90", "0.40", "0.90"]
    assert lines[3].split() == ["few", "shot", "error"]
    assert "utility before the attacks: 1.00" in lines
    assert "relearn: recovery by seed 0.30, none" in lines
    assert "few shot: ValueError in <x>.py:1" in lines
    assert report.has_error
    assert "<td>relearn</td>" in report._repr_html_()
    assert "&lt;x&gt;" in report._repr_html_()
