"""The rows of a step as batches for the replay: both sides together where their lengths agree and both fit."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from srmu.solver.frozen import FrozenRows
from srmu.surgery.replay import Entry

FORGET, RETAIN = 0, 1


@dataclass(frozen=True)
class Part:
    """Rows of one side of a step and of one padded length.

    Attributes:
        side: `FORGET` or `RETAIN`.
        rows: The rows.
        target: What they are drawn to, see `squared_distance_sum`.
        token_weights: `[batch, seq]`, in the same order.
    """

    side: int
    rows: FrozenRows
    target: Tensor
    token_weights: Tensor | None = None

    @property
    def weight(self) -> Tensor:
        """What the counted tokens weigh together; scalar."""
        mask = self.rows.token_mask
        return mask.sum() if self.token_weights is None else (self.token_weights * mask).sum()


def replay_batches(parts: Sequence[Part], max_tokens: int) -> Iterator[list[Part]]:
    """Put parts of one padded length together, in order, as long as they have at most `max_tokens` tokens.

    Small matrix products waste time; a larger batch than that wastes memory.
    """
    groups: dict[tuple[int, bool], list[Part]] = defaultdict(list)
    for part in parts:
        groups[part.rows.token_mask.shape[1], part.rows.entry.inner is None].append(part)
    for group in groups.values():
        batch: list[Part] = []
        for part in group:
            if batch and sum(other.rows.num_tokens for other in batch) + part.rows.num_tokens > max_tokens:
                yield batch
                batch = []
            batch.append(part)
        yield batch


def join_entries(batch: Sequence[Part]) -> Entry:
    """The entries of a batch, one after another."""
    entries = [part.rows.entry for part in batch]
    if len(entries) == 1:
        return entries[0]
    inner = [entry.inner for entry in entries if entry.inner is not None]
    given = tuple(torch.cat(parts) for parts in zip(*(entry.given for entry in entries), strict=True))
    return Entry(torch.cat([entry.hidden for entry in entries]), torch.cat(inner) if inner else None, given)
