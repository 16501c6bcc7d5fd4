"""Properties of the loop: what a run must change, what it must not, and that it can be stopped and gone on with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from oracle.plain import float64_exact
from srmu.errors import InputError, RunError
from srmu.inputs.rows import TokenRows
from srmu.solver.batches import Part
from srmu.solver.frozen import FrozenRows
from srmu.solver.gradient import GradientSolver
from srmu.solver.loss_scale import loss_scale
from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.replay import FrozenPass
from srmu.surgery.truncate import load_truncated
from tiny_runs import FORGET, RETAIN, all_equal, finish, load_tiny, make_rows, make_solver, make_topic, masters_of

SavedFamily = Callable[..., Path]
METHODS = ("rmu", "adaptive-rmu", "srmu")


@pytest.fixture
def llama(saved_family: SavedFamily) -> Path:
    return saved_family("llama")


def losses(records: list[dict[str, Any]]) -> list[float]:
    return [record[key] for record in records for key in ("forget_loss", "retain_loss", "gradient_norm")]


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_gives_the_same_bits_and_another_does_not(method: str, llama: Path) -> None:
    runs = []
    for seed in (0, 0, 1):
        solver = make_solver(llama, method=method, seed=seed)
        runs.append((losses(finish(solver)), masters_of(solver)))
    assert runs[0][0] == runs[1][0] != runs[2][0]
    assert all_equal(runs[0][1], runs[1][1])
    assert not all_equal(runs[0][1], runs[2][1])


def test_zero_learning_rate_leaves_the_masters_bit_identical(llama: Path) -> None:
    solver = make_solver(llama, learning_rate=0.0)
    before = masters_of(solver)
    records = finish(solver)
    assert all_equal(before, masters_of(solver))
    assert all(record["gradient_norm"] > 0 for record in records)
    control = make_solver(llama)
    finish(control)
    assert not any(torch.equal(before[name], after) for name, after in masters_of(control).items())


def test_the_result_is_the_mean_of_the_last_matrices_and_the_steps_are_the_same(llama: Path) -> None:
    plain, averaged = make_solver(llama, steps=5), make_solver(llama, steps=5, weight_averaging=0.6)
    each = []
    while plain.next_step < 5:
        plain.step()
        averaged.step()
        each.append(masters_of(plain))
    assert all(
        torch.equal(one, other) for one, other in zip(plain.masters.values(), averaged.masters.values(), strict=True)
    )
    for name, result in averaged.trained_parameters().items():
        torch.testing.assert_close(result, sum(matrices[name] for matrices in each[2:]) / 3)
        assert not torch.equal(result, each[-1][name])
    assert averaged.moved(FORGET) != plain.moved(FORGET)


@pytest.mark.parametrize("averaged", [0.0, 0.6])
def test_the_result_lies_between_the_base_and_what_was_trained(llama: Path, averaged: float) -> None:
    whole = make_solver(llama, steps=5, weight_averaging=averaged)
    base = masters_of(whole)
    scaled = make_solver(llama, steps=5, weight_averaging=averaged, change_scale=0.8)
    for solver in (whole, scaled):
        finish(solver)
    assert all(torch.equal(matrix, scaled.masters[key]) for key, matrix in whole.masters.items())  # the same steps
    trained = whole.trained_parameters()
    for name, result in scaled.trained_parameters().items():
        torch.testing.assert_close(result, base[name] + 0.8 * (trained[name] - base[name]), rtol=1e-6, atol=1e-8)
    assert 0 < scaled.moved(FORGET) < whole.moved(FORGET)


def test_scaling_back_leaves_matrices_that_stand_still_bit_identical(llama: Path) -> None:
    solver = make_solver(llama, learning_rate=0.0, change_scale=0.3)
    before = masters_of(make_solver(llama))
    finish(solver)
    assert all_equal(before, solver.trained_parameters())


def test_averaging_of_matrices_that_stand_still_keeps_their_bits(llama: Path) -> None:
    solver = make_solver(llama, learning_rate=0.0, weight_averaging=1.0)
    before = masters_of(make_solver(llama))
    finish(solver)
    assert solver.averages
    assert all_equal(before, masters_of(solver))


def test_a_linear_schedule_falls_from_the_full_rate_towards_zero(llama: Path) -> None:
    solver = make_solver(llama, steps=4, learning_rate_schedule="linear", learning_rate=1e-2)
    rates = []
    for _ in range(4):
        solver.step()
        rates.append(solver.optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([1e-2, 0.75e-2, 0.5e-2, 0.25e-2])


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_retain_loss_of_the_first_step_is_zero_to_rounding(dtype: torch.dtype, llama: Path) -> None:
    records = finish(make_solver(llama, dtype=dtype))
    assert records[0]["retain_loss"] < 1e-10
    assert records[1]["retain_loss"] > 1e-5


def test_frozen_weights_are_left_alone(saved_family: SavedFamily) -> None:
    truncated = load_tiny(saved_family("gpt2"))
    before = {name: value.clone() for name, value in truncated.inner.state_dict().items()}
    finish(make_solver(saved_family("gpt2"), truncated=truncated))
    assert all_equal(before, dict(truncated.inner.state_dict()))
    assert all(parameter.grad is None for parameter in truncated.inner.parameters())


@pytest.mark.parametrize("name", ["mixtral", "qwen3_moe"])
def test_experts_that_no_token_reaches_keep_their_bits(name: str, saved_family: SavedFamily) -> None:
    # A row of one token over and over has one hidden state, which goes to two of the four experts.
    rows = TokenRows((torch.full((6,), 40, dtype=torch.int32),), (0,))
    settings = {"method": "rmu", "forget_batch_size": 1, "retain_batch_size": 1, "trained_layers": (2, 3)}
    solver = make_solver(saved_family(name), [make_topic(rows, rows)], **settings)
    before = masters_of(solver)
    finish(solver)
    for key, after in masters_of(solver).items():
        same = [torch.equal(one, other) for one, other in zip(before[key], after, strict=True)]
        assert sorted(same) == [False, False, True, True]


def first_step(solver: GradientSolver) -> tuple[list[float], list[torch.Tensor]]:
    with float64_exact():
        solver.step()
    records: list[dict[str, Any]] = []
    solver.flush(records.extend)
    return losses(records), [master.grad for master in solver.masters.values() if master.grad is not None]


def assert_close(one: tuple[list[float], list[torch.Tensor]], other: tuple[list[float], list[torch.Tensor]]) -> None:
    assert one[0] == pytest.approx(other[0], rel=1e-11, abs=1e-20)
    for left, right in zip(one[1], other[1], strict=True):
        assert (left - right).abs().max() < 1e-11 * right.abs().max()


@pytest.mark.parametrize("method", METHODS)
def test_row_order_padding_and_kept_rows_change_nothing_beyond_rounding(method: str, llama: Path) -> None:
    # Every step reads every row, so that order is the only difference; other row lengths give other padding.
    settings = {"method": method, "forget_batch_size": 4, "retain_batch_size": 3, "dtype": torch.float64}
    with float64_exact():
        solvers = [
            make_solver(llama, **settings),
            make_solver(llama, [make_topic(FORGET.select((2, 0, 3, 1)), RETAIN.select((1, 2, 0)))], **settings),
            make_solver(llama, max_length=21, **settings),
            make_solver(llama, cache_gb=0.0, **settings),
        ]
    assert [bool(solver.store._kept) for solver in solvers] == [True, True, True, False]
    results = [first_step(solver) for solver in solvers]
    for result in results[1:]:
        assert_close(result, results[0])


def test_a_batch_split_at_a_fixed_target_adds_up(llama: Path) -> None:
    with float64_exact():
        solver = make_solver(llama, dtype=torch.float64)
        groups = solver.store.get([0, 2])  # one group of 24 tokens, one of 16
        targets, _ = solver.target_maker.targets(solver.topics[0], groups, solver.store.get([4]))

        def gradients(parts: list[list[FrozenRows]], factors: list[float]) -> tuple[list[float], list[torch.Tensor]]:
            weights = solver._compute_weights()
            total = 0.0
            for part, factor in zip(parts, factors, strict=True):
                step = [Part(0, rows, targets[0]) for rows in part]
                total += factor * float(solver._accumulate(step, solver._totals(step), (factor, 0.0), 1.0, weights)[0])
            return [total], [weight.grad for weight in weights.values() if weight.grad is not None]

        counts = [float(group.token_mask.sum()) for group in groups]
        split = gradients([[group] for group in groups], [count / sum(counts) for count in counts])
        assert_close(split, gradients([groups], [1.0]))


def plant(solver: GradientSolver, position: int) -> None:
    """Make the frozen output at a position huge, in every row, as at an attention sink."""
    original = solver.replayer.frozen_pass

    def frozen_pass(token_ids: torch.Tensor, *, late: bool) -> FrozenPass:
        frozen = original(token_ids, late=late)
        output = frozen.output.clone()
        output[:, position] = 1e4 * torch.arange(output.shape[-1])
        return replace(frozen, output=output)

    solver.replayer.frozen_pass = frozen_pass  # type: ignore[method-assign]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("position", [0, 3])
def test_sinks_enter_neither_loss_nor_norm_nor_map_unless_they_are_counted(
    method: str, position: int, llama: Path
) -> None:
    def run(skip_sinks: bool, planted: int | None) -> tuple[list[float], dict[str, torch.Tensor]]:
        solver = make_solver(llama, method=method, skip_sinks=skip_sinks, cache_gb=0.0)
        if planted is not None:
            plant(solver, planted)
        return losses(finish(solver)), masters_of(solver)

    if position == 0:
        plain, with_sink = run(True, None), run(True, 0)
        assert plain[0] == with_sink[0]
        assert all_equal(plain[1], with_sink[1])
    else:  # a sink in the middle leaves the tokens beside it alone, so all stays of ordinary size
        assert max(run(True, position)[0]) < 10 * max(run(True, None)[0])
    assert max(run(False, position)[0]) > 1e3 * max(run(False, None)[0])


@pytest.mark.parametrize("unit", ["relative", "absolute"])
def test_without_a_map_the_target_is_v_at_the_length_that_was_asked_for(unit: str, llama: Path) -> None:
    solver = make_solver(llama, importance_map="none", coefficient_unit=unit)
    forget, retain = (solver.store.get(row_ids) for row_ids in solver._row_ids(solver.schedule[0]))
    targets, norm = solver.target_maker.targets(solver.topics[0], forget, retain)
    signs = solver.topics[0].direction
    assert torch.allclose(targets[0] / targets[0].abs(), signs)
    norms = torch.cat([group.output[group.token_mask].norm(dim=-1) for group in forget])
    length = 3.0 * float(norms.mean()) if unit == "relative" else 3.0 * 32**0.5
    assert float(norm) == pytest.approx(length, rel=1e-5)
    assert targets[0].abs().max() - targets[0].abs().min() < 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_the_loss_scale_of_float16_changes_no_digit(method: str, llama: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = []
    for scale in (1.0, 2.0**9):
        solver = make_solver(llama, method=method)
        monkeypatch.setattr("srmu.solver.gradient.loss_scale", lambda *_, scale=scale: torch.tensor(scale))
        results.append((losses(finish(solver)), masters_of(solver)))
    assert results[0][0] == results[1][0]
    assert all_equal(results[0][1], results[1][1])


def test_float16_follows_float32_even_with_a_large_retain_weight(llama: Path) -> None:
    topics = [make_topic(retain_weight=1200.0)]
    half, single = (make_solver(llama, topics, dtype=dtype, steps=5) for dtype in (torch.float16, torch.float32))
    records = [finish(half), finish(single)]
    counted = half.store.get([0])[0].token_mask.sum()
    assert loss_scale(torch.float16, counted * half.truncated.hidden_size) == 2.0
    assert all(master.dtype == torch.float32 for master in half.masters.values())
    for one, other in zip(*records, strict=True):
        assert one["forget_loss"] == pytest.approx(other["forget_loss"], rel=0.02)


def test_weights_that_are_not_numbers_stop_the_run_at_their_step_with_the_metrics(llama: Path) -> None:
    solver = make_solver(llama, steps=4)
    records: list[dict[str, Any]] = []
    solver.step()
    solver.step()
    with torch.no_grad():
        next(iter(solver.masters.values())).fill_(float("nan"))
    with pytest.raises(
        RunError, match=r"loss became nan .* at step 3; .*Lower --learning-rate or --steering-coefficient"
    ):
        solver.run(records.extend, lambda _: None)
    assert [record["step"] for record in records][:3] == [1, 2, 3]
    assert records[1]["loss"] > 0


def test_frozen_weights_that_are_not_numbers_stop_the_run_at_its_first_step(llama: Path) -> None:
    truncated = load_truncated(open_checkpoint(llama), 4, dtype=torch.float32, device=torch.device("cpu"))
    truncated.layers[0].mlp.up_proj.weight.data.fill_(float("nan"))
    with pytest.raises(RunError, match="at step 1;"):
        finish(make_solver(llama, truncated=truncated))


def test_a_map_that_is_zero_everywhere_stops_the_run(llama: Path) -> None:
    with pytest.raises(RunError, match="importance map became zero for every feature at step 1"):
        finish(make_solver(llama, importance_map="difference", difference_lambda=1000.0))


def test_a_corpus_without_rows_is_refused(llama: Path) -> None:
    with pytest.raises(InputError, match="Topic 'topic' has a corpus without rows"):
        make_solver(llama, [make_topic(TokenRows((), ()))])
    with pytest.raises(InputError, match="Topic 'topic' has a corpus without rows"):
        make_solver(llama, [replace(make_topic(), retain=())])


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_averaging": 0.5},
        {"map_scope": "running"},
        {"map_scope": "corpus"},
        {"cache_gb": 0.0, "weight_averaging": 0.2},
        {"remaining_loss": 0.3},
    ],
)
@pytest.mark.parametrize("stop", [0, 4, 6])
def test_a_run_that_was_stopped_goes_on_to_the_same_bits(
    stop: int, settings: dict[str, Any], llama: Path, tmp_path: Path
) -> None:
    topics = [make_topic(name="one"), make_topic(make_rows((8, 19), 3), make_rows((7, 16), 4), name="two")]
    whole = make_solver(llama, topics, steps=6, **settings)
    records = finish(whole)
    first = make_solver(llama, topics, steps=6, **settings)
    for _ in range(stop):
        first.step()
    save_file(first.state(), tmp_path / "state.safetensors")
    state = load_file(tmp_path / "state.safetensors")
    second = make_solver(llama, topics, steps=6, state=state, **settings)
    assert second.next_step == stop
    assert losses(finish(second)) == losses(records[stop:])
    assert all_equal(masters_of(whole), masters_of(second))
    assert all_equal(whole.state(), second.state())
    # The maps too, of a topic whose last step was before the stop.
    maps = [[topic.importance for topic in solver.topics] for solver in (whole, second)]
    assert all(torch.equal(one, other) for one, other in zip(*maps, strict=True))


def test_a_loaded_state_is_a_copy(llama: Path) -> None:
    solver = make_solver(llama)
    solver.step()
    state = solver.state()
    kept = {name: tensor.clone() for name, tensor in state.items()}
    finish(make_solver(llama, state=kept))
    assert all_equal(kept, state)


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "olmo2"])
def test_families_that_normalise_after_the_mlp_reach_their_target_and_a_longer_one_with_its_gain(
    name: str, saved_family: SavedFamily
) -> None:
    falls, lengths = {}, {}
    for roles in (("mlp_down",), ("mlp_post_norm",), ("mlp_down", "mlp_post_norm")):
        # All rows in every step, so that its loss compares with the first one's.
        settings = {"steps": 15, "learning_rate": 5e-2, "retain_weight": 0.1, "forget_batch_size": 4}
        solver = make_solver(saved_family(name), [make_topic(retain_weight=0.1)], target_roles=roles, **settings)
        before = masters_of(solver)
        records = finish(solver)
        falls[roles] = records[-1]["forget_loss"] / records[0]["forget_loss"]
        lengths[roles] = records[0]["target_norm"]
        assert len(before) == 3 * len(roles)
        assert all(torch.isfinite(after).all() for after in masters_of(solver).values())
        assert not any(torch.equal(before[key], after) for key, after in masters_of(solver).items())
    down, gain, both = falls.values()
    assert down < 0.5
    assert both < 0.8
    assert gain < 1.0
    assert lengths["mlp_down",] < lengths["mlp_down", "mlp_post_norm"]


def test_moved_is_zero_before_and_the_relative_distance_after(llama: Path) -> None:
    solver = make_solver(llama, steps=10)
    assert solver.moved(FORGET) < 1e-6
    finish(solver)
    assert solver.moved(FORGET) > 0.2
    assert solver.moved(TokenRows((), ())) == 0.0


def test_metrics_arrive_in_order_and_all_of_them(llama: Path) -> None:
    records: list[dict[str, Any]] = []
    steps: list[int] = []
    make_solver(llama, steps=23).run(records.extend, steps.append)
    assert [record["step"] for record in records] == steps == list(range(1, 24))
    assert {type(value) for record in records for value in record.values()} == {int, float, str}
    for record in records:
        assert record["loss"] == pytest.approx(record["forget_loss"] + 2.0 * record["retain_loss"])
