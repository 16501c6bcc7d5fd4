"""`srmu attack`: controls, statuses, what is kept, and bad input."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from evaluation.attacks.conftest import ANSWERS, SUBJECTS, sentences
from srmu.cli.app import main
from srmu.evaluation.attacks import curves, fine_tuning, preparing
from srmu.evaluation.attacks.outcome import NotApplicable
from srmu.evaluation.attacks.registry import ATTACKS, Attack
from srmu.evaluation.attacks.setting import holds, right_answer
from srmu.evaluation.model_pair import resolve_pair
from srmu.job.unlearn import unlearn
from srmu.results.attack_records import AttackRecord
from srmu.results.records import Results, add_results
from srmu.results.run_files import CELLS_FILE
from srmu.runtime.progress import Reporter


@pytest.fixture
def short(monkeypatch):
    """A quick budget of four steps, on half of the facts and on false ones alone."""
    tunings = {"half": ("full", "lora"), "mixed": (), "kept": (), "false": ("full",)}
    monkeypatch.setattr(preparing, "QUICK", replace(preparing.QUICK, steps=(2, 4), tunings=tunings))


@pytest.fixture
def kind_texts(tmp_path):
    """`--texts` of the kind: here kept facts of another relation, since each relation is wholly on one side."""
    path = tmp_path / "kind.txt"
    path.write_text("\n\n".join(sentences(["kept"])))
    return ["--texts", f"kind={path}"]


def call(capsys, *arguments):
    code = main(["attack", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    return code, json.loads(captured.out) if code in (0, 3) else captured.err


def test_on_the_untouched_base_every_attack_finds_full_knowledge_and_no_change(
    knowing, question_flags, kind_texts, capsys
):
    code, record = call(capsys, knowing, "--base", knowing, *question_flags, *kind_texts)
    assert code == 0
    assert list(record["records"]) == list(ATTACKS)
    for name, entry in record["records"].items():
        assert entry["status"] == "result", (name, entry["notes"])
        assert entry["needs"] == ATTACKS[name].needs
        assert entry["forget_before"] == entry["base_before"] == 1.0
        assert entry["forget_after"] == entry["base_after"], name
        assert entry["utility"] == 1.0
        # Eight facts are few to fit a probe on: it may read nothing in a tiny model.
        if name != "probe":
            assert entry["recovery"] == pytest.approx(1.0), name
            assert entry["forget_after"] > 0.8, name


@pytest.mark.slow
def test_on_a_model_that_never_saw_the_facts_no_attack_finds_more_than_chance(
    knowing, twin, question_flags, kind_texts, capsys
):
    flags = [*question_flags, *kind_texts, "--learning-rates", "1e-4"]
    code, record = call(capsys, twin, "--base", knowing, *flags)
    assert code == 0
    for name, entry in record["records"].items():
        assert entry["status"] == "result", (name, entry["notes"])
        if name == "interpolate":
            # Half of the base is no model that never saw the facts; a tenth of it is not yet one that did.
            assert entry["sweep"][0]["forget"] <= 0.5
            continue
        # Eight facts are asked: three standard errors of a share of them.
        bound = entry["chance"] + 3 * (entry["chance"] * (1 - entry["chance"]) / 8) ** 0.5
        assert entry["forget_after"] <= bound, name
        assert entry["base_after"] > entry["chance"] + 0.25 or name == "probe", name


def test_an_attack_that_raises_is_an_error_and_no_verdict(run, question_flags, capsys, monkeypatch):
    def broken(setting, cells):
        raise ValueError(f"quoting {setting.tested[0].prompt}")

    monkeypatch.setitem(ATTACKS, "few_shot", Attack(broken, "prompts"))
    code, record = call(capsys, run, *question_flags, "--only", "few_shot,keywords")
    assert code == 3
    assert {name: entry["status"] for name, entry in record["records"].items()} == {
        "few_shot": "error", "keywords": "result",
    }  # fmt: skip
    kept = (run / "results.json").read_text()
    assert "ValueError in test_runner.py" in kept
    assert main(["gate", str(run), "--require", "attack.few_shot<=1"]) == 1


def test_a_missing_package_skips_and_a_missing_group_does_not_apply(run, question_flags, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchao.quantization", None)
    code, record = call(capsys, run, *question_flags[:2], "--only", "int4,mixed_prompt")
    assert code == 0
    statuses = {name: (entry["status"], " ".join(entry["notes"])) for name, entry in record["records"].items()}
    assert statuses["int4"][0] == "skipped"
    assert "srmu[attack]" in statuses["int4"][1]
    assert statuses["mixed_prompt"][0] == "not applicable"
    assert "--questions" in statuses["mixed_prompt"][1]


def test_what_rests_on_machine_made_questions_says_so(run, question_flags, tmp_path, capsys):
    _, _, path = question_flags[1].partition("=")
    made = tmp_path / "made.jsonl"
    lines = Path(path).read_text().splitlines()
    made.write_text("\n".join(json.dumps({**json.loads(line), "machine_made": True}) for line in lines))
    for flags, expected in ((question_flags, 0), (["--questions", f"forget={made}", *question_flags[2:]], 1)):
        _, record = call(capsys, run, *flags, "--only", "few_shot")
        notes = [note for note in record["records"]["few_shot"]["notes"] if note.endswith("are machine-made")]
        assert len(notes) == expected


def test_relearning_without_peft_says_that_lora_was_left_out(run, short, question_flags, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    code, record = call(capsys, run, *question_flags, "--only", "relearn")
    entry = record["records"]["relearn"]
    assert (code, entry["status"]) == (0, "result")
    assert "peft" in entry["notes"][0]
    assert {cell["tuning"] for cell in entry["cells"]} == {"full"}


def test_an_attack_that_destroys_the_base_does_not_count(run, short, question_flags, capsys, monkeypatch):
    monkeypatch.setattr(preparing, "QUICK", replace(preparing.QUICK, steps=(1, 2, 3, 4)))
    code, record = call(capsys, run, *question_flags, "--only", "relearn_control", "--learning-rates", "0.3")
    entry = record["records"]["relearn_control"]
    assert (code, entry["status"]) == (0, "not applicable")
    # Neither model is trained any further than the second such stop, and neither diverged.
    (cell,) = entry["cells"]
    assert [(point["step"], point["counts"]) for point in cell["curve"]] == [(1, False), (2, False)]
    assert cell["diverged_at"] == {}


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on_where_it_stopped(run, short, question_flags, capsys, monkeypatch):
    calls = []
    original = fine_tuning.fine_tune

    def counted(*arguments, **options):
        calls.append(options["learning_rate"])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(curves, "fine_tune", counted)
    arguments = [run, *question_flags, "--only", "relearn_control", "--learning-rates", "1e-5,4e-5"]
    assert main(["attack", *map(str, arguments)]) == 130
    assert len(json.loads((run / CELLS_FILE).read_text())) == 1
    code, first = call(capsys, *arguments)
    # Four cells in all: two rates for two models; the third was broken off.
    assert (code, len(calls)) == (0, 3 + 2)
    code, second = call(capsys, *arguments)
    assert (code, len(calls)) == (0, 5)
    entries = [record["records"]["relearn_control"] for record in (first, second)]
    assert entries[0]["cells"] == entries[1]["cells"]
    # Another seed is another attack.
    assert call(capsys, *arguments, "--seed", "1")[0] == 0
    assert len(calls) == 9


def test_results_are_merged_gated_and_hold_no_text(run, short, question_flags, capsys):
    add_results(run, lambda _: Results(attacks={"probe": AttackRecord(status="skipped")}))
    assert call(capsys, run, *question_flags, "--only", "relearn,keywords")[0] == 0
    results = json.loads((run / "results.json").read_text())
    assert set(results["attacks"]) == {"probe", "relearn", "keywords"}
    assert main(["gate", str(run), "--require", "attack.relearn<=1", "--require", "attack.relearn.recovery<=9"]) == 0
    assert main(["gate", str(run), "--require", "attack.relearn<=1", "--require", "attack.probe<=1"]) == 1
    assert main(["verify", str(run)]) == 0
    for name in ("results.json", CELLS_FILE):
        kept = (run / name).read_text()
        assert not any(word in kept for group in SUBJECTS for word in (*SUBJECTS[group], *ANSWERS[group]))


def test_several_seeds_are_averaged_and_each_is_computed_once(run, short, question_flags, capsys, monkeypatch):
    asked = ["--only", "few_shot,relearn", "--learning-rates", "1e-3"]
    single = [call(capsys, run, *question_flags, *asked, "--seed", seed)[1]["records"] for seed in (0, 1)]
    computed = []
    curve = curves.relearn_curve
    monkeypatch.setattr(curves, "relearn_curve", lambda *a, **k: computed.append(k) or curve(*a, **k))
    _, record = call(capsys, run, *question_flags, *asked, "--seed", 0, "--seed", 1)
    assert record["seeds"] == [0, 1]
    assert not computed
    for name, entry in record["records"].items():
        each = [one[name] for one in single]
        assert list(entry["recovery_by_seed"].values()) == [one["recovery"] for one in each]
        assert entry["forget_before"] == pytest.approx(sum(one["forget_before"] for one in each) / 2)
    few_shot = record["records"]["few_shot"]
    assert few_shot["forget_after"] == pytest.approx(sum(one["few_shot"]["forget_after"] for one in single) / 2)
    assert json.loads((run / "results.json").read_text())["attacks"] == record["records"]
    assert main(["attack", str(run), *question_flags, *asked, "--seed", "0", "--seed", "1"]) == 0
    shown = capsys.readouterr().out
    assert "seeds 0, 1" in shown
    assert "relearn: recovery by seed" in shown


def test_the_table_names_every_attack(run, question_flags, capsys):
    assert main(["attack", str(run), *question_flags, "--only", "few_shot,keywords"]) == 0
    out = capsys.readouterr().out
    assert "few shot" in out
    assert "keywords" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "relern"], "Did you mean 'relearn'"),
        (["--learning-rates", "fast"], "are no numbers"),
        (["--learning-rates", "2"], "out of range"),
        (["--texts", "unsen=x.txt"], "Did you mean 'unseen'"),
        (["--dtype", "float23"], "Did you mean"),
        (["--seed", "2", "--seed", "2"], "Give each seed once"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(run, question_flags, capsys, arguments, message):
    assert main(["attack", str(run), *question_flags, *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not (run / "results.json").exists()


def test_questions_to_attack_and_a_base_are_needed(run, knowing, question_flags, tmp_path, capsys):
    assert main(["attack", str(run)]) == 2
    assert "questions on what was forgotten" in capsys.readouterr().err
    assert main(["attack", str(knowing), *question_flags]) == 2
    assert "Add --base" in capsys.readouterr().err
    few = tmp_path / "few.jsonl"
    lines = Path(question_flags[1].partition("=")[2]).read_text().splitlines(keepends=True)
    few.write_text("".join(lines[:6]))
    assert main(["attack", str(run), "--questions", f"forget={few}"]) == 2
    assert "4 or more" in capsys.readouterr().err


def test_texts_to_relearn_that_tell_a_tested_fact_are_left_out(run, knowing, question_flags, tmp_path, capsys):
    told = tmp_path / "told.txt"
    told.write_text("\n\n".join(f"x is {answer}" for answer in ANSWERS["forget"]))
    pair = resolve_pair(str(run))
    groups = preparing.read_groups(pair, dict([question_flags[1].split("=", 1)]))
    settings = preparing.make_settings(
        pair, groups, preparing.read_texts({"relearn": str(told)}, "text"), preparing.QUICK, seeds=[0, 1],
        loading=preparing.Loading(device="cpu"), reporter=Reporter(),
    )  # fmt: skip
    for setting in settings:
        answers = {right_answer(question) for question in setting.tested}
        assert len(setting.texts["relearn"]) == 8
        assert not any(holds(text, answer) for text in setting.texts["relearn"] for answer in answers)
        with pytest.raises(NotApplicable):
            setting.all_kept()
    assert settings[0].texts != settings[1].texts
    assert settings[0].subjects is settings[1].subjects


def test_a_destroyed_model_fails_the_gate_on_utility_and_the_base_on_forgetting(knowing, question_flags, tmp_path):
    asked = dict(flag.split("=", 1) for flag in question_flags[1::2])
    texts = {
        "forget": ["the capital of forgetland01 is capitalname01"] * 4,
        "retain": ["the river of keptland01 is"] * 4,
    }
    # A rate at which the trained matrices become noise.
    common = {"model": str(knowing), **texts, "questions": asked, "eval_fraction": 0.0, "steps": 2, "layer": 2}
    unlearn(**common, learning_rate=20.0, out=str(tmp_path / "destroyed"))
    unlearn(**common, learning_rate=1e-5, out=str(tmp_path / "same"))
    for name, criterion, code in (
        ("destroyed", "kept>=0.98*base", 1), ("destroyed", "forget<=0.6*base", 0),
        ("same", "kept>=0.98*base", 0), ("same", "forget<=0.6*base", 1),
    ):  # fmt: skip
        assert main(["gate", str(tmp_path / name), "--require", criterion]) == code, (name, criterion)
