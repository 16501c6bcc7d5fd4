"""When a run whose length is found from its losses ends, and that it ends alike however it was interrupted."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from srmu.config.settings import make_config
from srmu.errors import InputError
from srmu.solver.gradient import METRICS_EVERY, GradientSolver
from srmu.solver.stopping import (
    BALANCED_STEPS,
    FALLEN,
    LEAST_WINDOWS,
    MOST_STEPS,
    SETTLING,
    WINDOW,
    RunLength,
    given_steps,
)
from tiny_runs import make_solver

SavedFamily = Callable[..., Path]
SETTLES = {"steps": "auto", "learning_rate": 2e-2, "retain_weight": 0.05, "weight_averaging": 0.3}


class Stopped(Exception):
    """Where a run is to be interrupted."""


def length_of(path: Callable[[int], float], num_topics: int = 1) -> RunLength:
    """After as many losses as the run asks for."""
    length = RunLength(None, num_topics)
    for step in range(MOST_STEPS):
        if length.total is not None and step >= length.total:
            break
        length.see([path(step)])
    return length


def test_steps_are_known_before_where_they_are_given_or_the_weight_follows_the_loss():
    found = [
        given_steps(make_config(settings).training)
        for settings in ({"steps": 7}, {}, {"remaining_loss": 0.1}, {"remaining_loss": 0.1, "steps": 7})
    ]
    assert found == [7, None, BALANCED_STEPS, 7]


def test_a_given_number_of_steps_stands():
    length = RunLength(50, 1)
    length.see([1.0] * 200)
    assert (length.total, length.planned, length.likely, length.never_fell) == (50, 50, 50, False)
    assert (length.first_averaged(0.3), length.share_of_rate(25)) == (35, 0.5)


def test_a_loss_that_falls_and_levels_off_ends_the_run_after_a_share_of_settling():
    # It falls from 1 to 0.4 between steps 200 and 320: the window from 361 is as low as the one before.
    length = length_of(lambda step: 1.0 - 0.6 * min(1, max(0, (step - 200) / 120)))
    assert length.levelled == 400
    assert length.total == round(400 / (1 - SETTLING))
    assert length.first_averaged(0.3) == 400
    assert length.share_of_rate(400) == 1.0
    assert length.share_of_rate(length.total) == 0.0


@pytest.mark.parametrize("level", [1.0, FALLEN])
def test_a_loss_that_never_fell_is_given_all_steps_and_told(level):
    length = length_of(lambda step: level)
    assert (length.total, length.levelled) == (MOST_STEPS, None)
    assert length.never_fell


def test_a_loss_that_is_low_at_once_is_given_some_windows():
    length = length_of(lambda step: 0.1 if step else 1.0)
    assert length.levelled == LEAST_WINDOWS * WINDOW
    # What is kept in memory must not depend on when a resumed run learns of its end.
    assert length.total < length.likely == RunLength(None, 1).likely


@pytest.mark.parametrize(("num_topics", "window"), [(1, 40), (3, 42), (10, 100), (30, 300), (50, 350), (400, 400)])
def test_topics_take_turns_in_a_window_and_any_number_of_them_may_level_off(num_topics: int, window: int):
    length = length_of(lambda step: 0.1 if step >= num_topics else 1.0, num_topics=num_topics)
    # So many topics that three windows do not fit into the longest run end it without having levelled off.
    fits = LEAST_WINDOWS * window <= round(MOST_STEPS * (1 - SETTLING))
    assert length.levelled == (LEAST_WINDOWS * window if fits else None)


def test_before_the_end_is_known_nothing_is_averaged_and_the_rate_is_whole():
    length = RunLength(None, 1)
    assert length.first_averaged(0.3) == MOST_STEPS
    assert length.share_of_rate(100) == 1.0
    assert length.likely < length.planned == MOST_STEPS


def test_the_end_of_a_run_is_the_same_however_often_it_was_saved(
    saved_family: SavedFamily, monkeypatch: pytest.MonkeyPatch
) -> None:
    """States are saved at steps at which losses are not read by themselves."""
    monkeypatch.setattr("srmu.solver.stopping.WINDOW", METRICS_EVERY)

    def run(*stops: int) -> GradientSolver:
        solver = make_solver(saved_family("llama"), **SETTLES)
        for stop in (*stops, MOST_STEPS):

            def after_step(done: int, stop: int = stop) -> None:
                if done == stop:
                    raise Stopped

            solver.prepare()
            with suppress(Stopped):
                solver.run(lambda records: None, after_step)
            solver.flush(lambda records: None)
            state = {name: tensor.clone() for name, tensor in solver.state().items()}
            solver = make_solver(saved_family("llama"), **SETTLES)
            solver.load_state(state)
        return solver

    whole, stopped = run(), run(7, 33)
    assert whole.length.levelled is not None
    assert whole.next_step == stopped.next_step == whole.length.total
    assert whole.averages
    assert all(torch.equal(matrix, stopped.result[key]) for key, matrix in whole.result.items())


def test_steps_are_a_number_above_none_or_auto():
    assert make_config({}).training.steps == "auto"
    assert make_config({"steps": "12"}).training.steps == 12
    for wrong in (0, -1, "many"):
        with pytest.raises(InputError, match="steps"):
            make_config({"steps": wrong})
