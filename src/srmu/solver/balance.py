"""The retain weight of a run that says how much must go, and not at what price.

How far a fixed weight lets the forget loss fall depends on the request: at the same weight one model's capitals of
Africa are gone and its capitals of Asia hardly touched (docs/log). Here the weight follows the loss: it is lowered
where the loss lags behind a straight fall, on a logarithmic scale, to a given share of its first value, and raised
where it is ahead, so that each request pays what it needs, and no more.
"""

import math

import torch
from torch import Tensor

FALL = 0.6
"""Of the steps: the loss should have fallen by then, and stay there."""
GAIN = 18.0
"""By how much the weight's logarithm can change over the run."""
LEAST, MOST = 1e-3, 1e5


class RetainBalance:
    """Follows one topic's forget loss.

    Args:
        weight: At first.
        remaining: Share of the first forget loss that is to remain, from 0 to 1.
        steps: Of this topic, in all.
        device: Where the losses are, so that nothing waits for them.
    """

    def __init__(self, weight: float, remaining: float, steps: int, device: torch.device):
        self.remaining, self.steps = remaining, steps
        # Logarithms: of the weight, of the first loss, and of the loss as it lately was; and the steps seen.
        self.state = torch.tensor([math.log(weight), math.nan, math.nan, 0.0], dtype=torch.float64, device=device)

    @property
    def weight(self) -> Tensor:
        """For the next step, scalar."""
        return self.state[0].exp()

    def see(self, forget_loss: Tensor) -> None:
        """Take in the forget loss of a step."""
        log_weight, first, lately, seen = self.state
        now = forget_loss.detach().to(self.state).clamp(min=1e-12).log()
        first = torch.where(first.isnan(), now, first)
        lately = torch.where(lately.isnan(), now, 0.8 * lately + 0.2 * now)
        share = (seen / (FALL * self.steps)).clamp(max=1.0)
        behind = lately - (first + share * math.log(self.remaining))
        log_weight = (log_weight - GAIN / self.steps * behind.clamp(-1, 1)).clamp(math.log(LEAST), math.log(MOST))
        self.state = torch.stack([log_weight, first, lately, seen + 1])
