"""The learning rate of each matrix, where the config leaves it to the tool."""

import math
from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from srmu.surgery.layers import has_inputs_first

# Chosen on validation requests of the demo's model (docs/log); there it comes to 2.5e-3.
AUTO_FACTOR = 0.53


def auto_learning_rate(layer: nn.Module, parameter_name: str) -> float:
    """A rate in proportion to the matrix: `0.53 * rms(W) / sqrt(inputs)`.

    AdamW moves every entry by about the rate. Moves that agree over a matrix's n inputs change its output n times one
    entry's share, while the entries themselves, being random, gave `rms(W) * sqrt(n)`. So this rate changes the
    outputs by the same fraction a step whatever the model's width and scale, and 5e-5 on a 7B model and 2.5e-3 on
    one of 135M can be the same choice.

    Args:
        layer: A decoder layer with its frozen weights.
        parameter_name: Name of the parameter in it.
    """
    weight = layer.get_parameter(parameter_name)
    module = layer.get_submodule(parameter_name.rpartition(".")[0])
    num_inputs = weight.shape[-2] if has_inputs_first(module) else weight.shape[-1]
    return AUTO_FACTOR * _root_mean_square(weight) / math.sqrt(num_inputs)


def learning_rates(
    layers: nn.ModuleList, names: Iterable[tuple[int, str]], rate: float | Literal["auto"]
) -> dict[tuple[int, str], float]:
    """The rate of each trained matrix, by its layer's id and its name there: the one that was given, or its own."""
    return {
        (layer_id, name): auto_learning_rate(layers[layer_id], name) if rate == "auto" else rate
        for layer_id, name in names
    }


def _root_mean_square(weight: Tensor) -> float:
    return float(weight.detach().to(torch.float32).square().mean().sqrt())
