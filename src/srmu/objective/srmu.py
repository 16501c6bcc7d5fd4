"""SRMU (arXiv 2512.16297): a signed target, weighted feature by feature with the importance map."""

from jaxtyping import Shaped
from torch import Tensor

from srmu.objective.tensors import Feature, Scalar


def srmu_target(
    misdirection_vector: Shaped[Tensor, "*tokens hidden"], importance: Feature, coefficient: float | Scalar
) -> Shaped[Tensor, "*tokens hidden"]:
    """The target `c_map * V * I_norm`, elementwise.

    Args:
        misdirection_vector: V, `[hidden]`, or one for each token, `[batch, seq, hidden]`.
        importance: I_norm, `[hidden]`, in [0, 1].
        coefficient: c_map, in units of the residual stream.

    Returns:
        Of V's shape.
    """
    return coefficient * misdirection_vector * importance
