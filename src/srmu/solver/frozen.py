"""Frozen activations of the rows that a run reads, computed once where rows are read again and memory allows it.

The last bits of a matrix product depend on the shape of the batch. Rows to be kept are therefore computed in batches
that depend on the schedule alone, so that an interrupted run finds the same bits.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from srmu.data.rows import TokenRows, bucket_length, pad_batch
from srmu.objective.masked import sink_free_mask
from srmu.surgery.replay import Replayer
from srmu.tensors import Hidden, TokenMask

TOKENS_A_BATCH = 4096
GIB = 1024**3


@dataclass(frozen=True)
class FrozenRows:
    """Rows of one padded length.

    Attributes:
        entry: Residual stream before the first trained layer, `[batch, seq, hidden]`.
        output: Residual stream after the tapped layer, likewise.
        token_mask: `[batch, seq]` bool, true where the token counts.
    """

    entry: Hidden
    output: Hidden
    token_mask: TokenMask


class FrozenStore:
    """Gives the frozen activations of rows, grouped by padded length.

    Args:
        rows: All rows of the run, topics and sides one after another.
        replayer: Runs the frozen layers.
        row_tokens: Longest row.
        sink_norm_ratio: See `sink_free_mask`; none = every real token counts.
        device: Where the activations live.
    """

    def __init__(
        self,
        rows: TokenRows,
        replayer: Replayer,
        *,
        row_tokens: int,
        sink_norm_ratio: float | None,
        device: torch.device,
    ):
        self.rows = rows
        self.replayer = replayer
        self.row_tokens = row_tokens
        self.sink_norm_ratio = sink_norm_ratio
        self.device = device
        self._kept: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def get(self, row_ids: Sequence[int]) -> list[FrozenRows]:
        """Frozen activations of the rows, one group a padded length, in ascending length."""
        groups = []
        for length, ids in self._by_length(row_ids).items():
            if all(row_id in self._kept for row_id in ids):
                entry, output, mask = (
                    torch.stack(parts) for parts in zip(*(self._kept[row_id] for row_id in ids), strict=True)
                )
                groups.append(FrozenRows(entry, output, mask))
            else:
                groups.append(self._compute(ids, length))
        return groups

    def keep(self, row_ids: Sequence[int], limit_gb: float, progress: Callable[[int, int], None] | None = None) -> bool:
        """Compute and keep these rows if they are read more than once on average and fit the limit.

        Args:
            row_ids: Every read of the run, repetitions included.
            limit_gb: In GiB.
            progress: Called with rows done and rows in all.

        Returns:
            Whether they are kept.
        """
        distinct = sorted(set(row_ids))
        if len(distinct) == len(row_ids) or self.num_bytes(distinct) > limit_gb * GIB:
            return False
        done = 0
        for length, ids in self._by_length(distinct).items():
            size = max(1, TOKENS_A_BATCH // length)
            for start in range(0, len(ids), size):
                chunk = ids[start : start + size]
                frozen = self._compute(chunk, length)
                for index, row_id in enumerate(chunk):
                    # Clones, so that a row does not hold on to its whole batch.
                    self._kept[row_id] = (
                        frozen.entry[index].clone(),
                        frozen.output[index].clone(),
                        frozen.token_mask[index].clone(),
                    )
                done += len(chunk)
                if progress is not None:
                    progress(done, len(distinct))
        return True

    def num_bytes(self, row_ids: Sequence[int]) -> int:
        """Bytes that the activations of these rows take."""
        weight = next(self.replayer.truncated.inner.parameters())
        per_token = 2 * self.replayer.truncated.hidden_size * weight.element_size()
        return sum(length * len(ids) for length, ids in self._by_length(row_ids).items()) * per_token

    def _by_length(self, row_ids: Sequence[int]) -> dict[int, list[int]]:
        groups: dict[int, list[int]] = defaultdict(list)
        for row_id in row_ids:
            groups[bucket_length(len(self.rows.token_ids[row_id]), self.row_tokens)].append(row_id)
        return dict(sorted(groups.items()))

    def _compute(self, row_ids: Sequence[int], length: int) -> FrozenRows:
        batch = pad_batch(self.rows, row_ids, length)
        real_mask = batch.real_mask.to(self.device)
        frozen = self.replayer.frozen_pass(batch.token_ids.to(self.device))
        if self.sink_norm_ratio is None:
            token_mask = real_mask
        else:
            token_mask = sink_free_mask(frozen.output, real_mask, self.sink_norm_ratio)
        return FrozenRows(entry=frozen.entry, output=frozen.output, token_mask=token_mask)
