"""A plain loop that fine-tunes a whole model, or LoRA adapters in it, on short texts."""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from srmu.evaluation.attacks.outcome import Skipped
from srmu.evaluation.encoding import encode
from srmu.runtime.precision import mixed_precision

T = TypeVar("T")
BATCH_ROWS = 8
LORA_RANK = 16
STATE_SPACE = ("mamba", "mamba2", "falcon_mamba", "falcon_h1", "nemotron_h")
"""Model types of which PEFT refuses `out_proj`: their fused kernels read its weight past an adapter."""
_EXPERTS_DIM = 3
"""Axes of a tensor that holds the weights of all experts of a layer."""
LORA_RATE_FACTOR = 10.0
"""LoRA learns best at about ten times the learning rate of full fine-tuning (Schulman 2025, "LoRA Without Regret", read
in summaries: fifteen times in very short runs)."""


def fine_tune(
    model: Any,
    tokenizer: Any,
    texts: Sequence[str],
    *,
    tuning: str,
    learning_rate: float,
    stops: Sequence[int],
    seed: int,
    at_stop: Callable[[int], bool],
) -> int | None:
    """Minimise the loss of every token with AdamW at a constant rate, in place.

    Args:
        model: In eval mode, float32 (its products may be bfloat16); it stays in eval mode, so there is no dropout.
        tokenizer: Encodes the texts with its own special tokens.
        texts: Each is a row; batches of `BATCH_ROWS`, every text once before any comes again.
        tuning: `full`, or `lora`: rank-16 adapters on all linear layers.
        learning_rate: Of full fine-tuning; LoRA takes ten times as much.
        stops: Steps, ascending, after which `at_stop` is called with the step.
        seed: Draws the order of the texts and the adapters.
        at_stop: Looks at the model; false ends the loop.

    Returns:
        The step at which the loss was not finite, or `at_stop` ended the loop; none if it went to its end.
    """
    rows = [encode(tokenizer, text) for text in texts]
    rows = [row for row in rows if len(row) > 1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        parameters = _add_adapters(model) if tuning == "lora" else _all_parameters(model)
    rate = learning_rate * (LORA_RATE_FACTOR if tuning == "lora" else 1.0)
    optimizer = torch.optim.AdamW(parameters, lr=rate, weight_decay=0.0, fused=True)
    batches = endless_batches(rows, seed)
    for step in range(1, stops[-1] + 1):
        with mixed_precision(model.device):
            loss = _loss(model, next(batches))
        if not math.isfinite(loss.item()):
            return step
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step in stops and not at_stop(step):
            return step
    return None


def _all_parameters(model: Any) -> list[Tensor]:
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    return list(model.parameters())


def _add_adapters(model: Any) -> list[Tensor]:
    """Put LoRA adapters on all matrices of the model itself, those of fused experts too; only they are trained."""
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise Skipped("LoRA needs the package peft: pip install 'srmu[attack]'") from None
    from transformers.pytorch_utils import Conv1D

    experts = {
        name.partition(".experts.")[2]
        for name, parameter in model.named_parameters()
        if parameter.dim() == _EXPERTS_DIM
    } - {""}
    config = LoraConfig(
        r=LORA_RANK,
        lora_alpha=2 * LORA_RANK,
        lora_dropout=0.0,
        target_modules="all-linear",
        exclude_modules=["out_proj"] if model.config.model_type in STATE_SPACE else None,
        target_parameters=[f"experts.{name}" for name in sorted(experts)] or None,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    with warnings.catch_warnings():
        # Of ranks that Transformers adds for experts that are split as modules.
        warnings.filterwarnings("ignore", message=".*_pattern keys did not match", category=RuntimeWarning)
        inject_adapter_in_model(config, model)
    trained = []
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)
        if parameter.requires_grad:
            trained.append(parameter)
    return trained


def _loss(model: Any, rows: Sequence[Sequence[int]]) -> Tensor:
    """Mean nats over the predicted tokens."""
    width = max(map(len, rows))
    token_ids = torch.zeros((len(rows), width), dtype=torch.long)
    mask = torch.zeros_like(token_ids)
    for place, row in enumerate(rows):
        token_ids[place, : len(row)] = torch.tensor(row)
        mask[place, : len(row)] = 1
    token_ids, mask = token_ids.to(model.device), mask.to(model.device)
    # No mask of attention: padding comes after all that counts, where nothing sees it.
    logits = model(input_ids=token_ids, use_cache=False).logits[:, :-1]
    targets = token_ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    return cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def endless_batches(rows: Sequence[T], seed: int, size: int = BATCH_ROWS) -> Iterator[list[T]]:
    """Batches of `size`, every row once before any comes again, in an order that the seed draws."""
    generator = torch.Generator().manual_seed(seed)
    batch: list[T] = []
    while True:
        for place in torch.randperm(len(rows), generator=generator).tolist():
            batch.append(rows[place])
            if len(batch) == min(size, len(rows)):
                yield batch
                batch = []
