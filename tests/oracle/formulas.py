"""Targets, importance maps and losses in float64 NumPy, written from docs/background/method.md, not from the package.

Every function takes the tokens that count as an explicit boolean mask `[batch, seq]`; `sink_mask` makes one.
"""

import itertools
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
MapName = Literal["ratio", "difference", "product", "none"]
Statistic = Literal["abs", "rms", "signed"]


def sink_mask(hidden_frozen: Array, real_mask: Mask, sink_norm_ratio: float | None = 4.0) -> Mask:
    """Tokens that count: real ones, without attention sinks.

    Args:
        hidden_frozen: Frozen residual stream after the tapped layer, `[batch, seq, hidden]`.
        real_mask: `[batch, seq]`, true where a token is real.
        sink_norm_ratio: A position is a sink if it is the first real token of its row, or if its norm exceeds
            this times the median norm of its row's other real tokens. None: every real token counts.
    """
    counted = real_mask.copy()
    if sink_norm_ratio is None:
        return counted
    norms = np.sqrt((hidden_frozen**2).sum(axis=-1))
    for row in range(len(counted)):
        real_positions = np.flatnonzero(real_mask[row])
        if len(real_positions) == 0:
            continue
        others = real_positions[1:]
        counted[row, real_positions[0]] = False
        if len(others) > 0:
            counted[row, others] = norms[row, others] <= sink_norm_ratio * np.median(norms[row, others])
    return counted


def mean_norm(hidden_frozen: Array, token_mask: Mask) -> float:
    """Mean Euclidean norm of the counted tokens."""
    return float(np.sqrt((hidden_frozen[token_mask] ** 2).sum(axis=-1)).mean())


def mean_activation(hidden_frozen: Array, token_mask: Mask, statistic: Statistic) -> Array:
    """v, the mean activation of each feature over counted tokens, `[hidden]`."""
    counted = hidden_frozen[token_mask]
    if statistic == "abs":
        return np.abs(counted).mean(axis=0)
    if statistic == "rms":
        return np.sqrt((counted**2).mean(axis=0))
    return counted.mean(axis=0)


def importance_map(
    forget_mean: Array,
    retain_mean: Array,
    name: MapName,
    *,
    epsilon: float = 1e-6,
    difference_lambda: float = 1.0,
) -> Array:
    """I = phi(v_f, v_r), not yet normalised, `[hidden]`, never negative.

    With signed means phi can fall below zero, or the ratio's logarithm be undefined; both count as 0, so that
    I_norm stays in [0, 1] as the definition says.
    """
    if name == "none":
        return np.ones_like(forget_mean)
    if name == "difference":
        return np.maximum(forget_mean - difference_lambda * retain_mean, 0.0)
    if name == "product":
        scale = forget_mean.mean() * retain_mean.mean() + epsilon
        return np.maximum(forget_mean * retain_mean / scale, 0.0)
    quotient = forget_mean / (retain_mean + epsilon)
    return np.log1p(np.maximum(quotient, 0.0))


def normalised_importance(importance: Array) -> Array:
    """I_norm = I / (max(I) + 1e-8), in [0, 1]; the map `none` is all ones and is not divided."""
    if (importance == 1.0).all():
        return importance
    return importance / (importance.max() + 1e-8)


def rmu_target(unit_vector: Array, coefficient: float) -> Array:
    """c * u, `[hidden]` (arXiv 2403.03218)."""
    return coefficient * unit_vector


def adaptive_rmu_target(unit_vector: Array, hidden_frozen: Array, beta: float) -> Array:
    """beta * ||H_0(x_f)|| * u for every token, `[batch, seq, hidden]` (arXiv 2408.06223)."""
    norms = np.sqrt((hidden_frozen**2).sum(axis=-1, keepdims=True))
    return beta * norms * unit_vector


def srmu_target(misdirection_vector: Array, importance_normalised: Array, coefficient: float) -> Array:
    """c_map * V * I_norm, elementwise, `[hidden]` (arXiv 2512.16297)."""
    return coefficient * misdirection_vector * importance_normalised


def centroid(specific: Array, weights: Array) -> Array:
    """Weighted mean of the specific tokens' activations, `[tokens, hidden]` and `[tokens]`, to `[hidden]`."""
    return np.average(specific, axis=0, weights=weights)


def principal_axes(specific: Array, weights: Array, number: int) -> Array:
    """The directions in which specific tokens differ most from their centroid, `[number, hidden]`, by an SVD."""
    deviations = (specific - centroid(specific, weights)) * np.sqrt(weights)[:, None]
    return np.linalg.svd(deviations, full_matrices=False)[2][:number]


def erasure_target(hidden_frozen: Array, specific: Mask, middle: Array, axes: Array | None) -> Array:
    """Token by token: a specific one loses its deviation from the centroid, along the axes if there are any."""
    target = hidden_frozen.copy()
    for place in np.argwhere(specific):
        deviation = hidden_frozen[tuple(place)] - middle
        if axes is not None:
            deviation = sum(float(deviation @ axis) * axis for axis in axes)
        target[tuple(place)] -= deviation
    return target


def counterfactual_target(hidden_frozen: Array, exchanged: Sequence[Array], overshoot: float) -> Array:
    """From each state towards the mean of the exchanged ones, and on."""
    mean = sum(exchanged) / len(exchanged)
    return mean + overshoot * (mean - hidden_frozen)


def relative_coefficient(direction: Array, steering_coefficient: float, mean_frozen_norm: float) -> float:
    """The coefficient that makes `coefficient * direction` so many times the mean frozen norm long.

    Raises:
        ValueError: If the direction has no length, as where the importance map is zero everywhere.
    """
    length = float(np.sqrt((direction**2).sum()))
    if length == 0.0:
        raise ValueError("the target has no direction: every feature's importance is 0")
    return steering_coefficient * mean_frozen_norm / length


def masked_squared_distance(hidden_updated: Array, target: Array, token_mask: Mask) -> float:
    """Mean over counted tokens and features of the squared distance to the target.

    Args:
        hidden_updated: `[batch, seq, hidden]`.
        target: `[hidden]` or `[batch, seq, hidden]`.
        token_mask: `[batch, seq]`.
    """
    differences = (hidden_updated - target)[token_mask]
    return float((differences**2).mean())


def total_loss(forget_loss: float, retain_loss: float, retain_weight: float) -> float:
    """forget loss + alpha * retain loss."""
    return forget_loss + retain_weight * retain_loss


def guessing_tail(right: int, chances: Sequence[float]) -> float:
    """Probability of at least so many right guesses: every pattern of right and wrong, weighed and added up."""
    total = np.float64(0.0)
    for pattern in itertools.product((False, True), repeat=len(chances)):
        if sum(pattern) >= right:
            total += np.prod([chance if hit else 1 - chance for hit, chance in zip(pattern, chances, strict=True)])
    return float(total)
