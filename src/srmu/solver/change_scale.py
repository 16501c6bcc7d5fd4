"""A result that keeps a share of what was learned: `base + share * (trained - base)` (docs/background/method.md)."""

from collections.abc import Mapping

from torch import Tensor, nn


def scaled_back(
    trained: Mapping[tuple[int, str], Tensor], layers: nn.ModuleList, scale: float
) -> Mapping[tuple[int, str], Tensor]:
    """The matrices that keep a share of their change; the trained ones themselves where that is all of it.

    Args:
        trained: By layer and name within the layer.
        layers: With the base's weights.
        scale: The share, from 0 to 1.
    """
    if scale == 1:
        return trained
    return {
        (layer_id, name): layers[layer_id].get_parameter(name).detach().to(matrix.dtype).lerp(matrix.detach(), scale)
        for (layer_id, name), matrix in trained.items()
    }
