import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from measured_runs import (
    add_evaluated,
    make_audit,
    make_fluency,
    make_manifest,
    make_results,
    question_result,
    write_measured,
)
from sealed import seal
from srmu.cli.app import main
from srmu.config.settings import make_config
from srmu.errors import InputError
from srmu.job.gate import gate
from srmu.results.attack_records import AttackRecord
from srmu.results.gate import check_requirements, junit_xml, parse_requirement, passed
from srmu.results.records import Evaluation, Results

CRITERIA = ["forget<=0.30", "entangled >= 0.98*base", "text.retain.nll<=1.02*base", "forget.nll > base"]


def statuses(requirements: list[str], results: Results) -> list[str]:
    return [verdict.status for verdict in check_requirements(requirements, results)]


def test_a_run_that_forgot_and_kept_passes() -> None:
    verdicts = check_requirements(CRITERIA, make_results())
    assert passed(verdicts)
    assert verdicts[1].bound == pytest.approx(0.98 * 0.95)


def test_a_destroyed_model_fails_on_utility_though_it_forgot() -> None:
    chance = {"forget": (0.92, 0.25, 0.07), "entangled": (0.95, 0.25, 0.06)}
    assert statuses(["forget<=0.30", "entangled>=0.98*base"], make_results(chance)) == ["pass", "fail"]


def test_the_base_itself_fails_on_forgetting() -> None:
    same = {"forget": (0.92, 0.92, 0.0), "entangled": (0.95, 0.95, 0.0)}
    assert statuses(["forget<=0.30", "entangled>=0.98*base"], make_results(same)) == ["fail", "pass"]


@pytest.mark.parametrize(("comparator", "status"), [("<=", "pass"), (">=", "pass"), ("<", "fail"), (">", "fail")])
def test_each_comparator_is_what_it_says_at_equality(comparator: str, status: str) -> None:
    assert statuses([f"forget{comparator}0.28"], make_results()) == [status]


def test_what_was_not_measured_never_passes() -> None:
    assert statuses(CRITERIA, Results()) == ["missing"] * 4
    groups = dict(make_results().questions)
    forget, entangled = groups["forget"], groups["entangled"]
    groups["forget"] = replace(forget, result=replace(forget.result, accuracy=None))
    groups["entangled"] = replace(entangled, base=replace(entangled.base, accuracy=None))
    assert statuses(CRITERIA[:2], replace(make_results(), questions=groups)) == ["missing", "missing"]
    assert (
        statuses(["unknown<=1", "forget.unknown<=1", "text.unknown.nll<=9", "forgot<=1"], make_results())
        == ["missing"] * 4
    )


def test_a_number_that_json_does_not_have_makes_no_verdict(tmp_path: Path) -> None:
    run = write_measured(tmp_path / "run")
    file = run / "results.json"
    file.write_text(file.read_text().replace("0.28", "NaN", 1))
    seal(run)
    with pytest.raises(InputError, match="is damaged"):
        gate(run, ["forget<=0.30"])


def test_attacks_pass_only_with_a_result() -> None:
    attacks = {
        "relearn": AttackRecord(status="result", forget_after=0.4, base_after=0.9, recovery=0.1),
        "quantise": AttackRecord(status="skipped", notes=("no library",), forget_after=0.0),
        "probe": AttackRecord(status="error", forget_after=0.0),
        "ablate": AttackRecord(status="not applicable", forget_after=0.0),
    }
    required = ["attack.relearn<=0.45", "attack.relearn<=0.4*base", "attack.relearn.recovery<=0.2"]
    results = Results(attacks=attacks)
    assert statuses(required, results) == ["pass", "fail", "pass"]
    others = [f"attack.{name}<=1" for name in ("quantise", "probe", "ablate", "none")]
    assert statuses(others, results) == ["skipped", "error", "skipped", "missing"]
    assert statuses(["attack.relearn.measure<=1", "attack.relearn.chance<=1"], results) == ["missing", "missing"]


def test_a_bound_relative_to_a_base_that_was_not_measured_does_not_pass() -> None:
    assert statuses(["text.forget.moved>=0.5*base"], make_results()) == ["missing"]
    assert statuses(["text.forget.moved>=1"], make_results()) == ["pass"]


