"""The tool's own learning rate: in proportion to the matrix, whatever its layout."""

import math

import pytest
import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from srmu.solver.learning_rate import AUTO_FACTOR, auto_learning_rate


class Layer(nn.Module):
    """One matrix of 64 outputs and 256 inputs, in both layouts, and a gain."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(256, 64)
        self.conv = Conv1D(64, 256)
        self.norm = nn.LayerNorm(256)
        with torch.no_grad():
            self.linear.weight.normal_(std=0.1, generator=torch.Generator().manual_seed(0))
            self.conv.weight.copy_(self.linear.weight.T)


def test_the_rate_is_the_definition_and_does_not_depend_on_the_layout() -> None:
    layer = Layer()
    rms = math.sqrt(float(layer.linear.weight.detach().double().square().mean()))
    expected = AUTO_FACTOR * rms / math.sqrt(256)
    assert auto_learning_rate(layer, "linear.weight") == pytest.approx(expected, rel=1e-6)
    assert auto_learning_rate(layer, "conv.weight") == pytest.approx(expected, rel=1e-6)
    assert auto_learning_rate(layer, "norm.weight") == pytest.approx(AUTO_FACTOR / 16)


def test_scaling_the_weights_scales_the_rate() -> None:
    layer = Layer()
    before = auto_learning_rate(layer, "linear.weight")
    with torch.no_grad():
        layer.linear.weight.mul_(10)
    assert auto_learning_rate(layer, "linear.weight") == pytest.approx(10 * before, rel=1e-6)
