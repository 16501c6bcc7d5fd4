"""Reductions over counted tokens, shared by all objectives. Everything is computed in float32 or wider."""

import torch
from torch import Tensor

from srmu.objective.tensors import Hidden, Scalar, TokenMask, TokenWeights


def widen(tensor: Tensor) -> Tensor:
    """Float32, unless the tensor is float64 already."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def squared_distance_sum(
    hidden_updated: Hidden, target: Tensor, token_mask: TokenMask, token_weights: TokenWeights | None = None
) -> Scalar:
    """Sum, over counted tokens and features, of the squared distance of hidden states to their target.

    Sums (not means) let a batch be split: the caller divides by the number of counted tokens times features.

    Args:
        hidden_updated: Residual stream after the tapped layer, `[batch, seq, hidden]`, any float dtype.
        target: `[hidden]`, `[batch, seq, 1]` x `[hidden]`, or `[batch, seq, hidden]`; no gradient.
        token_mask: `[batch, seq]` bool, true where the token counts. Padding must be false.
        token_weights: `[batch, seq]`, how much each token counts; none = all the same, 1.

    Returns:
        Scalar, float32 (float64 for float64 input).
    """
    # Zeros in place of what does not count: picking out what counts would make an accelerator wait for their number.
    distance = (widen(hidden_updated) - widen(target)).masked_fill(~token_mask.unsqueeze(-1), 0.0)
    if token_weights is None:
        return distance.square().sum()
    return (distance.square().sum(dim=-1) * token_weights).sum()


def sink_free_mask(hidden_frozen: Hidden, real_mask: TokenMask, norm_ratio: float) -> TokenMask:
    """The tokens that count when attention sinks do not: real, not the first of a row, and of ordinary norm.

    Args:
        hidden_frozen: Frozen residual stream after the tapped layer, `[batch, seq, hidden]`.
        real_mask: `[batch, seq]` bool, true where a token is real; rows are right-padded.
        norm_ratio: A position is a sink when its norm exceeds this times the median norm of its row's other tokens.

    Returns:
        `[batch, seq]` bool.
    """
    counted = real_mask.clone()
    counted[:, 0] = False
    norms = widen(hidden_frozen).norm(dim=-1)
    median = norms.masked_fill(~counted, float("nan")).nanquantile(0.5, dim=1, keepdim=True)
    # A row with nothing left has no median: comparisons with NaN are false, so it stays empty.
    return counted & (norms <= norm_ratio * median)
