"""The unlearning depth score, UDS (Lee, Kim and Jo, arXiv 2605.24614): is an answer still in the hidden states?

Hidden states of another model take the place of the full model's, one layer at a time, where it is about to say the
answer. Those of the retrained model take away what was learned from the forget set; those of a model that forgot should
take away as much. Two models are never in memory together: states wait on the CPU.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from srmu.errors import InputError
from srmu.evaluation.logits import batch_token_limit, logits_at
from srmu.evaluation.texts import batches_by_length
from srmu.inputs.generation import max_positions
from srmu.runtime.processes import joined, own_part
from srmu.runtime.progress import Reporter
from srmu.surgery.layers import find_decoder_layers
from srmu.surgery.taps import hidden_of, tapped_outputs

ENCODING_THRESHOLD = 0.05
"""Nats per token that a layer must take away under the retrained model's states to count (tau in the paper)."""
_BATCH_TOKENS = 2048

SpanStates = list[Float[Tensor, "layers tokens hidden"]]
"""Of each batch of this process: residual stream after every layer where span tokens are predicted, on the CPU."""


@dataclass(frozen=True)
class Span:
    """A text and the part of it that is measured.

    Attributes:
        token_ids: From the prompt to the end of the part, at least.
        first: Place of the part's first token, at least 1.
        last: Behind its last token.
    """

    token_ids: tuple[int, ...]
    first: int
    last: int


def depth_scores(
    full: Float[np.ndarray, " spans"],
    gold: Float[np.ndarray, "layers spans"],
    result: Float[np.ndarray, "layers spans"],
) -> Float[np.ndarray, " spans"]:
    """UDS of each span (arXiv 2605.24614, section 3: the two stages and their aggregation).

    With `d1 = full - gold` and `d2 = full - result`, over the layers whose `d1` is above 0.05: the mean of
    `clip(d2 / d1, 0, 1)`, weighted by `d1`.

    Args:
        full: Mean log-probability of the span's tokens under the full model, nats per token.
        gold: The same with the retrained model's states in one layer after another.
        result: The same with those of the model that was made to forget.

    Returns:
        0 (all is still there) to 1 (as much is gone as the retrained model never had); nan where no layer counts.
    """
    lost_in_gold, lost_in_result = full - gold.astype(np.float64), full - result.astype(np.float64)
    weights = np.where(lost_in_gold > ENCODING_THRESHOLD, lost_in_gold, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        erased = np.clip(lost_in_result / lost_in_gold, 0, 1)
        return np.asarray(np.where(weights > 0, weights * erased, 0.0).sum(axis=0) / weights.sum(axis=0))


def span_states(model: PreTrainedModel, spans: Sequence[Span], *, title: str, reporter: Reporter) -> SpanStates:
    """The states of a model where the tokens of the spans are predicted.

    The last layer's are taken before the final norm, like all others; the authors' code takes them behind it.
    """
    layers = _decoder_layers(model)
    found = []
    batches = _batches(model, spans)
    with reporter.task(title) as progress:
        for done, numbers in enumerate(batches, 1):
            rows = [spans[number] for number in numbers]
            positions = _positions(rows)
            with tapped_outputs(layers) as outputs:
                logits_at(model, _inputs(model, rows), positions[:1].to(model.device))
            kept = [outputs[layer][0].flatten(0, 1)[positions.to(outputs[layer][0].device)].cpu() for layer in layers]
            found.append(torch.stack(kept))
            progress(done, len(batches))
    return found


def span_log_probabilities(
    model: PreTrainedModel, spans: Sequence[Span], states: SpanStates | None, *, title: str, reporter: Reporter
) -> Float[np.ndarray, "layers spans"]:
    """Mean log-probability of each span's tokens, with other states in one layer after another.

    Args:
        model: The full model.
        spans: As `states` were made of.
        states: Of another model of the same shape; None = nothing is replaced, and there is one row.
        title: Of the progress.
        reporter: Hears of it.

    Returns:
        Float64, nats per token.

    Raises:
        InputError: The states are of a model of another shape.
    """
    layers = _decoder_layers(model)
    if states and (shape := (len(layers), model.config.get_text_config().hidden_size)) != states[0].shape[::2]:
        raise InputError(
            f"Hidden states of {states[0].shape[0]} layers of {states[0].shape[2]} features cannot stand in a model of "
            f"{shape[0]} layers of {shape[1]}. Give models of one shape: the base, its result, and one retrained."
        )
    found = np.zeros((1 if states is None else len(layers), len(spans)))
    batches = _batches(model, spans)
    with reporter.task(title) as progress:
        for done, numbers in enumerate(batches):
            rows = [spans[number] for number in numbers]
            for layer in range(len(found)):
                values = None if states is None else states[done][layer]
                found[layer, numbers] = _score(model, layers[layer], rows, values)
                progress(done * len(found) + layer + 1, len(batches) * len(found))
    return np.asarray(joined(found), dtype=np.float64)


def _score(model: PreTrainedModel, layer: Any, rows: Sequence[Span], values: Tensor | None) -> list[float]:
    positions = _positions(rows)
    with _replaced(layer, positions, values):
        logits = logits_at(model, _inputs(model, rows), positions.to(model.device))
    targets = torch.tensor([token for row in rows for token in row.token_ids[row.first : row.last]])
    chosen = logits.gather(-1, targets.to(logits.device)[:, None]).squeeze(-1)
    log_probabilities = (chosen - logits.logsumexp(-1)).double().cpu()
    return [float(part.mean()) for part in log_probabilities.split([row.last - row.first for row in rows])]


@contextmanager
def _replaced(layer: Any, positions: Tensor, values: Tensor | None) -> Iterator[None]:
    """Put other hidden states in the place of a layer's own while the context lasts."""

    def hook(module: Any, arguments: Any, output: Any) -> Any:
        hidden = hidden_of(output).clone()
        assert values is not None
        hidden.flatten(0, 1)[positions.to(hidden.device)] = values.to(hidden.device, hidden.dtype)
        return (hidden, *output[1:]) if isinstance(output, tuple) else hidden

    if values is None:
        yield
        return
    handle = layer.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _decoder_layers(model: PreTrainedModel) -> dict[int, Any]:
    found = find_decoder_layers(model, model.config.get_text_config().num_hidden_layers)[1]
    return dict(enumerate(found))


def _batches(model: PreTrainedModel, spans: Sequence[Span]) -> list[list[int]]:
    """Numbers of spans of like length; the same for all models of one shape, so that states find their places."""
    lengths = [len(row.token_ids) - 1 for row in spans]
    assert max(lengths) <= max_positions(model)
    return own_part(batches_by_length(lengths, batch_token_limit(model, _BATCH_TOKENS)))


def _inputs(model: PreTrainedModel, rows: Sequence[Span]) -> dict[str, Any]:
    """Right-padded; the last token of a text predicts nothing and is not run."""
    width = max(len(row.token_ids) for row in rows) - 1
    ids = torch.tensor([[*row.token_ids[:-1], *[0] * (width + 1 - len(row.token_ids))] for row in rows])
    mask = torch.tensor([[1] * (len(row.token_ids) - 1) + [0] * (width + 1 - len(row.token_ids)) for row in rows])
    return {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}


def _positions(rows: Sequence[Span]) -> Tensor:
    """Where the tokens of the spans are predicted, in the flattened batch."""
    width = max(len(row.token_ids) for row in rows) - 1
    places = [number * width + place - 1 for number, row in enumerate(rows) for place in range(row.first, row.last)]
    return torch.tensor(places)
