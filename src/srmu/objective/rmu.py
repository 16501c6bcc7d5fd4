"""RMU (arXiv 2403.03218): every forget token is pulled to one fixed vector."""

from srmu.objective.tensors import Feature, Scalar


def rmu_target(direction: Feature, coefficient: float | Scalar) -> Feature:
    """The target `c * u`.

    Args:
        direction: u, `[hidden]`, of length 1.
        coefficient: c, the length of the target, in units of the residual stream.

    Returns:
        `[hidden]`.
    """
    return coefficient * direction
