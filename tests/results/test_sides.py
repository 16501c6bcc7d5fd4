"""One rule for sides: every room that asks which side a group is on gets the same answer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from measured_runs import make_manifest, make_results, question_result, write_measured
from srmu.config.settings import make_config
from srmu.errors import InputError
from srmu.evaluation.attacks.setting import QUICK, choose_kept
from srmu.evaluation.run_questions import find_run_sides
from srmu.inputs.questions import Question
from srmu.inputs.rows import TokenRows
from srmu.job.tuning.outcome import Validation, make_validation
from srmu.results.compare import compare_runs
from srmu.results.compare_formats import columns
from srmu.results.records import Results
from srmu.results.report.findings import findings
from srmu.results.sides import check_sides, describe_sides, side_of, sides_of

DECLARED = {"wmdp_cyber": "forget", "neighbours of mine": "kept", "forget me not": "reported"}
EXPECTED = {
    "forget": "forget", "bio.forget": "forget", "forget-bio": "forget", "Forget": "forget",
    "neighbours": "reported", "bio.neighbors": "reported", "wmdp_bio": "kept", "other": "kept", "unforgettable": "kept",
    "forget-bio.retain": "kept", **DECLARED,
}  # fmt: skip
ASKED = tuple(Question(prompt=f"{number}?", choices=("a", "b"), answer=0, fact=str(number)) for number in range(4))


def test_the_rule_is_the_expected_one() -> None:
    assert sides_of(EXPECTED, DECLARED) == EXPECTED


def compare_side(group: str, tmp_path: Path) -> str:
    results = make_results({group: (0.9, 0.3, 0.1)})
    run = write_measured(tmp_path / "run", replace(results, sides=sides_of([group], DECLARED)))
    title = columns(compare_runs([run]))[2]
    return {"↓": "forget", "↑": "kept"}.get(title[-1], "reported")


def page_side(group: str, tmp_path: Path) -> str:
    questions = {group: question_result(0.9, 0.3, 0.01)}
    words = " ".join(findings(Results(sides=sides_of([group], DECLARED), questions=questions)))
    return "forget" if "more than chance explains." in words else "kept" if "It cost more" in words else "reported"


def attack_side(group: str, tmp_path: Path) -> str:
    run = write_measured(tmp_path / "run", make_results({}), make_manifest(sides=DECLARED))
    sides = find_run_sides(run, {})
    kept, _ = choose_kept({group: ASKED}, QUICK, 0, sides)
    return "kept" if kept else side_of(group, sides)


def tuning_side(group: str, tmp_path: Path) -> str:
    others = {"forget first": ASKED, "kept first": ASKED}
    rows = TokenRows((), ())
    validation = make_validation({**others, group: ASKED}, {"forget": rows}, [rows], 8, sides=DECLARED)
    if group not in validation.questions:
        return "reported"
    return "forget" if validation.is_forget(group) else "kept"


@pytest.mark.parametrize("room", [compare_side, page_side, attack_side, tuning_side])
@pytest.mark.parametrize("group", EXPECTED)
def test_every_room_puts_a_group_on_the_same_side(room, group: str, tmp_path: Path) -> None:
    assert room(group, tmp_path) == EXPECTED[group]


def test_groups_are_judged_by_their_side_and_not_by_their_name() -> None:
    validation = Validation({}, {}, {"x": np.zeros(1)}, {"wmdp_bio": "forget"})
    assert validation.is_forget("wmdp_bio")
    assert not Validation({}, {}, {}).is_forget("wmdp_bio")


def test_a_name_that_says_nothing_is_pointed_out_and_one_that_was_declared_is_not() -> None:
    said = describe_sides(["forget", "wmdp_bio", "neighbours"])
    assert said.startswith("Groups: forget to be forgotten; wmdp_bio to be kept; neighbours only reported.")
    assert "--sides wmdp_bio=forget" in said
    assert "--sides" not in describe_sides(["forget", "wmdp_bio"], {"wmdp_bio": "forget"})
    assert describe_sides([]) == ""


def test_a_side_of_no_group_and_a_side_that_is_none_are_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'wmdp_bio'"):
        check_sides({"wmdp_bip": "forget"}, ["wmdp_bio"])
    with pytest.raises(InputError, match="choose one of forget, kept, reported"):
        make_config({"model": "x", "sides": {"wmdp_bio": "forgotten"}})
