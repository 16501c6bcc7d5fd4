"""The ablation's solver, whose map is that of the model as it is by then."""

import pytest

import tiny_runs
from srmu.solver.gradient import GradientSolver
from tiny_runs import all_equal, finish, make_solver, masters_of


@pytest.fixture(scope="module")
def updated_map_solver(benchmark_module):
    return benchmark_module("ablation").UpdatedMapSolver


def test_the_map_follows_the_model_and_the_target_keeps_its_length(updated_map_solver, saved_family, monkeypatch):
    solvers, records = [], []
    for kind in (GradientSolver, updated_map_solver):
        monkeypatch.setattr(tiny_runs, "GradientSolver", kind)
        solvers.append(make_solver(saved_family("llama"), coefficient_unit="relative"))
        records.append(finish(solvers[-1]))
    frozen, updated = records
    assert updated[0]["forget_loss"] == pytest.approx(frozen[0]["forget_loss"], rel=1e-5)
    lengths = [[record["target_norm"] for record in part] for part in records]
    assert lengths[1] == pytest.approx(lengths[0], rel=1e-5)
    maps = [solver.topics[0].importance for solver in solvers]
    assert (maps[0] - maps[1]).abs().max() > 1e-3
    assert not all_equal(*map(masters_of, solvers))
