"""Trials in memory: they are what a run would export, they share what they can, and they leave the base alone."""

import pytest
import torch

from srmu import unlearn
from srmu.errors import InputError
from srmu.evaluation.loading import load_causal_lm
from srmu.job.tuning.bench import TrialBench
from srmu.job.tuning.replan import replan
from srmu.job.tuning.validation import heldout_validation
from srmu.results.study import AUDITED
from srmu.surgery.replay import Replayer
from srmu.surgery.truncate import shortened
from tiny_runs import load_tiny


def test_a_trial_measures_what_a_run_with_its_settings_exports(make_task, base, tmp_path):
    task = make_task()
    bench, settings = task.bench(), {"retain_weight": 2.0, "steps": 3}
    bench.run({"steps": 4})
    trained = bench.train(settings)
    run = unlearn(task.plan.config.replace(**settings, eval=False, out=str(tmp_path / "run")))
    exported = load_causal_lm(run.model_dir)
    with bench.holding(trained.solver.result):
        swapped = {name: value.clone() for name, value in bench.model.state_dict().items()}
    for name, value in exported.state_dict().items():
        torch.testing.assert_close(swapped[name], value, rtol=0, atol=1e-6)
    moved = [name for name, value in load_causal_lm(base).state_dict().items() if not value.equal(swapped[name])]
    assert moved == [f"model.layers.{layer}.mlp.down_proj.weight" for layer in (1, 2, 3)]


def test_a_trial_leaves_the_base_as_it_was_and_can_be_repeated(make_task):
    bench = make_task().bench()
    before = {name: value.clone() for name, value in bench.model.state_dict().items()}
    first, other, again = (bench.run({"layer": layer}, seed) for layer, seed in ((3, 0), (2, 1), (3, 0)))
    assert all(value.equal(before[name]) for name, value in bench.model.state_dict().items())
    assert first.outcome == again.outcome != other.outcome
    assert first.seed == 0 != other.seed


def test_frozen_rows_are_computed_once_for_all_trials_between_the_same_layers(make_task, monkeypatch):
    bench, seen = make_task().bench(), []
    real = Replayer.frozen_pass

    def counted(self, token_ids, **options):
        seen.append(len(token_ids))
        return real(self, token_ids, **options)

    monkeypatch.setattr(Replayer, "frozen_pass", counted)
    # Every solver proves its replay on a probe, which is no row of the trial.
    monkeypatch.setattr(Replayer, "_check_replay", lambda self: None)
    bench.train({"retain_weight": 1.0})
    first = sum(seen)
    bench.train({"retain_weight": 9.0, "method": "rmu"})
    assert sum(seen) == first > 0
    bench.train({"layer": 2})
    assert sum(seen) > first


@pytest.mark.parametrize("family", ["llama", "gpt2", "gemma3", "mixtral"])
def test_a_shortened_model_computes_what_one_loaded_so_short_does(saved_family, family):
    path = saved_family(family)
    deep, short = load_tiny(path, num_layers=4), load_tiny(path, num_layers=2)
    tokens = torch.arange(6, 26).view(2, 10)
    expected = Replayer(short, 0).frozen_pass(tokens).output
    assert Replayer(shortened(deep, 2), 0).frozen_pass(tokens).output.equal(expected)
    assert len(deep.layers) == 4
    assert not Replayer(deep, 0).frozen_pass(tokens).output.equal(expected)


def test_another_layer_brings_its_own_trained_layers_and_topics_follow_the_weight(make_task):
    plan = make_task().plan
    other = replan(plan, {"layer": 2, "retain_weight": "7"})
    assert other.config.training.trained_layers == (0, 1, 2) == tuple(other.parameter_names)
    assert [topic.retain_weight for topic in other.topics] == [7.0]
    assert replan(plan, {"preset": "paper"}).config.target.importance_map == "ratio"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 8}, "decides which texts there are"),
        ({"layer": 99}, "out of range"),
        ({"no_such": 1}, "unknown key 'no_such'"),
        ({"retain_weight": -1}, "0 or more"),
    ],
)
def test_settings_that_cannot_differ_or_be_are_refused(make_task, settings, message):
    with pytest.raises(InputError, match=message):
        replan(make_task().plan, settings)


def test_a_bench_that_audits_asks_the_trial_what_the_base_knows(make_task, monkeypatch, tmp_path):
    monkeypatch.setenv("SRMU_CACHE", str(tmp_path))
    task = make_task()
    validation = heldout_validation(task.plan, task.prepared)
    result = TrialBench(task.plan, task.prepared.topics, validation, audited=True).run({"steps": 2})
    assert result.measurement.audit is not None
    assert result.outcome.groups[AUDITED] == pytest.approx(min(1.0, result.measurement.audit.kept))
    assert result.measurement.audit.neighbours is None
    assert AUDITED not in task.bench().run({"steps": 2}).outcome.groups
