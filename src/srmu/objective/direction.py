"""Misdirection vectors, drawn on the CPU so that a seed means the same on all hardware."""

import numpy as np
import torch
from jaxtyping import Int8
from torch import Tensor

from srmu.objective.choices import Method, Misdirection
from srmu.objective.tensors import TokenIds


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


class TokenDirections:
    """V with signs of its own for each token in some of the features, so that what undoes one token leaves the others.

    In the other features tokens share the topic's V, which also reaches what no text says (docs/background/method.md).

    Args:
        token_ids: Those that will be asked for, each once, ascending, `[ids]`.
        direction: The topic's V, `[hidden]`, of signs.
        share: Of the features, drawn at random, in which tokens differ.
        seed: Of the run.
        topic_index: Place of the topic among those of the run.
    """

    def __init__(self, token_ids: Tensor, direction: Tensor, share: float, *, seed: int, topic_index: int):
        stream, size = (seed * 1_000_003 + topic_index) % 2**64, len(direction)
        order = np.argsort(_random_words(stream, _NO_TOKEN, size), kind="stable")
        own = np.sort(order[: round(share * size)])
        signs = np.tile(direction.cpu().to(torch.int8).numpy(), (len(token_ids), 1))
        for place, token_id in enumerate(token_ids.tolist()):
            bits = np.unpackbits(_random_words(stream, token_id, -(-size // 64)).view(np.uint8), bitorder="little")
            signs[place, own] = bits[own].astype(np.int8) * 2 - 1
        self._ids = token_ids.contiguous()
        self._signs = torch.from_numpy(signs).to(direction.device)

    def of(self, token_ids: TokenIds) -> Int8[Tensor, "batch seq hidden"]:
        """The vector of each token, `[batch, seq, hidden]` int8; of a token that was not named (padding), any."""
        places = torch.searchsorted(self._ids, token_ids.cpu()).clamp(max=len(self._ids) - 1)
        return self._signs[places.to(self._signs.device)]


_NO_TOKEN = 2**63


def _random_words(stream: int, token_id: int, number: int) -> np.ndarray:
    """Words of 64 bits from a generator by counter, so that what a token gets depends on no other token."""
    return np.random.Philox(key=stream + (token_id << 64)).random_raw(number).astype("<u8")
