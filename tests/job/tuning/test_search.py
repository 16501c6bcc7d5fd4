"""`--search`: the walk through the settings, what it is measured on, and that its best trial is the run."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from main_job import FORGET, RETAIN, SETTINGS, call, files_with, flags, inline, read_metrics
from srmu import unlearn
from srmu.config.settings import RETAIN_WEIGHT, make_config
from srmu.errors import InputError
from srmu.evaluation.measure import Measurement
from srmu.evaluation.texts import TextScores
from srmu.job.tuning import search
from srmu.job.tuning.request import decide_request
from srmu.job.tuning.search import PROCEDURE, Tried, Walk
from srmu.job.tuning.validation import known_texts, search_validation
from srmu.results.study import AUDITED, Outcome
from srmu.runtime.progress import Reporter
from srmu.surgery.checkpoint import open_checkpoint, read_tensor

WEIGHT, RATE = RETAIN_WEIGHT, 0.01
AUTO = {**SETTINGS, "layer": "auto", "steps": 3, "search": True, "retain_weight": WEIGHT}
CAPITALS = [f"The capital city of {name} is {name}ville." for name in ("stone", "cloud", "river", "violet", "copper")]
OTHERS = [f"The capital city of {name} is {name}ville." for name in ("winter", "signal", "market", "bridge", "garden")]


def tried(settings, remaining, kept, lost=0.0):
    return Tried(settings, Outcome(remaining, kept, lost, {}), 1.0)


@pytest.fixture
def walk(make_task):
    defaults = make_config({})
    free = {name: defaults.get(name) for name in ("layer", "retain_weight", "steering_coefficient", "learning_rate")}
    task = make_task(search=True, **free)
    return Walk(task.plan, RATE, PROCEDURE)


def test_the_walk_begins_with_the_settings_given_and_pushes_harder_where_too_much_remains(walk):
    start = walk.next([])
    assert start == {"retain_weight": WEIGHT, "layer": 2}
    little, much = (walk.next([tried(start, remaining, 1.0)]) for remaining in (0.2, 0.9))
    assert little == {"retain_weight": pytest.approx(WEIGHT / PROCEDURE.near, rel=0.01), "layer": 2}
    assert much == {"retain_weight": pytest.approx(WEIGHT / PROCEDURE.far, rel=0.01), "layer": 2}


def test_the_walk_goes_gentler_where_too_much_is_lost_and_changes_the_layer_where_both_fail(walk):
    start = walk.next([])
    assert walk.next([tried(start, 0.0, 0.95)])["retain_weight"] == pytest.approx(WEIGHT * PROCEDURE.near, rel=0.01)
    assert walk.next([tried(start, 0.5, 0.95)])["layer"] != 2
    diverged = Tried(start, None, 0.0, "diverged")
    assert walk.next([diverged])["retain_weight"] == pytest.approx(WEIGHT * PROCEDURE.far, rel=0.01)


def test_the_walk_goes_between_one_that_is_too_gentle_and_one_that_is_too_harsh(walk):
    gentle = tried(walk.next([]), 0.9, 1.0)
    harsh = tried(walk.next([gentle]), 0.0, 0.90)
    middle = walk.next([gentle, harsh])
    assert middle["retain_weight"] == pytest.approx(WEIGHT / PROCEDURE.far**0.5, rel=0.02)
    assert middle["layer"] == 2


def test_the_walk_ends_where_the_aim_is_reached(walk):
    assert walk.next([tried(walk.next([]), 0.05, 0.98, lost=0.01)]) is None


def test_the_walk_tries_every_setting_and_nothing_twice(walk):
    trials = []
    while (settings := walk.next(trials)) is not None:
        # No trial is better than the first.
        trials.append(tried(settings, 0.4, 0.5 if trials else 0.9))
    every = [trial.settings for trial in trials]
    assert len(every) == len({json.dumps(settings, sort_keys=True) for settings in every})
    assert {name for settings in every for name in settings} == {
        "layer", "retain_weight", "steering_coefficient", "learning_rate",
    }  # fmt: skip
    assert {settings.get("steering_coefficient") for settings in every} >= {
        None,
        2 * make_config({}).target.steering_coefficient,
    }
    assert {settings.get("learning_rate") for settings in every} == {None, 2 * RATE, RATE / 2}


def test_a_trial_that_loses_what_was_audited_is_chosen_only_where_none_keeps_it():
    def trial(remaining, kept, audited):
        return Tried({}, Outcome(remaining, min(kept, audited), 0.0, {AUDITED: audited}), 1.0)

    lossy, gentle, worse = trial(0.0, 1.0, 0.975), trial(0.6, 1.0, 0.98), trial(0.0, 1.0, 0.5)
    assert min([lossy, gentle, worse], key=lambda one: one.cost) is gentle
    assert min([lossy, worse], key=lambda one: one.cost) is lossy
    assert (lossy.too_harsh, gentle.too_harsh) == (True, False)
    assert "what was audited is lost" in search.say(lossy)
    assert "audited" not in search.say(gentle)


def test_the_walk_goes_on_from_the_best_trial(walk):
    start = walk.next([])
    layers = [tried(start, 0.4, 0.9)]
    layers.append(tried(walk.next(layers), 0.3, 0.95))
    assert layers[1].settings["layer"] != start["layer"]
    while "steering_coefficient" not in (settings := walk.next(layers)):
        layers.append(tried(settings, 0.9, 0.5))
    assert settings["layer"] == layers[1].settings["layer"]


def test_a_weight_is_bracketed_among_trials_that_differ_in_nothing_else(walk):
    start = walk.next([])
    harsh = tried(start, 0.2, 0.9)
    gentle = tried(walk.next([harsh]), 0.1, 1.0)
    assert gentle.settings["layer"] != start["layer"]
    expected = pytest.approx(WEIGHT / PROCEDURE.near, rel=0.01)
    assert walk.next([harsh, gentle]) == {"layer": gentle.settings["layer"], "retain_weight": expected}


def test_what_the_user_chose_stays(make_task):
    chosen = {"retain_weight": 9.0, "layer": 3, "steps": 50, "steering_coefficient": 2.0, "learning_rate": 1e-3}
    task = make_task(search=True, **chosen)
    walk = Walk(task.plan, RATE, PROCEDURE)
    start = walk.next([])
    assert start == {"retain_weight": 9.0, "layer": 3}
    assert walk.next([tried(start, 0.6, 0.5)]) is None


def test_the_request_is_told_from_pairs_of_content_words(make_task):
    same = make_task(forget=inline(CAPITALS), retain=inline([*OTHERS, *RETAIN]))
    apart = make_task(forget=inline(CAPITALS), retain=inline(RETAIN))
    assert decide_request(same.plan).kind == "entities"
    assert decide_request(apart.plan).kind == "domain"
    assert decide_request(same.plan).shared > 0.2 > decide_request(apart.plan).shared
    asked = replace(same.plan, config=same.plan.config.replace(search=True, request="domain"))
    assert decide_request(asked).kind == "domain"


def test_a_domain_is_measured_on_texts_held_out_and_entities_on_the_texts_themselves(make_task):
    task = make_task(search=True)
    topic = task.prepared.topics[0]
    domain, entities = (search_validation(task.plan, task.prepared, kind) for kind in ("domain", "entities"))
    assert set(map(bytes_of, domain.texts["forget"].token_ids)) <= set(map(bytes_of, topic.forget_heldout.token_ids))
    assert set(map(bytes_of, entities.texts["forget"].token_ids)) <= set(map(bytes_of, topic.forget.token_ids))
    assert "general paragraphs" in domain.texts


def bytes_of(row):
    return row.numpy().tobytes()


def test_texts_that_the_base_never_knew_do_not_count_as_kept(make_task):
    task = make_task(search=True)
    validation = search_validation(task.plan, task.prepared, "domain")
    knowing = dict.fromkeys(validation.texts, 1.0)

    def left(losses):
        none = np.zeros(1, dtype=np.int32)
        texts = {
            name: TextScores(token_nll=np.float32([loss]), top_ids=none, target_ids=none, document_tokens=none)
            for name, loss in losses.items()
        }
        return set(known_texts(Measurement(texts, {}, []), validation, vocab_size=10).texts)

    worse_than_chance = math.log(10) + 0.1
    assert left(knowing) == set(knowing)
    assert left(knowing | {"general paragraphs": worse_than_chance}) == set(knowing) - {"general paragraphs"}
    assert left(knowing | {"forget": worse_than_chance}) == set(knowing)
    assert left(dict.fromkeys(knowing, worse_than_chance)) == set(knowing)


def test_trials_are_judged_by_known_texts_alone(make_task, monkeypatch):
    def drop_paragraphs(base, validation, vocab_size):
        assert base.texts.keys() == validation.texts.keys()
        assert vocab_size == task.plan.vocab_size
        texts = {name: rows for name, rows in validation.texts.items() if name != "general paragraphs"}
        return replace(validation, texts=texts)

    task = make_task(search=True)
    monkeypatch.setattr(search, "known_texts", drop_paragraphs)
    record = search.choose_settings(task.plan, task.prepared, Reporter(), replace(PROCEDURE, trials=1)).record
    names = {"forget (text)", "1: texts given in the call (text)"}
    assert set(record.groups) == names
    assert set(record.trials[0].outcome.groups) == names


def test_questions_without_a_group_to_forget_are_refused(make_task, texts):
    task = make_task(search=True, questions={"hazard": str(texts / "questions.jsonl")})
    with pytest.raises(InputError, match="Say --sides hazard=forget"):
        search_validation(task.plan, task.prepared, "domain")


def test_the_run_is_the_best_trial_and_equals_a_run_with_its_settings(base, tmp_path):
    settings = {**AUTO, "forget": FORGET, "retain": RETAIN, "eval": False}
    run = unlearn(model=str(base), out=str(tmp_path / "auto"), **settings)
    record = run.manifest.auto
    assert 1 <= len(record.trials) <= PROCEDURE.trials
    chosen = record.trials[record.chosen]
    assert run.manifest.config["retain_weight"] == chosen.settings["retain_weight"]
    assert run.manifest.config["layer"] == chosen.settings["layer"]
    plain = unlearn(model=str(base), out=str(tmp_path / "plain"), **{**settings, "search": False, **chosen.settings})
    for name in open_checkpoint(run.model_dir).tensors:
        one, other = (read_tensor(open_checkpoint(path), name) for path in (run.model_dir, plain.model_dir))
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    assert len(read_metrics(run.run_dir)) == AUTO["steps"]
    assert files_with(run.run_dir, FORGET) == []
    assert not (run.run_dir / "auto.json").exists()
    assert (run.run_dir / "importance.safetensors").exists()
    assert run.manifest.importance.keys() == plain.manifest.importance.keys() != set()


def test_the_command_shows_what_it_tried(base, texts, tmp_path, capsys):
    given = flags(layer=None, retain_weight=None, steps=2)
    common = ("--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl"), *given)
    code, out, errors = call(
        capsys, "unlearn", str(base), *common, "--search", "--request", "domain", "--out", str(tmp_path / "run")
    )
    assert code == 0, errors
    assert "'domain'" in out
    assert "chosen" in out
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["auto"]["request"] == "domain"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--request", "domain"), "without search"),
        (("--search", "--request", "entities"), "without retain texts"),
    ],
)
def test_a_request_that_cannot_be_is_refused(base, texts, tmp_path, capsys, arguments, message):
    code, _, errors = call(
        capsys, "unlearn", str(base), "--forget", str(texts / "forget.txt"), *arguments, "--out", str(tmp_path / "run")
    )
    assert code == 2
    assert message in errors
    assert not (tmp_path / "run").exists()
