"""`srmu tune`: a study that can be resumed and joined, its front, and its YAML."""

import dataclasses

import pytest
import yaml

from main_job import call, files_with
from srmu.config.settings import RETAIN_WEIGHT, load_yaml, make_config
from srmu.errors import InputError, RunError
from srmu.job.tuning import study as study_module
from srmu.job.tuning.bench import TrialBench
from srmu.job.tuning.outcome import KEPT, REMAINING
from srmu.job.tuning.space import SPACE, given_values, search_space, suggest, to_settings
from srmu.job.tuning.study import tune
from srmu.results.study import AUDITED, Outcome, StudyTrial, read_study

optuna = pytest.importorskip("optuna")


@pytest.fixture
def settings(base, texts, tmp_path):
    return {
        "model": str(base),
        "forget": [str(texts / "forget.txt")],
        "retain": [str(texts / "retain.jsonl")],
        "questions": {"forget": str(texts / "questions.jsonl")},
        "max_length": 32,
        "out": str(tmp_path / "study"),
    }


def quick(settings, **changes):
    """A study of few steps."""
    return tune(make_config(settings), **{"keys": ["retain_weight", "layer"], "trials": 3, **changes})


def test_a_study_leaves_its_trials_a_plot_and_a_file_to_run(settings, tmp_path, capsys):
    result = quick({**settings, "steps": 2})
    assert [trial.number for trial in result.record.trials] == [0, 1, 2]
    assert result.record.trials[0].settings == {"retain_weight": RETAIN_WEIGHT, "layer": 2}
    assert result.record.chosen in {trial.number for trial in result.record.trials}
    for first in (result.record.trials[number] for number in result.record.front):
        one = first.outcome
        others = [trial.outcome for trial in result.record.trials]
        assert not any(other.remaining < one.remaining and other.kept > one.kept for other in others)
    assert (result.directory / "front.png").read_bytes().startswith(b"\x89PNG")
    assert read_study(result.directory) == result.record
    assert files_with(result.directory, (tmp_path.parent / "none").name.split()) == []
    best = load_yaml(result.directory / "best.yaml")
    chosen = result.record.trials[result.record.chosen].settings
    assert {name: best[name] for name in chosen} == chosen
    assert "out" not in best
    code, _, errors = call(capsys, "unlearn", str(result.directory / "best.yaml"), "--out", str(tmp_path / "run"))
    assert code == 0, errors


def test_texts_that_were_given_as_strings_are_not_written_into_the_best_file(tmp_path):
    (tmp_path / "r.txt").write_text("kept")
    texts = ["text:The vault's code is 4711.", "text:Ada lives in Lima."]
    config = make_config(
        {"model": "m", "forget": texts, "retain": [str(tmp_path / "r.txt"), "text:Bob lives in Rome."]}
    )
    outcome = Outcome(remaining=0.1, kept=0.9, lost=0.0, groups={})
    trial = StudyTrial(number=0, state="complete", settings={"retain_weight": 3.0}, outcome=outcome)
    written = study_module.best_yaml(config, trial, 1)
    assert not any(part in written for part in ("4711", "vault", "Lima", "Rome"))
    assert written.count("text:sha256:") == 3
    assert "r.txt" in written
    assert "Give the texts anew." in written


def test_a_study_goes_on_where_it_stopped_and_ends_at_its_number_of_trials(settings):
    first = quick({**settings, "steps": 1}, trials=1)
    second = quick({**settings, "steps": 1}, trials=2)
    third = quick({**settings, "steps": 1}, trials=2)
    assert [len(result.record.trials) for result in (first, second, third)] == [1, 2, 2]
    assert second.record.trials[0] == first.record.trials[0]


def test_two_workers_share_a_study_through_a_storage(settings, tmp_path):
    storage = str(tmp_path / "journal.log")
    one = quick({**settings, "steps": 1}, trials=1, storage=storage)
    two = quick({**settings, "steps": 1, "out": str(tmp_path / "other")}, trials=2, storage=storage)
    assert [trial.number for trial in two.record.trials] == [0, 1]
    assert one.directory != two.directory
    assert not (one.directory / "study.db").exists()


