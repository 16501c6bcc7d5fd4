"""Misdirection vectors, drawn on the CPU so that a seed means the same on all hardware."""

import numpy as np
import torch
from jaxtyping import Int8
from torch import Tensor

from srmu.config import Method, Misdirection
from srmu.tensors import TokenIds


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
    # Also where tokens have vectors of their own: these are as long.
    return torch.randint(0, 2, (hidden_size,), generator=generator).float() * 2 - 1


def draw_direction(method: Method, kind: Misdirection, hidden_size: int, *, seed: int, topic_index: int) -> Tensor:
    """The vector of one topic: u for RMU and Adaptive RMU, V for SRMU; its own stream for each topic."""
    # A generator takes 64 bits.
    generator = torch.Generator().manual_seed((seed * 1_000_003 + topic_index) % 2**64)
    if method == "srmu":
        return misdirection_vector(hidden_size, kind, generator)
    return unit_direction(hidden_size, generator)


class TokenDirections:
    """V where each token has random signs of its own, so that what undoes one of them leaves the others.

    Args:
        token_ids: Those that will be asked for, each once, ascending, `[ids]`.
        hidden_size: Width of the residual stream.
        seed: Of the run.
        topic_index: Place of the topic among those of the run.
        device: Where the vectors live, one byte an entry.
    """

    def __init__(self, token_ids: Tensor, hidden_size: int, *, seed: int, topic_index: int, device: torch.device):
        self._ids = token_ids.contiguous()
        stream = (seed * 1_000_003 + topic_index) % 2**64
        signs = np.stack([_signs(stream, token_id, hidden_size) for token_id in token_ids.tolist()])
        self._signs = torch.from_numpy(signs).to(device)

    def of(self, token_ids: TokenIds) -> Int8[Tensor, "batch seq hidden"]:
        """The vector of each token, `[batch, seq, hidden]` int8; of a token that was not named (padding), any."""
        places = torch.searchsorted(self._ids, token_ids.cpu()).clamp(max=len(self._ids) - 1)
        return self._signs[places.to(self._signs.device)]


def _signs(stream: int, token_id: int, size: int) -> np.ndarray:
    # A generator by counter, so that the signs of a token depend on no other token.
    words = np.random.Philox(key=stream + (token_id << 64)).random_raw(-(-size // 64)).astype("<u8")
    return np.unpackbits(words.view(np.uint8), bitorder="little")[:size].astype(np.int8) * 2 - 1
