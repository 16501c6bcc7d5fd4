"""Adaptive RMU (arXiv 2408.06223): RMU with a target as long as each token's own frozen norm, times beta."""

from jaxtyping import Float
from torch import Tensor

from srmu.objective.masked import widen
from srmu.objective.tensors import Feature, Hidden


def adaptive_rmu_target(direction: Feature, beta: float, hidden_frozen: Hidden) -> Float[Tensor, "batch seq hidden"]:
    """The target `beta * ||H_0(x_f)|| * u`, token by token.

    Args:
        direction: u, `[hidden]`, of length 1.
        beta: Multiple of the token's frozen norm.
        hidden_frozen: Frozen residual stream of the forget rows, `[batch, seq, hidden]`.

    Returns:
        `[batch, seq, hidden]`.
    """
    return beta * widen(hidden_frozen).norm(dim=-1, keepdim=True) * direction