def test_the_same_seed_proposes_the_same_trials(settings, tmp_path):
    found = [
        [
            trial.settings
            for trial in quick({**settings, "steps": 1, "out": str(tmp_path / name)}, seed=seed).record.trials
        ]
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert found[0] == found[1] != found[2]


def test_another_study_in_the_same_place_is_refused(settings):
    quick({**settings, "steps": 1}, trials=1)
    with pytest.raises(InputError, match="of another model, other texts"):
        quick({**settings, "steps": 2}, trials=2)


@pytest.mark.parametrize(("name", "content"), [("trials.json", "{}"), ("trials.json", "x"), ("study.db", "mine")])
def test_a_folder_of_something_else_is_no_study_whatever_its_files_are_called(name, content, settings, tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / name).write_text(content)
    with pytest.raises(InputError, match="something other than a study"):
        quick(settings)
    assert (tmp_path / "study" / name).read_text() == content


def test_a_trial_that_diverges_is_kept_as_such_and_not_chosen(settings, monkeypatch):
    real = TrialBench.run

    def diverges_first(self, given=None, seed=None):
        if not hasattr(self, "failed"):
            self.failed = True
            raise RunError("The loss became nan.")
        return real(self, given, seed)

    monkeypatch.setattr(TrialBench, "run", diverges_first)
    result = quick({**settings, "steps": 1}, trials=2)
    assert [trial.state for trial in result.record.trials] == ["diverged", "complete"]
    assert result.record.chosen == 1


def test_an_interrupted_study_leaves_what_it_has(settings, monkeypatch):
    real, calls = TrialBench.run, []

    def interrupted(self, given=None, seed=None):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(self, given, seed)

    monkeypatch.setattr(TrialBench, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick({**settings, "steps": 1})
    monkeypatch.undo()
    assert (quick({**settings, "steps": 1}, trials=2).directory / "best.yaml").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keys": ["laier"]}, "Did you mean 'layer'"),
        ({"trials": 0}, "Choose 1 or more"),
        ({"storage": "nowhere://x"}, "cannot be used"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_written(settings, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        quick({**settings, "steps": 1}, **changes)
    assert not (tmp_path / "study").exists()


def test_questions_without_a_group_to_forget_are_refused(settings):
    with pytest.raises(InputError, match="no group is on that side; found kept"):
        quick({**settings, "questions": {"kept": settings["questions"]["forget"]}})


def test_the_best_is_the_one_that_forgets_and_keeps_enough_and_loses_least():
    outcomes = [(0.0, KEPT - 0.02, 0.0), (REMAINING, KEPT, 0.2), (REMAINING, 1.0, 0.1), (0.5, 1.0, 0.0)]
    trials = [
        StudyTrial(number=number, state="complete", settings={}, outcome=Outcome(*numbers, groups={}))
        for number, numbers in enumerate(outcomes)
    ]
    assert min(trials, key=study_module._rank).number == 2


def test_a_study_takes_a_trial_that_loses_what_was_audited_only_where_none_keeps_it():
    def trial(number, remaining, audited):
        outcome = Outcome(remaining, audited, 0.0, {AUDITED: audited})
        return StudyTrial(number=number, state="complete", settings={}, outcome=outcome)

    lossy, gentle = trial(0, 0.0, 0.97), trial(1, 0.9, 1.0)
    assert min([lossy, gentle], key=study_module._rank) is gentle


def test_the_space_fits_the_model_and_the_method(make_task):
    plan = make_task().plan
    space = search_space(plan)
    assert list(space) == list(SPACE)
    assert 2 <= space["layer"].low < space["layer"].high < plan.num_layers
    rmu = dataclasses.replace(plan, config=plan.config.replace(method="rmu"))
    assert "importance_map" not in search_space(rmu)
    with pytest.raises(InputError, match="importance_map"):
        search_space(rmu, ["importance_map"])


def test_the_settings_given_are_the_first_trial_and_every_value_is_a_setting(make_task):
    plan = make_task(learning_rate="auto", retain_weight=1e6).plan
    space = search_space(plan)
    first = given_values(plan.config, space, 1e-3)
    assert (first["learning_rate"], first["retain_weight"], first["layer"]) == (1.0, SPACE["retain_weight"].high, 3)
    values = suggest(optuna.trial.FixedTrial(first), space)
    assert values == first
    settings = to_settings(values, 1e-3)
    assert settings["learning_rate"] == 1e-3
    make_config(settings)


def test_the_command_prints_the_space_and_the_front(settings, capsys):
    arguments = ["tune", settings["model"], "--forget", settings["forget"][0], "--retain", settings["retain"][0]]
    arguments += ["--steps", "1", "--max-length", "32", "--trials", "2", "--keys", "retain_weight", "--out"]
    code, out, errors = call(capsys, *arguments, settings["out"])
    assert code == 0, errors
    assert "retain_weight" in out
    assert "Pareto front of 2 trials" in out
    assert "best.yaml" in out
    code, out, _ = call(capsys, *arguments, settings["out"], "--json")
    assert yaml.safe_load(out)["trials"]
    code, _, errors = call(capsys, *arguments, settings["out"], "--sampler", "tpf")
    assert code == 2
    assert "Did you mean 'tpe'" in errors
