"""The retain weight that follows the forget loss."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from srmu.solver.balance import LEAST, RetainBalance
from tiny_runs import finish, make_solver

CPU = torch.device("cpu")


@pytest.mark.parametrize("weight", [0.5, 5.0, 50.0])
@pytest.mark.parametrize("ease", [0.02, 1.0, 50.0])
def test_the_loss_ends_at_the_share_that_was_asked_for_whatever_a_weight_means(ease: float, weight: float) -> None:
    # A loss that falls towards what the weight lets it: `weight / (weight + ease)` of the first.
    balance = RetainBalance(weight, remaining=0.05, steps=300, device=CPU)
    loss = 8.0
    for _ in range(300):
        level = 8.0 * float(balance.weight / (balance.weight + ease))
        balance.see(torch.tensor(loss))
        loss += 0.1 * (level - loss)
    assert 0.03 < loss / 8.0 < 0.07


def test_a_loss_that_does_not_fall_takes_the_weight_to_its_least_and_no_further() -> None:
    balance = RetainBalance(5.0, remaining=0.05, steps=300, device=CPU)
    for _ in range(3000):
        balance.see(torch.tensor(8.0))
    assert float(balance.weight) == pytest.approx(LEAST)


def test_each_step_weighs_its_retain_loss_as_the_losses_before_it_say(saved_family: Callable[..., Path]) -> None:
    records = finish(make_solver(saved_family("llama"), method="erasure", retain_weight=2.0, remaining_loss=0.5))
    balance = RetainBalance(2.0, remaining=0.5, steps=len(records), device=CPU)
    for record in records:
        assert record["retain_weight"] == pytest.approx(float(balance.weight))
        expected = record["forget_loss"] + record["retain_weight"] * record["retain_loss"]
        assert record["loss"] == pytest.approx(expected, rel=1e-5)
        balance.see(torch.tensor(record["forget_loss"]))
    assert float(balance.weight) != pytest.approx(2.0)
