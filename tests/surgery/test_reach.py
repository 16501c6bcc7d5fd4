"""How far trained MLPs can push, in families with a norm behind them and without."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.reach import reachable_length
from srmu.surgery.truncate import TruncatedModel, load_truncated

DOWN, GAIN = "mlp.down_proj.weight", "post_feedforward_layernorm.weight"
SavedFamily = Callable[..., Path]
POST_NORM = ("gemma2", "gemma3", "olmo2")


def load(saved_family: SavedFamily, name: str) -> TruncatedModel:
    return load_truncated(open_checkpoint(saved_family(name)), 4, dtype=torch.float64, device=torch.device("cpu"))


@pytest.mark.parametrize("name", POST_NORM)
def test_no_matrices_push_further_than_the_gains_are_long(name: str, saved_family: SavedFamily) -> None:
    truncated = load(saved_family, name)
    layer = truncated.layers[3]
    bound = reachable_length(truncated, {3: [DOWN]})
    assert bound is not None
    gain = layer.get_parameter(GAIN)
    features = len(gain)
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(256, features, dtype=torch.float64, generator=generator) * 1e3
    with torch.no_grad():
        lengths = layer.get_submodule("post_feedforward_layernorm")(outputs).norm(dim=-1)
    # Random outputs are as long as the gain on average; whatever their own length was.
    assert float(lengths.square().mean().sqrt()) == pytest.approx(bound, rel=0.05)


def test_layers_add_up(saved_family: SavedFamily) -> None:
    truncated = load(saved_family, "gemma3")
    each = [reachable_length(truncated, {layer: [DOWN]}) or 0.0 for layer in (1, 2, 3)]
    assert reachable_length(truncated, {layer: [DOWN] for layer in (1, 2, 3)}) == pytest.approx(sum(each))


@pytest.mark.parametrize(("name", "trained"), [("llama", [DOWN]), ("gemma3", [DOWN, GAIN])])
def test_nothing_bounds_a_family_without_that_norm_or_a_gain_that_is_trained(
    name: str, trained: list[str], saved_family: SavedFamily
) -> None:
    assert reachable_length(load(saved_family, name), {3: trained}) is None
