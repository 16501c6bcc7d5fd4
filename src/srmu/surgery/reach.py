"""How far the trained matrices can push the residual stream, where a norm follows them."""

from collections.abc import Mapping, Sequence

import torch

from srmu.surgery.layers import ROLES
from srmu.surgery.truncate import TruncatedModel


@torch.no_grad()
def reachable_length(truncated: TruncatedModel, parameter_names: Mapping[int, Sequence[str]]) -> float | None:
    """Longest move that the trained MLPs of all layers together can make, or none where nothing bounds it.

    Gemma 2, Gemma 3 and OLMo 2 normalise what an MLP adds to the residual stream: whatever its matrices are, it adds
    a vector as long as the gain of that norm, or about as long.

    Args:
        truncated: The embedding and layers 0..l.
        parameter_names: Layer id -> names, within the layer, of the trained parameters.

    Returns:
        The sum of the gains' lengths, in units of the residual stream. None if a trained layer has no such norm, if its
        gain is trained too, or if something outside the MLP is.
    """
    total = 0.0
    for layer_id, names in parameter_names.items():
        layer = truncated.layers[layer_id]
        gains = [name for name in ROLES["mlp_post_norm"] if name in dict(layer.named_parameters())]
        if not gains or not all(name.startswith("mlp.") for name in names):
            return None
        gain = layer.get_parameter(gains[0])
        # The norm of equal numbers is its effective gain, which Gemma stores less 1; large ones drown its epsilon.
        equal = torch.full_like(gain, 1e4)
        total += float(layer.get_submodule(gains[0].removesuffix(".weight"))(equal).double().norm())
    return total
