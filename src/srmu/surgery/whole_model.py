"""Whether a whole model fits into memory, or must be read layer by layer from disk, and what it then takes."""

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import Any, Literal

import torch

from srmu.runtime.memory import fits
from srmu.surgery.checkpoint import Checkpoint
from srmu.surgery.streaming import is_streamed

MemoryLimit = float | Literal["auto"]
# Logits of a batch and what is made of them, and activations; see the limits in evaluation/logits.py. On a CPU the most
# that was measured (docs/background/performance.md), where layers are on disk and batches are largest; in memory it
# can be half.
CPU_WORK, ACCELERATOR_WORK = 1.15e9, 3.0e9
# Keys and values of rows that are continued together.
CACHE_BYTES = 2e9
_LAYER = re.compile(r"(?:^|\.)(\d+)\.")


@dataclass(frozen=True)
class WeightSizes:
    """Bytes of a checkpoint's weights in a compute dtype.

    Attributes:
        whole: All.
        outside: Of what is in no decoder layer: embedding, norms, head.
        largest_layer: Of one decoder layer.
    """

    whole: float
    outside: float
    largest_layer: float


def weight_sizes(checkpoint: Checkpoint, dtype: torch.dtype) -> WeightSizes:
    """Sizes from the headers of the files; what has a number in its name belongs to the layer of that number."""
    layers: dict[str, float] = defaultdict(float)
    for tensor in checkpoint.tensors.values():
        found = _LAYER.search(tensor.name)
        layers[found.group(1) if found else ""] += torch.Size(tensor.shape).numel() * dtype.itemsize
    outside = layers.pop("", 0.0)
    return WeightSizes(sum(layers.values()) + outside, outside, max(layers.values(), default=0.0))


def measuring_bytes(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, *, streamed: bool) -> float:
    """Most that a whole model takes while it is measured, beside the process itself."""
    sizes = weight_sizes(checkpoint, dtype)
    work = CPU_WORK if device.type == "cpu" else ACCELERATOR_WORK
    return work + (sizes.outside + 2 * sizes.largest_layer if streamed else sizes.whole)


def must_stream(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype, memory_gb: MemoryLimit) -> bool:
    """Whether the whole model does not fit into memory.

    Args:
        checkpoint: Of the model.
        device: Where it computes.
        dtype: Compute dtype.
        memory_gb: GiB that it may take, or `auto` for what the device has free.
    """
    return not fits(measuring_bytes(checkpoint, device, dtype, streamed=False), device, memory_gb)


def rows_at_once(model: Any, tokens: int, usual: int) -> int:
    """Rows to continue together: `usual`, or as many as there is room for where each token costs a sweep over the disk.

    Args:
        model: The whole model.
        tokens: Of a row in the end.
        usual: Where the model is in memory.
    """
    if not is_streamed(model):
        return usual
    config = model.config.get_text_config(decoder=True)
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    a_row = 2 * config.num_hidden_layers * heads * width * tokens * model.dtype.itemsize
    return max(1, min(16 * usual, int(CACHE_BYTES // a_row)))
