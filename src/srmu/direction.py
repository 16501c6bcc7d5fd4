"""Misdirection vectors, drawn on the CPU in float32 so that a seed means the same on all hardware."""

import torch
from torch import Tensor

from srmu.config import Method, Misdirection


def unit_direction(hidden_size: int, generator: torch.Generator) -> Tensor:
    """RMU's u: uniform in [0, 1), scaled to length 1; `[hidden]` float32."""
    direction = torch.rand(hidden_size, generator=generator)
    return direction / direction.norm()


def misdirection_vector(hidden_size: int, kind: Misdirection, generator: torch.Generator) -> Tensor:
    """SRMU's V, `[hidden]` float32: random signs, all plus, all minus, or uniform in [0, 1) (the paper's ablation)."""
    if kind == "plus":
        return torch.ones(hidden_size)
    if kind == "minus":
        return -torch.ones(hidden_size)
    if kind == "uniform":
        return torch.rand(hidden_size, generator=generator)
    return torch.randint(0, 2, (hidden_size,), generator=generator).float() * 2 - 1


def draw_direction(method: Method, kind: Misdirection, hidden_size: int, *, seed: int, topic_index: int) -> Tensor:
    """The vector of one topic: u for RMU and Adaptive RMU, V for SRMU; its own stream for each topic."""
    # A generator takes 64 bits.
    generator = torch.Generator().manual_seed((seed * 1_000_003 + topic_index) % 2**64)
    if method == "srmu":
        return misdirection_vector(hidden_size, kind, generator)
    return unit_direction(hidden_size, generator)