def test_group_names_may_hold_dots_and_spaces() -> None:
    results = Results(questions={"bio.forget set": question_result(0.9, 0.3, 0.1)})
    assert statuses(["bio.forget set<=0.3", "bio.forget set.accuracy_raw<=0.3"], results) == ["pass", "pass"]


@pytest.mark.parametrize(
    "text", ["", "forget", "forget<=", "<=0.3", "forget=0.3", "forget==0.3", "forget<=0.3*", "forget<=x", "a<=1<=2",
             "forget<=nan", "forget<=base*0.9", "for\nget<=1", "forget<=1e999x"],
)  # fmt: skip
def test_a_requirement_out_of_the_grammar_is_refused_before_the_run(text: str) -> None:
    with pytest.raises(InputError, match="not understood"):
        parse_requirement(text)
    with pytest.raises(InputError, match="not understood"):
        make_config({"model": "x", "require": [text]})


def test_the_junit_file_says_failure_and_error_apart(tmp_path: Path) -> None:
    verdicts = check_requirements(["forget<=0.30", "forget<0.1", "absent<=1"], make_results())
    suite = ElementTree.fromstring(junit_xml(verdicts, "first")).find("testsuite")
    assert suite is not None
    assert {key: suite.get(key) for key in ("tests", "failures", "errors")} == {
        "tests": "3",
        "failures": "1",
        "errors": "1",
    }
    assert [[child.tag for child in case] for case in suite] == [[], ["failure"], ["error"]]


def test_the_command_names_what_fails_and_exits_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_measured(tmp_path / "run", manifest=make_manifest(require=["forget<=0.30"]))
    assert main(["gate", str(run)]) == 0
    junit = tmp_path / "gate.xml"
    assert main(["gate", str(run), "--require", "entangled>=0.999*base", "--junit", str(junit)]) == 1
    assert "entangled is 0.94" in " ".join(capsys.readouterr().out.split())
    assert "failure" in junit.read_text()
    assert main(["gate", str(run), "--require", "other>=0.5", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(entry["requirement"], entry["status"]) for entry in found] == [
        ("forget<=0.30", "pass"),
        ("other>=0.5", "missing"),
    ]


def test_bad_input_of_the_command_exits_2(tmp_path: Path) -> None:
    run = write_measured(tmp_path / "run")
    assert main(["gate", str(run)]) == 2
    assert main(["gate", str(run), "--require", "forget=1"]) == 2
    assert main(["gate", str(tmp_path), "--require", "forget<=1"]) == 2


def test_the_audit_and_fluency_can_be_required_beside_the_base() -> None:
    results = make_results(audit=make_audit(), fluency=make_fluency())
    required = ["collateral>=0.98*base", "collateral.food>=base", "collateral.written>=0.98*base",
                "fluency>=0.9*base", "fluency.script>=0.9*base"]  # fmt: skip
    verdicts = check_requirements(required, results)
    assert [verdict.status for verdict in verdicts] == ["fail", "pass", "pass", "fail", "pass"]
    assert (verdicts[3].value, verdicts[3].bound) == (0.41, pytest.approx(0.9 * 0.82))
    missing = check_requirements(["collateral>=0.98*base", "fluency>=0.9*base", "fluency.words>=0"], make_results())
    assert [verdict.status for verdict in missing] == ["missing"] * 3
    assert "words" in check_requirements(["fluency.words>=0"], results)[0].detail


def test_the_gate_needs_no_torch() -> None:
    modules = "srmu.results.gate, srmu.results.compare, srmu.results.report.page, srmu.results.manifest"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    source = str(Path(__file__).parents[2] / "src")
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": source}, timeout=60).returncode == 0


def test_what_evaluate_added_counts_and_does_not_hide_the_run_s_own() -> None:
    added = Evaluation(questions={"mmlu": question_result(0.5, 0.49, 0.1), "forget": question_result(0.9, 0.1, 0.1)})
    results = make_results(evaluate=added)
    assert statuses(["mmlu>=0.95*base", "forget<=0.2"], results) == ["pass", "fail"]


def test_a_task_of_the_harness_can_be_required_with_or_without_its_filter() -> None:
    results = add_evaluated(make_results())
    assert statuses(["task.local_task<=0.6", "task.local_task.acc>=0.98*base"], results) == ["pass", "fail"]
    assert statuses(["task.local_task.acc,none<=0.6", "task.local_task.f1<=1", "task.absent<=1"], results) == [
        "pass", "missing", "missing",
    ]  # fmt: skip
