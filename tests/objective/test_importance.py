"""Statistics and importance maps against the oracle; what accumulates equals what is computed at once."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oracle import formulas
from srmu.objective.importance import ActivationSums, ImportanceFitter, activation_sums, importance_map

MAPS, STATISTICS = ("ratio", "difference", "product", "none"), ("abs", "rms", "signed")
MEANS = st.lists(st.floats(-50, 50, allow_subnormal=False), min_size=7, max_size=7)


def states(seed: int, rows: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, 5, 7, generator=generator, dtype=torch.float64)
    mask = torch.rand(rows, 5, generator=generator) < 0.7
    mask[:, 1] = True
    return hidden, mask


def as_map(forget: torch.Tensor, retain: torch.Tensor, name: str, epsilon: float = 1e-6) -> torch.Tensor:
    return importance_map(forget, retain, name, epsilon=epsilon, difference_lambda=0.7)


@pytest.mark.parametrize("statistic", STATISTICS)
def test_means_equal_the_oracle(statistic: str) -> None:
    hidden, mask = states(0)
    sums = activation_sums(hidden, mask, statistic)
    expected = formulas.mean_activation(hidden.numpy(), mask.numpy(), statistic)
    assert np.allclose(sums.mean(statistic).numpy(), expected, rtol=1e-12, atol=0)
    assert sums.mean_norm.item() == pytest.approx(formulas.mean_norm(hidden.numpy(), mask.numpy()), rel=1e-12)


@pytest.mark.parametrize("name", MAPS)
@settings(max_examples=30, deadline=None)
@given(forget=MEANS, retain=MEANS, epsilon=st.sampled_from([1e-6, 0.1]))
def test_maps_equal_the_oracle_and_stay_within_zero_and_one(name, forget, retain, epsilon) -> None:
    sides = [np.array(side) for side in (forget, retain)]
    # At such a denominator the quotient is rounding noise.
    if name == "ratio" and np.abs(sides[1] + epsilon).min() < 1e-9:
        return
    if name == "product" and abs(sides[0].mean() * sides[1].mean() + epsilon) < 1e-9:
        return
    weights = as_map(*map(torch.from_numpy, sides), name, epsilon).numpy()
    raw = formulas.importance_map(*sides, name, epsilon=epsilon, difference_lambda=0.7)
    assert weights.min() >= 0
    assert weights.max() <= 1
    assert np.allclose(weights, formulas.normalised_importance(raw), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", ["ratio", "difference", "product"])
def test_map_of_a_feature_that_only_the_forget_side_uses_is_high(name: str) -> None:
    forget, retain = torch.full((4,), 1.0), torch.tensor([1.0, 1.0, 1.0, 0.01])
    weights = as_map(forget, retain, name)
    # The product rewards what both sides use: the control.
    assert weights.argmax() == 3 if name != "product" else weights.argmin() == 3


@pytest.mark.parametrize("statistic", STATISTICS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), size=st.integers(1, 5))
def test_streaming_sums_equal_the_full_batch(statistic: str, seed: int, size: int) -> None:
    hidden, mask = states(seed)
    whole = activation_sums(hidden, mask, statistic)
    parts = [activation_sums(h, m, statistic) for h, m in zip(hidden.split(size), mask.split(size), strict=True)]
    total = sum(parts[1:], start=parts[0])
    assert total.count == whole.count
    assert torch.allclose(total.mean(statistic), whole.mean(statistic), rtol=1e-12, atol=1e-15)
    assert torch.allclose(total.mean_norm, whole.mean_norm, rtol=1e-12)


def test_uncounted_tokens_do_not_enter_even_when_they_are_not_numbers() -> None:
    hidden, mask = states(1)
    dirty = hidden.masked_fill(~mask.unsqueeze(-1), float("nan"))
    one, other = activation_sums(hidden, mask, "abs"), activation_sums(dirty, mask, "abs")
    assert torch.equal(one.features, other.features)


def sums_of(value: float, count: float = 2.0) -> ActivationSums:
    return ActivationSums(torch.tensor(count), torch.full((3,), value * count), torch.tensor(value * count))


def fitted(scope: str) -> float:
    """The forget mean after batches of mean 1 (two tokens) and 4 (six tokens)."""
    fitter = ImportanceFitter(scope, decay=0.5)
    fitter.update(sums_of(1.0), sums_of(9.0))
    fitter.update(sums_of(4.0, 6.0), sums_of(9.0))
    assert fitter.forget is not None
    return fitter.forget.mean("abs")[0].item()


def test_scopes_keep_the_last_batch_a_decayed_mean_or_the_first_sums() -> None:
    assert fitted("dynamic") == 4.0
    assert fitted("running") == pytest.approx((0.5 * 2 * 1 + 6 * 4) / (0.5 * 2 + 6))
    assert fitted("corpus") == 1.0
