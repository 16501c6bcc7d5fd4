"""The first layers must compute by themselves what they compute within the whole model."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from families import TAPPED_LAYER
from srmu.errors import InputError
from srmu.evaluation.loading import load_causal_lm
from srmu.surgery.agreement import check_agreement, whole_stream
from tiny_runs import load_tiny


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3_nested"])
def test_the_first_layers_agree_with_the_whole_model(name: str, saved_family: Callable[..., Path]) -> None:
    model = load_causal_lm(saved_family(name), dtype="float32")
    stream = whole_stream(model, TAPPED_LAYER)
    assert stream.shape[:2] == (1, 8)
    check_agreement(load_tiny(saved_family(name)), stream)


def test_a_whole_model_that_scales_its_embeddings_is_refused(saved_family: Callable[..., Path]) -> None:
    model = load_causal_lm(saved_family("llama"), dtype="float32")
    with torch.no_grad():
        model.get_input_embeddings().weight.mul_(1.5)
    with pytest.raises(InputError, match="compute something else within the whole model"):
        check_agreement(load_tiny(saved_family("llama")), whole_stream(model, TAPPED_LAYER))
