"""A predicted time is that of its parts, timed on the run's own model; what cannot be probed is counted and says so."""

import pytest

from main_job import FORGET, RETAIN, SETTINGS, inline
from srmu.config.settings import make_config
from srmu.errors import RunError
from srmu.job import forecast as module
from srmu.job.forecast import forecast, training_seconds
from srmu.job.plan import make_plan
from srmu.job.tuning import bench
from srmu.job.tuning.bench import TrialClock, say_time
from srmu.runtime.progress import Reporter, in_words


@pytest.fixture
def plan_of(saved_family):
    def make(**changes):
        given = {**SETTINGS, "model": str(saved_family("llama")), "forget": inline(FORGET), "retain": inline(RETAIN)}
        return make_plan(make_config({**given, **changes}))

    return make


def test_the_training_grows_with_the_steps_beyond_the_probe(plan_of, monkeypatch):
    steps = []

    class Solver:
        prepare = staticmethod(lambda: None)
        done, num_stages = False, 1

        def run(self, on_metrics, after_step):
            self.done = True
            on_metrics([{"seconds": 9.0}, {"seconds": 5.0}, *[{"seconds": 2.0}] * 4])

    def make(plan, truncated, topics, kept):
        steps.append((plan.config.training.steps, kept))
        return Solver()

    monkeypatch.setattr(module, "make_solver", make)
    # The first steps, which warm up, are left out.
    assert training_seconds(plan_of(steps=100)) == pytest.approx(200, rel=0.01)
    assert training_seconds(plan_of(steps=50)) == pytest.approx(100, rel=0.01)
    assert training_seconds(plan_of(steps="auto")) == pytest.approx(640, rel=0.01)
    # As the whole run, the probe keeps what it reads again.
    assert steps == [(module.PROBE_STEPS, {})] * 3
    assert training_seconds(plan_of(steps=2)) == pytest.approx(4, abs=1)
    assert steps[-1] == (2, None)


def test_a_probe_leaves_the_plan_as_it_is_and_names_every_stage(plan_of):
    plan = plan_of(audit=True, retain=("self",), num_self_written=24)
    found = forecast(plan, Reporter())
    assert found.probed
    assert set(found.stages) == {"training", "loading", "export", "writing", "measuring", "audit"}
    assert found.seconds == pytest.approx(sum(found.stages.values()))
    assert all(seconds > 0 for seconds in found.stages.values())
    assert plan.config.training.steps == SETTINGS["steps"] == found.steps


def test_settings_that_diverge_are_timed_too(plan_of):
    assert training_seconds(plan_of(learning_rate=1e30)) > 0


@pytest.mark.parametrize("diverges", [False, True])
def test_a_repair_takes_the_time_of_a_second_stage_even_where_the_first_diverges(plan_of, monkeypatch, diverges):
    class Solver:
        num_stages, begun = 2, 0
        done = property(lambda self: self.begun == self.num_stages)

        def prepare(self):
            self.begun += 1

        def run(self, on_metrics, after_step):
            on_metrics([{"seconds": 2.0 * self.begun}] * 6)
            if diverges:
                raise RunError("The loss became nan.")

    monkeypatch.setattr(module, "make_solver", lambda *_, **__: Solver())
    assert training_seconds(plan_of(steps=100)) == pytest.approx(400 if diverges else 600, rel=0.01)


def test_what_a_run_does_not_do_takes_no_time(plan_of):
    assert set(forecast(plan_of(eval=False), Reporter()).stages) == {"training", "export"}


def test_a_search_takes_as_many_trainings_as_it_may_try(plan_of, monkeypatch):
    monkeypatch.setattr(module, "training_seconds", lambda plan: 10.0)
    found = forecast(plan_of(search=True), Reporter(), trials=8)
    assert (found.stages["training"], found.most_trials) == (80.0, 8)
    assert forecast(plan_of(), Reporter()).stages["training"] == 10.0


def test_a_search_asks_and_audits_every_trial(plan_of, monkeypatch):
    monkeypatch.setattr(module, "training_seconds", lambda plan: 10.0)
    monkeypatch.setattr(module, "questions_seconds", lambda plan, model, asked, total=0: 6.0 if total else 0.0)
    monkeypatch.setattr(module, "_token_seconds", lambda plan, model: 0.0)
    monkeypatch.setattr(module, "_measured_groups", lambda plan, model: [1.0, 2.0])
    monkeypatch.setattr(module, "knowledge_file", lambda plan: None)  # nothing is known of the base yet
    known = 6.0 * (1 / module._KNOWN_SHARE + 1)
    for trials, measured, audited in ((1, 2 * 3.0, 6.0), (8, (2 + 8) * 3.0, 6.0 + 8 * 3.0)):
        stages = forecast(plan_of(audit=True), Reporter(), trials=trials).stages
        assert stages["measuring"] == pytest.approx(measured)
        assert stages["audit"] == pytest.approx(known + audited)


def test_a_model_that_is_too_large_to_be_probed_is_counted(plan_of, monkeypatch):
    monkeypatch.setattr(module, "LARGEST_PROBED_GB", 1e-9)
    found = forecast(plan_of(), Reporter())
    assert not found.probed
    assert set(found.stages) == {"training"}


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (45, "45 s"), (120, "2 min"), (5000, "83 min"), (9000, "2.5 h")]
)
def test_times_are_said_as_people_say_them(seconds, words):
    assert in_words(seconds) == words


def test_trials_are_said_before_the_first():
    assert say_time(30, 8, at_most=True) == "A trial will take about 30 s; at most 8 of them about 4 min."
    assert say_time(30, 2) == "A trial will take about 30 s; 2 of them about 60 s."


def test_after_each_trial_the_time_left_is_by_those_that_are_done(monkeypatch):
    ticks = iter([0.0, 60.0, 180.0, 240.0])
    monkeypatch.setattr(bench.time, "perf_counter", lambda: next(ticks))
    clock = TrialClock(3)
    assert [clock.left_after_one() for _ in range(3)] == ["2 min", "2 min", "1 s"]
