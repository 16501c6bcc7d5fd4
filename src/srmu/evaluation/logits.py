"""Vocabulary logits at chosen positions only: in a small model they cost more than all layers together."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from srmu.errors import InputError
from srmu.surgery.streaming import is_streamed

# Float32 logits that may exist at once: 256 MiB beside a CPU's weights, 1 GiB on an accelerator.
_CPU_LOGITS, _ACCELERATOR_LOGITS = 2**26, 2**28
# Rows of logits that fit into a CPU core's cache; an accelerator has none to fill.
_CPU_ROWS, _ACCELERATOR_ROWS = 16, 1024


def logits_at(
    model: PreTrainedModel, inputs: dict[str, Any], positions: Int[Tensor, " kept"]
) -> Float[Tensor, "kept vocab"]:
    """Run the model's own forward, but its vocabulary head at some positions only.

    The hidden states are picked where they enter the head, so whatever the model does after it (soft-capping, scaling)
    still happens.

    Args:
        model: In eval mode.
        inputs: Arguments of its forward; `input_ids` is `[batch, seq]`.
        positions: Positions in the flattened `[batch * seq]`.

    Returns:
        Logits, `[kept, vocab]`, in the dtype in which the model computes, on the device of `positions`.
    """
    check_token_ids(model, inputs["input_ids"])
    with torch.inference_mode(), _head_restricted(model, positions):
        logits = model(**inputs, use_cache=False).logits
    kept = logits.flatten(0, 1).to(positions.device)
    # A model without a head module gives all positions.
    return kept if kept.shape[0] == len(positions) else kept[positions]


def reduce_rows(logits: Float[Tensor, "kept vocab"], *reductions: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """What each reduction makes of float32 rows of logits, a few rows at a time: copies of all of them cost more.

    Args:
        logits: In any float dtype.
        reductions: Each makes one value of every row.
    """
    at_once = _CPU_ROWS if logits.device.type == "cpu" else _ACCELERATOR_ROWS
    parts = [[reduction(part.float()) for reduction in reductions] for part in logits.split(at_once)]
    return [torch.cat(values) for values in zip(*parts, strict=True)]


def check_token_ids(model: PreTrainedModel, token_ids: Tensor) -> None:
    """Refuse tokens that the model has no embedding for; some tokenizers have a few more than the model.

    Raises:
        InputError: With the token's id.
    """
    embedding = model.get_input_embeddings()
    if not isinstance(embedding, nn.Embedding):  # a soft prompt gives its vectors ids of their own
        return
    rows = embedding.weight.shape[0]
    if (largest := int(token_ids.max())) >= rows:
        raise InputError(
            f"A text has the token {largest}, and the model has embeddings for ids up to {rows - 1}. Take that text "
            "out, or use the tokenizer that came with the model."
        )


def batch_token_limit(model: PreTrainedModel, batch_tokens: int) -> int:
    """`batch_tokens`, or fewer where their logits would take too much memory; of a streamed model, as many as fit."""
    budget = _CPU_LOGITS if model.device.type == "cpu" else _ACCELERATOR_LOGITS
    most = max(1, budget // model.config.get_text_config(decoder=True).vocab_size)
    # Where every pass reads all layers from disk, passes are few and large.
    return most if is_streamed(model) else min(batch_tokens, most)


@contextmanager
def _head_restricted(model: PreTrainedModel, positions: Tensor) -> Iterator[None]:
    head = model.get_output_embeddings()
    if not isinstance(head, nn.Module):
        yield
        return

    def keep(module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        hidden, *rest = arguments
        # Of a model that is spread over devices, the head may lie on another one than the input.
        return (hidden.flatten(0, 1)[positions.to(hidden.device)].unsqueeze(0), *rest)

    handle = head.register_forward_pre_hook(keep)
    try:
        yield
    finally:
        handle.remove()
