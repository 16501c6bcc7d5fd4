"""The three targets against the oracle, and where they reduce to one another."""

import pytest
import torch

from oracle import formulas
from srmu.objective.adaptive_rmu import adaptive_rmu_target
from srmu.objective.rmu import rmu_target
from srmu.objective.srmu import srmu_target

GENERATOR = torch.Generator().manual_seed(0)
HIDDEN = torch.randn(2, 5, 8, generator=GENERATOR, dtype=torch.float64)
UNIT = torch.nn.functional.normalize(torch.rand(8, generator=GENERATOR, dtype=torch.float64), dim=0)
SIGNS = torch.tensor([1.0, -1, 1, 1, -1, -1, 1, -1], dtype=torch.float64)
WEIGHTS = torch.rand(8, generator=GENERATOR, dtype=torch.float64)


def test_targets_equal_the_oracle() -> None:
    pairs = [
        (rmu_target(UNIT, 6.5), formulas.rmu_target(UNIT.numpy(), 6.5)),
        (adaptive_rmu_target(UNIT, 5.0, HIDDEN), formulas.adaptive_rmu_target(UNIT.numpy(), HIDDEN.numpy(), 5.0)),
        (srmu_target(SIGNS, WEIGHTS, 2.0), formulas.srmu_target(SIGNS.numpy(), WEIGHTS.numpy(), 2.0)),
    ]
    for target, expected in pairs:
        assert torch.allclose(target, torch.from_numpy(expected), rtol=1e-14, atol=0)


def test_adaptive_target_is_beta_times_each_tokens_norm_long() -> None:
    lengths = adaptive_rmu_target(UNIT, 5.0, HIDDEN).norm(dim=-1)
    assert lengths.flatten().tolist() == pytest.approx((5.0 * HIDDEN.norm(dim=-1)).flatten().tolist())


def test_adaptive_target_of_half_precision_states_is_float32() -> None:
    target = adaptive_rmu_target(UNIT.float(), 5.0, torch.full((1, 1, 8), 6e4, dtype=torch.float16))
    assert target.dtype == torch.float32
    assert torch.isfinite(target).all()


def test_srmu_without_a_map_is_rmu_with_v_in_place_of_u() -> None:
    assert torch.equal(srmu_target(SIGNS, torch.ones_like(SIGNS), 3.0), rmu_target(SIGNS, 3.0))
