"""SRMU (arXiv 2512.16297): a signed target, weighted feature by feature with the importance map."""

from jaxtyping import Shaped
from torch import Tensor

from srmu.tensors import Feature, Scalar


def srmu_target(
    misdirection_vector: Shaped[Tensor, "*tokens hidden"],
    importance: Feature,
    coefficient: float | Scalar,
    *,
    axes: Tensor | None = None,
) -> Shaped[Tensor, "*tokens hidden"]:
    """The target `c_map * V * I_norm`, elementwise, in the features or (ours) along other orthonormal axes.

    Args:
        misdirection_vector: V, `[hidden]`, or one for each token, `[batch, seq, hidden]`.
        importance: I_norm, `[hidden]`, in [0, 1]: one weight for each feature or axis.
        coefficient: c_map, in units of the residual stream.
        axes: As columns, `[hidden, hidden]`; V and the target are given in features all the same.

    Returns:
        Of V's shape.
    """
    if axes is None:
        return coefficient * misdirection_vector * importance
    return (coefficient * (misdirection_vector.to(axes.dtype) @ axes) * importance) @ axes.T
