"""Erasure: batches add up, tokens that are not specific stay, the collapse is a projection."""

import numpy as np
import pytest
import torch

from oracle import formulas
from srmu.objective.erasure import SPECIFIC, CentroidSums, Erasure, centroid_sums, erasure_target, make_erasure

GENERATOR = torch.Generator().manual_seed(0)
HIDDEN = torch.randn(4, 6, 8, generator=GENERATOR, dtype=torch.float64)
WEIGHTS = torch.rand(4, 6, generator=GENERATOR, dtype=torch.float64) ** 0.1
MASK = torch.rand(4, 6, generator=GENERATOR) > 0.2
CHOSEN = (MASK & (WEIGHTS > SPECIFIC)).numpy()


def sums(with_moments: bool = True) -> CentroidSums:
    return centroid_sums(HIDDEN, MASK, WEIGHTS, with_moments=with_moments)


def test_the_centroid_equals_the_oracle() -> None:
    expected = formulas.centroid(HIDDEN.numpy()[CHOSEN], WEIGHTS.numpy()[CHOSEN])
    assert torch.allclose(make_erasure(sums(False)).centroid, torch.from_numpy(expected), rtol=1e-12)


@pytest.mark.parametrize("number", [1, 3])
def test_the_axes_span_what_an_svd_of_the_deviations_finds(number: int) -> None:
    axes = make_erasure(sums(), number).axes
    assert axes is not None
    expected = formulas.principal_axes(HIDDEN.numpy()[CHOSEN], WEIGHTS.numpy()[CHOSEN], number)
    assert torch.allclose(axes @ axes.T, torch.from_numpy(expected.T @ expected), atol=1e-10)


@pytest.mark.parametrize("number", [0, 2])
def test_the_target_equals_the_oracle_token_by_token(number: int) -> None:
    erasure = make_erasure(sums(), number)
    axes = None if erasure.axes is None else erasure.axes.T.numpy()
    expected = formulas.erasure_target(HIDDEN.numpy(), WEIGHTS.numpy() > SPECIFIC, erasure.centroid.numpy(), axes)
    assert torch.allclose(erasure_target(HIDDEN, WEIGHTS, erasure), torch.from_numpy(expected), rtol=1e-12, atol=1e-12)


def test_sums_of_parts_equal_those_of_the_whole_and_padding_plays_no_part() -> None:
    polluted = HIDDEN.masked_fill(~MASK.unsqueeze(-1), float("nan"))
    parts = [centroid_sums(polluted[i : i + 2], MASK[i : i + 2], WEIGHTS[i : i + 2], with_moments=True) for i in (0, 2)]
    whole = sums()
    added = parts[0] + parts[1]
    assert torch.allclose(added.features, whole.features, rtol=1e-12)
    assert torch.allclose(added.weight, whole.weight, rtol=1e-12)
    assert added.moments is not None
    assert whole.moments is not None
    assert torch.allclose(added.moments, whole.moments, rtol=1e-12)


def test_all_specific_tokens_become_one_and_others_keep_their_bits() -> None:
    target = erasure_target(HIDDEN, WEIGHTS, make_erasure(sums(False)))
    specific = WEIGHTS > SPECIFIC
    assert torch.allclose(target[specific], target[specific][0].expand_as(target[specific]), atol=1e-12)
    assert torch.equal(target[~specific], HIDDEN[~specific])


def test_with_every_axis_the_projection_is_the_collapse_and_doing_it_twice_changes_nothing() -> None:
    whole, projected = make_erasure(sums(False)), make_erasure(sums(), 8)
    collapsed = erasure_target(HIDDEN, WEIGHTS, whole)
    assert torch.allclose(erasure_target(HIDDEN, WEIGHTS, projected), collapsed, atol=1e-10)
    once = erasure_target(HIDDEN, WEIGHTS, make_erasure(sums(), 2))
    assert torch.allclose(erasure_target(once, WEIGHTS, make_erasure(sums(), 2)), once, atol=1e-10)


def test_half_precision_states_give_a_float32_target() -> None:
    target = erasure_target(HIDDEN.half(), WEIGHTS, Erasure(torch.zeros(8)))
    assert target.dtype == torch.float32
    assert np.isfinite(target.numpy()).all()
