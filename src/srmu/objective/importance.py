"""The importance map of SRMU: mean activations of the forget and the retain side in, one weight per feature out.

What accumulates (`ImportanceFitter`) and what is applied (a `[hidden]` tensor in [0, 1]) are two things. Sums, not
means, pass between them, so that batches, ranks and steps add up exactly.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from srmu.objective.choices import ActivationStatistic, ImportanceMapName, MapScope
from srmu.objective.masked import widen
from srmu.objective.tensors import Feature, Hidden, TokenMask


@dataclass(frozen=True)
class ActivationSums:
    """Sums over counted tokens of one side.

    Attributes:
        count: Number of tokens (a float, since running sums decay).
        features: `[hidden]` sum of |h| (`abs`), h^2 (`rms`) or h (`signed`).
        norms: Scalar sum of the tokens' norms.
    """

    count: Tensor
    features: Feature
    norms: Tensor

    def __add__(self, other: "ActivationSums") -> "ActivationSums":
        return ActivationSums(self.count + other.count, self.features + other.features, self.norms + other.norms)

    def scaled(self, factor: float) -> "ActivationSums":
        """All sums times `factor`."""
        return ActivationSums(self.count * factor, self.features * factor, self.norms * factor)

    def mean(self, statistic: ActivationStatistic) -> Feature:
        """v, the mean activation of each feature, `[hidden]`; for `rms` the root of the mean square."""
        mean = self.features / self.count
        return mean.sqrt() if statistic == "rms" else mean

    @property
    def mean_norm(self) -> Tensor:
        """Mean norm of a counted token, a scalar."""
        return self.norms / self.count


def activation_sums(hidden_frozen: Hidden, token_mask: TokenMask, statistic: ActivationStatistic) -> ActivationSums:
    """Sum the statistic of the frozen activations over counted tokens.

    Args:
        hidden_frozen: `[batch, seq, hidden]`.
        token_mask: `[batch, seq]` bool, true where the token counts.
        statistic: `abs`, `rms` or `signed`.
    """
    # Zeros in place of what does not count: picking out what counts would make an accelerator wait for their number.
    counted = widen(hidden_frozen).masked_fill(~token_mask.unsqueeze(-1), 0.0)
    values = counted.abs() if statistic == "abs" else counted.square() if statistic == "rms" else counted
    count = token_mask.sum().to(counted.dtype)
    return ActivationSums(count=count, features=values.sum(dim=(0, 1)), norms=counted.norm(dim=-1).sum())


def importance_map(
    forget_mean: Feature,
    retain_mean: Feature,
    name: ImportanceMapName,
    *,
    epsilon: float,
    difference_lambda: float,
) -> Feature:
    """I_norm, the weight of each feature in SRMU's target (arXiv 2512.16297).

    ratio: `log(1 + v_f / (v_r + eps))`; difference: `relu(v_f - lambda * v_r)`;
    product: `v_f * v_r / (mean(v_f) * mean(v_r) + eps)`; each divided by its maximum (plus 1e-8). none: all ones.

    With signed statistics a ratio may be negative, where the logarithm is undefined: it counts as 0, and so does a
    negative product.

    Args:
        forget_mean: v_f, `[hidden]`.
        retain_mean: v_r, `[hidden]`.
        name: Which map.
        epsilon: Guard of the denominators.
        difference_lambda: Lambda of the difference.

    Returns:
        `[hidden]`, in [0, 1].
    """
    if name == "none":
        return torch.ones_like(forget_mean)
    if name == "ratio":
        importance = torch.log1p((forget_mean / (retain_mean + epsilon)).clamp(min=0))
    elif name == "difference":
        importance = (forget_mean - difference_lambda * retain_mean).clamp(min=0)
    else:
        product = forget_mean * retain_mean / (forget_mean.mean() * retain_mean.mean() + epsilon)
        importance = product.clamp(min=0)
    return importance / (importance.max() + 1e-8)


def describe_map(importance: Feature) -> dict[str, float]:
    """A map `[hidden]` in numbers: `mean`, `share_of_zeros`, and `effective_dimension`.

    The effective dimension is how many features the target would spread over evenly, were it as concentrated as it is:
    `(sum I^2)^2 / sum I^4`.
    """
    squares = importance.double().square()
    return {
        "mean": float(importance.mean()),
        "share_of_zeros": float((importance == 0).float().mean()),
        "effective_dimension": float(squares.sum() ** 2 / squares.square().sum().clamp(min=1e-30)),
    }


class ImportanceFitter:
    """Accumulates both sides' sums as `map_scope` says and gives the means that the map is made of.

    Args:
        scope: `dynamic` (this batch alone), `running` (decayed sums of all batches so far) or `corpus` (fixed sums,
            given once through `update` before training).
        decay: Weight of the past a step, for `running`.
    """

    def __init__(self, scope: MapScope, decay: float):
        self.scope = scope
        self.decay = decay
        self.forget: ActivationSums | None = None
        self.retain: ActivationSums | None = None

    def update(self, forget: ActivationSums, retain: ActivationSums) -> None:
        """Take in one batch's sums."""
        if self.scope == "dynamic" or self.forget is None or self.retain is None:
            self.forget, self.retain = forget, retain
        elif self.scope == "running":
            self.forget = self.forget.scaled(self.decay) + forget
            self.retain = self.retain.scaled(self.decay) + retain
