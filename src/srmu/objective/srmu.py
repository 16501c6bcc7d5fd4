"""SRMU (arXiv 2512.16297): a signed target, weighted feature by feature with the importance map."""

from srmu.tensors import Feature, Scalar


def srmu_target(misdirection_vector: Feature, importance: Feature, coefficient: float | Scalar) -> Feature:
    """The target `c_map * V * I_norm`, elementwise.

    Args:
        misdirection_vector: V, `[hidden]`.
        importance: I_norm, `[hidden]`, in [0, 1].
        coefficient: c_map, in units of the residual stream.

    Returns:
        `[hidden]`.
    """
    return coefficient * misdirection_vector * importance
