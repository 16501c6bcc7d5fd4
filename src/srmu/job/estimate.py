"""What a run will cost, from operations and bytes and this machine's measured rate."""

import time
import typing
from collections.abc import Sequence
from typing import Literal

import torch
from torch import nn

from srmu.inputs.corpora import Corpus
from srmu.job.plan import Plan
from srmu.job.stages import stages
from srmu.runtime.memory import GIB, fits
from srmu.runtime.processes import largest, world_size
from srmu.solver.frozen import tokens_a_batch
from srmu.solver.stopping import LIKELY_STEPS, given_steps
from srmu.surgery.truncate import Skeleton, build_skeleton
from srmu.surgery.whole_model import measuring_bytes, must_stream

PrefixPlace = Literal["memory", "ranks", "disk"]
PROCESS_MB = 350
"""What a process holds with Python, torch and Transformers alone; measured with their CPU builds on Linux."""


def estimate(plan: Plan) -> dict[str, float]:
    """Seconds and memory of the training, memory of measuring before and after, and disk space of the run directory.

    A step costs two operations per weight and token for the frozen layers and the replay, and two more for each
    gradient that the replay needs. Attention's own products are left out: they are small at the usual row lengths.

    Returns:
        `training_seconds`, `training_mb`, `measuring_mb`, `disk_mb`. Memory is that of the whole process on a CPU, and
        what is allocated on an accelerator.
    """
    config = plan.config
    process = PROCESS_MB if plan.device.type == "cpu" else 0
    whole_from_disk = must_stream(plan.checkpoint, plan.device, plan.dtype, config.model.memory_gb)
    measuring = measuring_bytes(plan.checkpoint, plan.device, plan.dtype, streamed=whole_from_disk)
    skeleton = build_skeleton(plan.checkpoint, plan.depth, trust_remote_code=config.model.trust_remote_code)
    experts = getattr(skeleton.config, "num_experts_per_tok", None)
    per_layer = [_active_weights(layer, experts) for layer in skeleton.layers]
    tokens = _tokens_a_step(plan)
    operations = tokens * 2.0 * plan.num_trained
    for stage in stages(plan):
        first, run = min(stage.parameter_names), per_layer[: stage.depth]
        operations += tokens * 2.0 * (sum(run) + sum(run[first:]) + sum(run[first + 1 :]))
    place = _own_prefix_place(plan, skeleton)
    cache = cache_limit_gb(plan, place) * GIB
    # Entry and output of every row that is read, at most.
    steps = given_steps(config.training) or LIKELY_STEPS
    kept = steps * tokens * 2 * skeleton.config.hidden_size * plan.dtype.itemsize
    return {
        "training_seconds": steps * operations / _operations_a_second(plan),
        "training_mb": process + (_training_bytes(plan, skeleton, tokens, place) + min(cache, kept)) / 1e6,
        "measuring_mb": process + measuring / 1e6,
        "disk_mb": plan.disk_bytes / 1e6,
    }


def prefix_place(plan: Plan) -> PrefixPlace:
    """Where the layers below the trained ones are while a run trains.

    In memory where they fit; else divided over processes if there are several, and else on disk. All processes must
    agree: the one with least memory decides.
    """
    skeleton = build_skeleton(plan.checkpoint, plan.depth, trust_remote_code=plan.config.model.trust_remote_code)
    own = _own_prefix_place(plan, skeleton)
    places = typing.get_args(PrefixPlace)
    agreed: PrefixPlace = places[largest(places.index(own))]
    return agreed


def _own_prefix_place(plan: Plan, skeleton: Skeleton) -> PrefixPlace:
    """What this process would choose by itself."""
    if not min(plan.parameter_names):
        return "memory"
    needed = _training_bytes(plan, skeleton, _tokens_a_step(plan), "memory")
    too_large = not fits(needed, plan.device, plan.config.model.memory_gb)
    if world_size() > 1:
        return "ranks" if too_large or plan.config.model.shard else "memory"
    return "disk" if too_large else "memory"


def _training_bytes(plan: Plan, skeleton: Skeleton, tokens: float, place: PrefixPlace) -> float:
    """What the training allocates beside kept frozen activations: weights, masters, activations."""
    config, first, size = plan.config, min(plan.parameter_names), plan.dtype.itemsize
    layers = [size * sum(parameter.numel() for parameter in layer.parameters()) for layer in skeleton.layers]
    stack = float(size * sum(parameter.numel() for parameter in skeleton.inner.parameters()))
    if place != "memory":
        # One layer at a time, as it is stored and as it computes.
        held = {"disk": 0.0, "ranks": sum(layers[:first]) / world_size()}[place]
        stack += held - sum(layers[:first]) + 2 * max(layers[:first], default=0)
    # Masters, their gradients and AdamW's two moments, all float32; the weights in the compute dtype, their gradients.
    trained = plan.num_trained * (16 + 2 * size)
    width = max(parameter.shape[-1] for parameter in skeleton.layers[-1].parameters() if parameter.dim() >= 2)
    at_once = plan.batch_tokens or tokens_a_batch(plan.device)
    at_once = round(min(tokens, max(at_once, config.data.max_length)))
    activations = at_once * (8 * skeleton.config.hidden_size + 6 * width) * (len(layers) - first) * size
    return float(stack + trained + activations)


def cache_limit_gb(plan: Plan, place: PrefixPlace) -> float:
    """What frozen activations may take: `cache_gb`, or what a limit of the memory leaves of it.

    It depends on the settings alone, never on what happens to be free: a resumed run must keep the same rows.
    """
    config = plan.config
    if config.model.memory_gb == "auto":
        return config.training.cache_gb
    skeleton = build_skeleton(plan.checkpoint, plan.depth, trust_remote_code=config.model.trust_remote_code)
    left = config.model.memory_gb * GIB - _training_bytes(plan, skeleton, _tokens_a_step(plan), place)
    return min(config.training.cache_gb, max(0.0, left / GIB))


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
    """Mean tokens per step, judged from the first documents of each side."""

    def mean(corpora: Sequence[Corpus]) -> float:
        lengths = []
        for corpus in corpora:
            texts = [document.as_text() for document in corpus.documents[:64]]
            tokens = sum(len(plan.tokenizer(text, verbose=False)["input_ids"]) for text in texts) / len(texts)
            lengths.append(min(tokens, plan.config.data.max_length))
        return sum(lengths) / len(lengths) if lengths else min(64, plan.config.data.max_length)

    topic, training = plan.topics[0], plan.config.training
    return training.forget_batch_size * mean([topic.forget]) + training.retain_batch_size * mean(topic.retain)


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
