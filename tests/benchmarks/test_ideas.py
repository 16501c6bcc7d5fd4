"""The ideas of the log: a map along other axes, a vector for each row, and rows that moved most."""

import numpy as np
import pytest
import torch

import tiny_runs
from oracle import formulas
from tiny_runs import finish, make_rows, make_solver, make_topic

TOPIC = make_topic(make_rows((21, 5, 14, 9), seed=1), make_rows((60, 12, 16), seed=2))


@pytest.fixture(scope="module")
def ideas(benchmark_module):
    return benchmark_module("ideas")


def test_a_map_along_the_retain_axes_is_the_formula_turned_there_and_back(ideas, saved_family, monkeypatch):
    plain = make_solver(saved_family("llama"), [TOPIC], dtype=torch.float64, max_length=64, map_scope="corpus")
    monkeypatch.setattr(tiny_runs, "GradientSolver", ideas.AXES)
    solver = make_solver(saved_family("llama"), [TOPIC], dtype=torch.float64, max_length=64)
    forget, retain = (
        [group for row in rows for group in solver.store.get([row])]
        for rows in (range(4), range(4, len(solver.store.rows)))
    )
    (target, *_), length = solver.target_maker.targets(solver.topics[0], forget, retain)
    sides = [
        np.concatenate([group.output[group.token_mask].numpy() for group in groups]) for groups in (forget, retain)
    ]
    axes = np.linalg.eigh(sides[1].T @ sides[1]).eigenvectors
    weights = formulas.normalised_importance(
        formulas.importance_map(*(np.abs(side @ axes).mean(axis=0) for side in sides), "difference")
    )
    turned = weights * (plain.topics[0].direction.numpy() @ axes)
    norm = np.linalg.norm(sides[0], axis=-1).mean()
    expected = formulas.relative_coefficient(turned, 3.0, norm) * turned @ axes.T
    assert np.abs(target.numpy() - expected).max() < 1e-10 * np.abs(expected).max()
    assert float(length) == pytest.approx(3.0 * norm)


def solver_with(maker, ideas, path, monkeypatch, **settings):
    monkeypatch.setattr(tiny_runs, "GradientSolver", ideas.made_by(maker))
    return make_solver(path, [TOPIC], dtype=torch.float64, max_length=64, **settings)


@pytest.mark.parametrize("full", [False, True])
def test_a_discriminant_map_is_what_tells_the_sides_apart(full, ideas, saved_family, monkeypatch):
    maker = ideas.FullDiscriminantMaker if full else ideas.DiscriminantMaker
    solver = solver_with(maker, ideas, saved_family("llama"), monkeypatch)
    sides = [torch.cat(list(solver.counted(rows))).numpy() for rows in solver.sides()]
    difference = sides[0].mean(axis=0) - sides[1].mean(axis=0)
    pooled = (np.cov(sides[0].T) + np.cov(sides[1].T)) / 2
    if full:
        ridge = ideas.RIDGE * np.trace(pooled) / len(pooled)
        weights = np.abs(np.linalg.inv(pooled + ridge * np.eye(len(pooled))) @ difference)
    else:
        weights = np.abs(difference) / np.sqrt(np.diag(pooled))
    finish(solver)
    assert np.abs(solver.topics[0].importance.numpy() - weights / weights.max()).max() < 1e-10


def test_a_ramp_grows_to_the_whole_target(ideas, saved_family, monkeypatch):
    def lengths(maker):
        solver = solver_with(maker, ideas, saved_family("llama"), monkeypatch, steps=8, coefficient_unit="absolute")
        return np.array([record["target_norm"] for record in finish(solver)])

    assert lengths(ideas.RampMaker) / lengths(ideas.Maker) == pytest.approx([0.25, 0.5, 0.75, *[1.0] * 5])


def test_a_row_has_the_same_vector_however_long_it_is_padded(ideas):
    directions = ideas.RowDirections(16, seed=0)
    row, other = list(range(1, 15)), list(range(2, 16))
    long = directions.of(torch.tensor([[*row, 0, 0], [*other, 0, 0]]))
    assert torch.equal(long[0, :14], directions.of(torch.tensor([row]))[0])
    assert not torch.equal(long[0], long[1])


def test_rows_that_moved_most_are_read_more_often(ideas, saved_family, monkeypatch):
    monkeypatch.setattr(ideas, "LOOK_EVERY", 2)
    monkeypatch.setattr(ideas, "HARD_SHARE", 1 / 3)
    monkeypatch.setattr(tiny_runs, "GradientSolver", ideas.HardRowsSolver)
    solver = make_solver(saved_family("llama"), [TOPIC], retain_batch_size=2, max_length=64, steps=5)
    first, last = solver.sides()[1][0], solver.sides()[1][-1]
    assert solver._moved(last) == 0
    solver.step()
    assert solver._moved(last) > 0
    monkeypatch.setattr(solver, "_moved", lambda row: {first: 2.0, last: 3.0}.get(row, 1.0))
    assert len(finish(solver)) == 5
    assert solver.hard == [last]
    assert all(solver._row_ids(step)[1][0] == last for step in solver.schedule)
