"""Whether the first layers, loaded by themselves, compute what they compute within the whole model."""

from typing import Any

import torch
from torch import Tensor

from srmu.errors import InputError
from srmu.surgery.layers import find_decoder_layers
from srmu.surgery.model_class import first_line
from srmu.surgery.taps import close, tapped_outputs, the_only
from srmu.surgery.truncate import TruncatedModel

_PROBE_TOKENS = 8


@torch.no_grad()
def whole_stream(model: Any, layer_id: int) -> Tensor:
    """The residual stream after a layer of a whole model, for a few tokens, `[1, seq, hidden]`, on the CPU.

    Raises:
        InputError: If the model wants more than text.
    """
    layers = find_decoder_layers(model, model.config.get_text_config(decoder=True).num_hidden_layers)[1]
    try:
        with tapped_outputs({"layer": layers[layer_id]}) as outputs:
            model(input_ids=_probe(model, model.device), use_cache=False)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise InputError(
            f"A {model.config.model_type!r} model does not take text alone ({first_line(error)}). Use a model of "
            "another family."
        ) from None
    return the_only(outputs["layer"]).cpu()


@torch.no_grad()
def check_agreement(truncated: TruncatedModel, stream: Tensor) -> None:
    """Compare the loaded layers with the whole model, which may scale embeddings or mask tokens around its decoder.

    Args:
        truncated: The first layers.
        stream: Of the whole model after the last of them, from `whole_stream`.

    Raises:
        InputError: If they cannot be run, or differ by more than rounding.
    """
    device = next(truncated.inner.parameters()).device
    try:
        with tapped_outputs({"layer": truncated.layers[-1]}) as outputs:
            truncated.inner(input_ids=_probe(truncated.inner, device), use_cache=False)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        # Hybrid families look for an attention layer, which may lie above those that were loaded.
        raise InputError(
            f"Layers 0 to {len(truncated.layers) - 1} of a {truncated.family!r} model cannot be run by themselves "
            f"({first_line(error)}). Choose a higher --layer, or a model of another family."
        ) from None
    if not close(the_only(outputs["layer"]).cpu(), stream):
        raise InputError(
            f"The first layers of a {truncated.family!r} model compute something else within the whole model than by "
            "themselves, so srmu cannot train this family. Use a model of another family."
        )


def _probe(model: Any, device: Any) -> Tensor:
    rows = next(model.get_input_embeddings().parameters()).shape[0]
    return torch.arange(min(_PROBE_TOKENS, rows), device=device).unsqueeze(0)
