"""Sums over counted tokens against the oracle: padding, order, splits and sinks."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from oracle import formulas
from srmu.objective.importance import activation_sums
from srmu.objective.masked import sink_free_mask, squared_distance_sum, widen

HIDDEN_SIZE = 6


def draw(seed: int, rows: int = 3, length: int = 9) -> tuple[Tensor, Tensor]:
    """Hidden states in float64 and a mask of right-padded rows of 2 tokens or more."""
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, length, HIDDEN_SIZE, generator=generator, dtype=torch.float64)
    lengths = torch.randint(2, length + 1, (rows, 1), generator=generator)
    return hidden, torch.arange(length)[None] < lengths


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), full=st.booleans())
def test_squared_distance_equals_the_oracle(seed: int, full: bool) -> None:
    hidden, mask = draw(seed)
    target = draw(seed + 1)[0] if full else torch.linspace(-1, 1, HIDDEN_SIZE, dtype=torch.float64)
    mean = squared_distance_sum(hidden, target, mask) / (mask.sum() * HIDDEN_SIZE)
    expected = formulas.masked_squared_distance(hidden.numpy(), target.numpy(), mask.numpy())
    assert mean.item() == pytest.approx(expected, rel=1e-13)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), split=st.integers(1, 4))
def test_padding_row_order_and_a_split_change_no_sum(seed: int, split: int) -> None:
    hidden, mask = draw(seed, rows=5)
    target = torch.ones(HIDDEN_SIZE, dtype=torch.float64)
    whole = squared_distance_sum(hidden, target, mask)
    parts = [squared_distance_sum(h, target, m) for h, m in zip(hidden.split(split), mask.split(split), strict=True)]
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    longer = torch.nn.functional.pad(hidden, (0, 0, 0, 4), value=float("nan"))
    padded = squared_distance_sum(longer[order], target, torch.nn.functional.pad(mask, (0, 4))[order])
    assert sum(parts) == pytest.approx(whole.item(), rel=1e-13)
    assert padded.item() == pytest.approx(whole.item(), rel=1e-13)


def test_padding_has_no_gradient() -> None:
    hidden, mask = draw(3)
    hidden.requires_grad_(True)
    squared_distance_sum(hidden, torch.zeros(HIDDEN_SIZE, dtype=torch.float64), mask).backward()
    assert hidden.grad is not None
    assert (hidden.grad[~mask] == 0).all()
    assert torch.equal(hidden.grad[mask], 2 * hidden.detach()[mask])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened_before_squares_are_taken(dtype: torch.dtype) -> None:
    hidden = torch.full((1, 2, HIDDEN_SIZE), 300.0, dtype=dtype)
    total = squared_distance_sum(hidden, torch.zeros(HIDDEN_SIZE), torch.ones(1, 2, dtype=torch.bool))
    assert total.dtype == torch.float32
    assert total.item() == pytest.approx(2 * HIDDEN_SIZE * 300.0**2, rel=0.01)  # 90,000 is beyond float16
    assert widen(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), ratio=st.sampled_from([1.0, 1.2, 2.0, 4.0]))
def test_counted_tokens_equal_the_oracle(seed: int, ratio: float) -> None:
    hidden, mask = draw(seed)
    hidden *= torch.rand(3, 9, 1, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 5
    counted = sink_free_mask(hidden, mask, ratio)
    assert np.array_equal(counted.numpy(), formulas.sink_mask(hidden.numpy(), mask.numpy(), ratio))


def test_sinks_by_position_and_by_norm_are_not_counted() -> None:
    hidden, mask = torch.ones(2, 6, HIDDEN_SIZE), torch.ones(2, 6, dtype=torch.bool)
    hidden[0, 3] *= 100
    mask[1, 1:] = False  # a row of one token has nothing to count
    counted = sink_free_mask(hidden, mask, 4.0)
    assert counted.tolist() == [[False, True, True, False, True, True], [False] * 6]


def test_a_planted_sink_changes_nothing_unless_it_is_counted() -> None:
    hidden, mask = draw(5)
    planted = hidden.clone()
    planted[:, 0] = 1e6
    results = []
    for states in (hidden, planted):
        counted = sink_free_mask(states, mask, 4.0)
        sums = activation_sums(states, counted, "abs")
        loss = squared_distance_sum(states, torch.ones(HIDDEN_SIZE, dtype=torch.float64), counted)
        results.append((counted, loss, sums.count, sums.features, sums.norms))
    assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    every = [activation_sums(states, mask, "abs") for states in (hidden, planted)]
    assert every[1].norms > 1e5 * every[0].norms
