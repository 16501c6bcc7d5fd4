"""Hidden states at the last token of prompts, layer by layer, and forward passes with a direction taken out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from srmu.evaluation.encoding import encode
from srmu.evaluation.logits import batch_token_limit, logits_at
from srmu.surgery.layers import find_decoder_layers
from srmu.surgery.taps import hidden_of

_BATCH_TOKENS = 2048


def last_hidden_states(model: Any, tokenizer: Any, texts: Sequence[str]) -> Float[Tensor, "layers texts hidden"]:
    """Residual stream after every decoder layer at each text's last token, float32 on the CPU.

    The last layer is taken before the final norm, like all others.
    """
    layers = decoder_layers(model)
    rows = [encode(tokenizer, text) for text in texts]
    found = torch.zeros((len(layers), len(rows), model.config.get_text_config(decoder=True).hidden_size))
    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    limit = batch_token_limit(model, _BATCH_TOKENS)
    while order:
        # Rows of like length, the longest last: it decides how many fit.
        size = max(1, min(len(order), limit // max(1, len(rows[order[-1]]))))
        numbers, order = order[-size:], order[:-size]
        _fill(model, layers, rows, numbers, found)
    return found


def decoder_layers(model: Any) -> Any:
    """The decoder layers, in order."""
    return find_decoder_layers(model, model.config.get_text_config(decoder=True).num_hidden_layers)[1]


def spread_layers(num_layers: int, count: int) -> list[int]:
    """Layers to try: from the first to the last but one, at equal distances, each once."""
    return sorted({round(place * (num_layers - 2) / (count - 1)) for place in range(count)})


def _fill(model: Any, layers: Any, rows: Sequence[list[int]], numbers: Sequence[int], found: Tensor) -> None:
    lengths = torch.tensor([len(rows[number]) for number in numbers])
    width = int(lengths.max())
    token_ids = torch.tensor([rows[number] + [0] * (width - len(rows[number])) for number in numbers])
    mask = (torch.arange(width) < lengths[:, None]).long()
    at = torch.arange(len(numbers))

    def keep(layer_id: int) -> Any:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            found[layer_id, torch.tensor(numbers)] = hidden_of(output)[at, lengths - 1].float().cpu()

        return hook

    handles = [layer.register_forward_hook(keep(layer_id)) for layer_id, layer in enumerate(layers)]
    try:
        inputs = {"input_ids": token_ids.to(model.device), "attention_mask": mask.to(model.device)}
        # Asked to keep few logits, Gemma 4 runs its last layers at those positions alone.
        logits_at(model, inputs, torch.zeros(1, dtype=torch.long, device=model.device))
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def without_directions(model: Any, directions: Float[Tensor, "count hidden"]) -> Iterator[None]:
    """Take the span of these directions out of the residual stream after every decoder layer.

    Args:
        model: Its forward is changed while the context lasts.
        directions: Orthonormal rows.
    """

    def remove(hidden: Tensor) -> Tensor:
        basis = directions.to(hidden.device, hidden.dtype)
        return hidden - (hidden @ basis.T) @ basis

    with _changed(list(decoder_layers(model)), remove):
        yield


@contextmanager
def with_added(model: Any, layer_id: int, vector: Float[Tensor, " hidden"]) -> Iterator[None]:
    """Add a vector to the residual stream after one decoder layer, at every token.

    Args:
        model: Its forward is changed while the context lasts.
        layer_id: From 0.
        vector: Any float dtype.
    """
    with _changed([decoder_layers(model)[layer_id]], lambda hidden: hidden + vector.to(hidden.device, hidden.dtype)):
        yield


@contextmanager
def _changed(layers: Sequence[Any], change: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Change what these layers give while the context lasts."""

    def hook(module: Any, arguments: Any, output: Any) -> Any:
        if isinstance(output, (tuple, list)):
            return type(output)((change(output[0]), *output[1:]))
        return change(output)

    handles = [layer.register_forward_hook(hook) for layer in layers]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
