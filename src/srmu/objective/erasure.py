"""Erasure: what is specific to the forget texts collapses onto what these texts have in common.

RMU and SRMU drive forget tokens to a point far from all activations. Here the point is the mean of the specific forget
tokens themselves: entities become indistinguishable, and what they share (that they are names of this kind, in such a
sentence) stays, so the stream stays within what later layers know, and there is no offset that could be taken back.
Forget tokens that are not specific keep their own activation. With some axes alone, only the directions in which
specific tokens differ most are removed, as in concept erasure (arXiv 2306.03819 for the linear case); with all, it is
the collapse.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from srmu.objective.masked import widen
from srmu.objective.tensors import Feature, Hidden, TokenMask, TokenWeights

SPECIFIC = 0.9
"""A forget token that weighs more than this is specific: the retain texts have less than a ninth as much of it.

Lower, and plain words of the forget texts' sentences collapse too: what is kept of others and the language suffer, at
equal forgetting (docs/log).
"""


@dataclass(frozen=True)
class CentroidSums:
    """Weighted sums over specific tokens; they add up over batches and ranks.

    Attributes:
        weight: Scalar sum of the weights.
        features: `[hidden]` weighted sum of the activations.
        moments: `[hidden, hidden]` weighted sum of their outer products; none where no axes are needed.
    """

    weight: Tensor
    features: Feature
    moments: Tensor | None = None

    def __add__(self, other: "CentroidSums") -> "CentroidSums":
        moments = None if self.moments is None or other.moments is None else self.moments + other.moments
        return CentroidSums(self.weight + other.weight, self.features + other.features, moments)


@dataclass(frozen=True)
class Erasure:
    """What specific tokens are driven to.

    Attributes:
        centroid: `[hidden]`.
        axes: `[hidden, axes]`, orthonormal: what differs from the centroid along these goes; none = all of it.
    """

    centroid: Feature
    axes: Tensor | None = None


def centroid_sums(
    hidden_frozen: Hidden, token_mask: TokenMask, token_weights: TokenWeights, *, with_moments: bool = False
) -> CentroidSums:
    """Sums of one batch.

    Args:
        hidden_frozen: Frozen residual stream after the tapped layer, `[batch, seq, hidden]`.
        token_mask: `[batch, seq]` bool, true where the token counts.
        token_weights: `[batch, seq]`, from 0 to 1; tokens of at most `SPECIFIC` are left out.
        with_moments: Sum outer products too.
    """
    hidden = widen(hidden_frozen)
    weights = torch.where(token_mask & (token_weights > SPECIFIC), token_weights, 0.0).to(hidden.dtype)
    # Padding may hold anything; zero times that need not be zero.
    hidden = hidden.masked_fill(~token_mask.unsqueeze(-1), 0.0)
    weighted = hidden * weights.unsqueeze(-1)
    moments = torch.einsum("bsi,bsj->ij", weighted, hidden) if with_moments else None
    return CentroidSums(weights.sum(), weighted.sum(dim=(0, 1)), moments)


def make_erasure(sums: CentroidSums, num_axes: int = 0) -> Erasure:
    """The centroid, and the principal axes of the deviations from it.

    Args:
        sums: Over the whole forget side, of a weight above 0; with moments, if there are axes.
        num_axes: Number of axes; 0 = none, the whole deviation goes.
    """
    centroid = sums.features / sums.weight
    if num_axes == 0:
        return Erasure(centroid)
    assert sums.moments is not None
    covariance = sums.moments / sums.weight - torch.outer(centroid, centroid)
    # In ascending order of the eigenvalues.
    return Erasure(centroid, torch.linalg.eigh(covariance).eigenvectors[:, -num_axes:].contiguous())


def erasure_target(hidden_frozen: Hidden, token_weights: TokenWeights, erasure: Erasure) -> Hidden:
    """The target: specific tokens lose what differs from the centroid, all others stay.

    Args:
        hidden_frozen: Frozen residual stream of the forget rows, `[batch, seq, hidden]`.
        token_weights: `[batch, seq]`, as in `centroid_sums`.
        erasure: Centroid and axes.

    Returns:
        `[batch, seq, hidden]`, float32 or wider.
    """
    hidden = widen(hidden_frozen)
    deviation = hidden - erasure.centroid
    if erasure.axes is not None:
        deviation = deviation @ erasure.axes @ erasure.axes.T
    return torch.where((token_weights > SPECIFIC).unsqueeze(-1), hidden - deviation, hidden)
