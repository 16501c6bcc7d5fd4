"""What a run will cost, from operations and bytes and this machine's measured rate."""

import time
from typing import Any

import torch
from torch import nn

from srmu.plan import Plan, TopicTexts
from srmu.surgery.truncate import build_skeleton

PROCESS_MB = 350
"""What a process holds with Python, torch and Transformers alone; measured with their CPU builds on Linux."""


def estimate(plan: Plan) -> dict[str, float]:
    """Seconds and memory of the training, and disk space of the run directory.

    A step costs two operations a weight and token for the frozen layers and the replay, and two more for each gradient
    that the replay needs. Attention's own products are left out: they are small at the row lengths of this work.

    Returns:
        `training_seconds`, `training_mb`, `disk_mb`.
    """
    config = plan.config
    skeleton = build_skeleton(plan.checkpoint, plan.layer_id + 1, trust_remote_code=config.trust_remote_code)
    experts = getattr(skeleton.config, "num_experts_per_tok", None)
    per_layer = [_active_weights(layer, experts) for layer in skeleton.layers]
    first = min(plan.parameter_names)
    tokens = _tokens_a_step(plan)
    frozen, replayed = 2.0 * sum(per_layer), 2.0 * sum(per_layer[first:])
    through = 2.0 * sum(per_layer[first + 1 :])
    operations = tokens * (frozen + replayed + through + 2.0 * plan.num_trained)
    weight_bytes = torch.empty(0, dtype=plan.dtype).element_size()
    stack = sum(parameter.numel() for parameter in skeleton.inner.parameters()) * weight_bytes
    # Masters, their gradients and AdamW's two moments, all float32; and the weights in the compute dtype.
    trained = plan.num_trained * (16 + weight_bytes)
    width = max(parameter.shape[-1] for parameter in skeleton.layers[-1].parameters() if parameter.dim() >= 2)
    activations = tokens * (8 * skeleton.config.hidden_size + 6 * width) * (len(per_layer) - first) * weight_bytes
    # Entry and output of every row that is read, at most.
    kept = config.steps * tokens * 2 * skeleton.config.hidden_size * weight_bytes
    return {
        "training_seconds": config.steps * operations / _operations_a_second(plan),
        "training_mb": PROCESS_MB + (stack + trained + activations + min(config.cache_gb * 2**30, kept)) / 1e6,
        "disk_mb": plan.disk_bytes / 1e6,
    }


def _active_weights(layer: nn.Module, experts_a_token: int | None) -> float:
    """Weights of a layer that one token meets; of experts, those it is routed to."""
    total = 0.0
    for module in layer.modules():
        for name, parameter in module.named_parameters(recurse=False):
            share = 1.0
            if parameter.dim() == 3:
                share = (experts_a_token or parameter.shape[0]) / parameter.shape[0]
            total += parameter.numel() * share if parameter.dim() >= 2 or name == "weight" else 0
    return total


def _tokens_a_step(plan: Plan) -> float:
    """Mean tokens a step, judged from the first documents of each side."""

    def mean(corpora: list[Any]) -> float:
        lengths = []
        for corpus in corpora:
            texts = [document.as_text() for document in corpus.documents[:64]]
            tokens = sum(len(plan.tokenizer(text, verbose=False)["input_ids"]) for text in texts) / len(texts)
            lengths.append(min(tokens, plan.config.row_tokens))
        return sum(lengths) / len(lengths) if lengths else min(64, plan.config.row_tokens)

    topic: TopicTexts = plan.topics[0]
    return plan.config.forget_rows * mean([topic.forget]) + plan.config.retain_rows * mean(list(topic.retain))


def _operations_a_second(plan: Plan) -> float:
    """Measured on a product of the shape that training has; a tenth of a second."""
    inputs = torch.randn(512, 1024, device=plan.device, dtype=plan.dtype)
    weights = torch.randn(1024, 1024, device=plan.device, dtype=plan.dtype)
    inputs @ weights
    repeats, started = 0, time.perf_counter()
    while time.perf_counter() - started < 0.1:
        (inputs @ weights).sum().item()
        repeats += 1
    return repeats * 2 * 512 * 1024 * 1024 / (time.perf_counter() - started)
