"""Frozen activations of the rows that a run reads, computed once where rows are read again and memory allows it.

The last bits of a matrix product depend on the shape of the batch. Rows to be kept are therefore computed in batches
that depend on the schedule alone, so that an interrupted run finds the same bits.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from srmu.inputs.rows import TokenRows, bucket_length, counted_mask, pad_batch
from srmu.objective.masked import sink_free_mask
from srmu.objective.tensors import Hidden, TokenIds, TokenMask
from srmu.runtime.processes import share, world_size
from srmu.solver.batching import batch_lengths
from srmu.surgery.replay import Entry, Replayer

GIB = 1024**3
KeptRow = tuple[Tensor, ...]
"""Output `[seq, hidden]` and token mask `[seq]` of a row, then its entry: `[seq, hidden]`, what layers take of each
token and, of a late start, `[seq, inner]`; without padding."""
KeptRows = dict[int, KeptRow]
# Tokens that go through layers at once where memory is limited: activations take little, and devices are still busy.
SMALL_BATCH = 1024


def tokens_a_batch(device: torch.device) -> int:
    """Tokens, padding included, that go through layers at once, where a row is not longer.

    An accelerator wants large matrices; a processor wants what a layer makes of a batch to stay in its cache
    (docs/background/performance.md).
    """
    return 1024 if device.type == "cpu" else 4096


def batch_cost(device: torch.device) -> int:
    """What a batch costs besides its tokens, in tokens: weights read and their gradients added up, or launches."""
    return 40 if device.type == "cpu" else 512


@dataclass(frozen=True)
class FrozenRows:
    """Rows of one padded length.

    Attributes:
        entry: Where their replay begins.
        output: Residual stream after the tapped layer, `[batch, seq, hidden]`.
        token_mask: `[batch, seq]` bool, true where the token counts.
        token_ids: `[batch, seq]`, on the CPU.
        row_ids: Of each row, in the store.
    """

    entry: Entry
    output: Hidden
    token_mask: TokenMask
    token_ids: TokenIds
    row_ids: tuple[int, ...]

    @property
    def num_tokens(self) -> int:
        """Tokens, padding included."""
        return self.token_mask.numel()


class FrozenStore:
    """Gives the frozen activations of rows, grouped by padded length.

    Args:
        rows: All rows of the run, topics and sides one after another.
        replayer: Runs the frozen layers.
        max_length: Longest row.
        sink_norm_ratio: See `sink_free_mask`; none = every real token counts.
        device: Where the activations live.
        batch_tokens: Tokens that go through layers at once; none given = what suits the device.
        kept: What an earlier run of the same rows and layers kept; this one reads it and adds to it. None = nothing.
        below: By name, matrices of lower layers that a stage before this one has trained: replays begin behind them,
            while outputs are the base's. None = replays begin where the base is.
    """

    def __init__(
        self,
        rows: TokenRows,
        replayer: Replayer,
        *,
        max_length: int,
        sink_norm_ratio: float | None,
        device: torch.device,
        batch_tokens: int | None = None,
        kept: KeptRows | None = None,
        below: Mapping[str, Tensor] | None = None,
    ):
        self.rows = rows
        self.replayer = replayer
        self.max_length = max_length
        self.sink_norm_ratio = sink_norm_ratio
        self.device = device
        self.batch_tokens = batch_tokens or tokens_a_batch(device)
        self._shared = kept is not None
        self._kept: KeptRows = {} if kept is None else kept
        self.below = dict(below or {})
        # Tensors of a kept row without its late start.
        self._whole = 3 + len(replayer.per_token)
        self._inner_size = 0 if replayer.late_start is None else replayer.late_start.inner_size

    def of_rows(self, rows: TokenRows, *, replayed: bool = True) -> "FrozenStore":
        """A store of other rows, as this one in all else, that keeps nothing yet.

        Args:
            rows: All of its rows.
            replayed: Whether they will be; else their outputs alone are asked for.
        """
        return FrozenStore(
            rows,
            self.replayer,
            max_length=max([self.max_length, *rows.lengths]),
            sink_norm_ratio=self.sink_norm_ratio,
            device=self.device,
            batch_tokens=self.batch_tokens,
            below=self.below if replayed else None,
        )

    def lengths(self, row_ids: Sequence[int]) -> list[int]:
        """The padded lengths at which these rows cost least, if they go through layers together."""
        return batch_lengths(
            (self._bucket(row_id) for row_id in row_ids),
            batch_tokens=self.batch_tokens,
            batch_cost=batch_cost(self.device),
        )

    def own_parts(self, row_ids: Sequence[int], size: int = 64) -> Iterator[list[FrozenRows]]:
        """Frozen activations of this rank's share of rows, some rows at a time; of no rows, one part that is empty."""
        own = share(row_ids)
        # As many as the rank with most rows has: ranks that share layers ask for rows together.
        for start in range(0, max(1, len(row_ids[:: world_size()])), size):
            yield self.get(own[start : start + size])

    def get(self, row_ids: Sequence[int], lengths: Sequence[int] | None = None) -> list[FrozenRows]:
        """Frozen activations of the rows, each group of one padded length, in ascending length.

        Args:
            row_ids: The rows.
            lengths: Padded lengths to choose from, see `lengths`; none given = those that suit these rows.
        """
        groups = []
        batches = list(self._batches(row_ids, lengths))
        extra = self._extra_passes(sum(not self._are_kept(ids) for _, ids in batches))
        for length, ids in batches:
            if self._are_kept(ids):
                kept = [self._kept[row_id] for row_id in ids]
                output, token_mask, hidden, *rest = (pad_rows(parts, length) for parts in zip(*kept, strict=True))
                given, inner = rest[: self._whole - 3], rest[self._whole - 3 :]
                entry = Entry(hidden, inner[0] if inner else None, tuple(given))
                token_ids = pad_batch(self.rows, ids, length).token_ids
                groups.append(FrozenRows(entry, output, token_mask, token_ids, tuple(ids)))
            else:
                groups.append(self._compute(ids, length))
        for _ in range(extra):
            self.replayer.idle_pass()
        return groups

    def _are_kept(self, row_ids: Sequence[int]) -> bool:
        return {len(self._kept.get(row_id, ())) for row_id in row_ids} in ({self._whole}, {self._whole + 1})

    def keep(self, row_ids: Sequence[int], limit_gb: float, progress: Callable[[int, int], None] | None = None) -> bool:
        """Compute and keep these rows if they fit the limit and are read more than once on average, or by several runs.

        Args:
            row_ids: Every read of the run, repetitions included.
            limit_gb: In GiB.
            progress: Called with rows done and rows in all.

        Returns:
            Whether they are kept.
        """
        distinct = sorted(set(row_ids))
        worth = self._shared or len(distinct) < len(row_ids)
        worth = worth and self.num_bytes(distinct, late=False) <= limit_gb * GIB
        late = self._inner_size > 0 and self.num_bytes(distinct) <= limit_gb * GIB
        size = self._whole + late
        missing = [row_id for row_id in distinct if worth and len(self._kept.get(row_id, ())) != size]
        batches, done = list(self._batches(missing)), 0
        extra = self._extra_passes(len(batches))
        for length, ids in batches:
            frozen = self._compute(ids, length, late=late)
            parts = [frozen.output, frozen.token_mask, frozen.entry.hidden, *frozen.entry.given]
            if frozen.entry.inner is not None:
                parts.append(frozen.entry.inner)
            for index, row_id in enumerate(ids):
                # Clones, so that a row does not hold on to its whole batch.
                real = len(self.rows.token_ids[row_id])
                self._kept[row_id] = tuple(part[index, :real].clone() for part in parts)
            done += len(ids)
            if progress is not None:
                progress(done, len(missing))
        for _ in range(extra):
            self.replayer.idle_pass()
        return worth

    def release(self) -> None:
        """Keep nothing any longer, unless other runs read it too."""
        if not self._shared:
            self._kept.clear()

    def record_calls(self) -> None:
        """Have the replay ready for every row length, which must not be left to the moment where ranks part ways."""
        self.replayer.record_calls(bucket_length(length, self.max_length) for length in self.rows.lengths)

    def num_bytes(self, row_ids: Sequence[int], *, late: bool = True) -> int:
        """Bytes that the activations of these rows take; less without a late start of the replay."""
        weight = next(self.replayer.truncated.inner.parameters())
        features = 2 * self.replayer.truncated.hidden_size + self.replayer.given_size
        features += self._inner_size if late else 0
        tokens = sum(len(self.rows.token_ids[row_id]) for row_id in row_ids)
        return tokens * features * weight.element_size()

    def _bucket(self, row_id: int) -> int:
        return bucket_length(len(self.rows.token_ids[row_id]), self.max_length)

    def _batches(self, row_ids: Sequence[int], lengths: Sequence[int] | None = None) -> Iterator[tuple[int, list[int]]]:
        """Rows of one padded length at a time, in ascending length, as many as a batch should have."""
        lengths = self.lengths(row_ids) if lengths is None else lengths
        groups: dict[int, list[int]] = defaultdict(list)
        for row_id in row_ids:
            groups[lengths[bisect_left(lengths, self._bucket(row_id))]].append(row_id)
        for length, ids in sorted(groups.items()):
            size = max(1, self.batch_tokens // length)
            for start in range(0, len(ids), size):
                yield length, ids[start : start + size]

    def _extra_passes(self, batches: int) -> int:
        """Passes that this rank owes the others beside those for its own batches."""
        return self.replayer.extra_passes(batches * (2 if self.below else 1))

    def _compute(self, row_ids: Sequence[int], length: int, *, late: bool = True) -> FrozenRows:
        batch = pad_batch(self.rows, row_ids, length)
        real_mask = batch.real_mask.to(self.device)
        token_ids = batch.token_ids.to(self.device)
        frozen = self.replayer.frozen_pass(token_ids, late=late)
        entry = self.replayer.frozen_pass(token_ids, late=late, below=self.below).entry if self.below else frozen.entry
        if self.sink_norm_ratio is None:
            token_mask = real_mask
        else:
            token_mask = sink_free_mask(frozen.output, real_mask, self.sink_norm_ratio)
        counted = counted_mask(self.rows, row_ids, length)
        if counted is not None:
            narrowed = token_mask & counted.to(self.device)
            # A row whose whole answer is an attention sink counts as if it had none, rather than not at all.
            token_mask = torch.where(narrowed.any(dim=1, keepdim=True), narrowed, token_mask)
        return FrozenRows(entry, frozen.output, token_mask, batch.token_ids, tuple(row_ids))


def pad_rows(rows: Sequence[Tensor], length: int) -> Tensor:
    """Rows `[seq, ...]` side by side, `[batch, length, ...]`, filled up with zeros, which no real token sees."""
    padded = rows[0].new_zeros((len(rows), length, *rows[0].shape[1:]))
    for place, row in enumerate(rows):
        padded[place, : len(row)] = row
    return padded
