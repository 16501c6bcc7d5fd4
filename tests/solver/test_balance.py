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


def test_a_run_keeps_its_forget_loss_where_it_was_asked_to(saved_family: Callable[..., Path]) -> None:
    settings = {"method": "erasure", "retain_weight": 1.0, "steps": 60}
    llama = saved_family("llama")
    fixed, following = (finish(make_solver(llama, remaining_loss=share, **settings)) for share in (0.0, 0.5))
    assert following[0]["forget_loss"] == fixed[0]["forget_loss"]
    assert following[-1]["forget_loss"] > 2 * fixed[-1]["forget_loss"]
    assert following[-1]["retain_weight"] > 1.0 == fixed[-1]["retain_weight"]
