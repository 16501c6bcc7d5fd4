"""What the frozen model makes of forget rows whose specific words are exchanged: means over several exchanges."""

import random
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from srmu.errors import InputError
from srmu.inputs.exchanged import SpanPool
from srmu.inputs.rows import TokenRows
from srmu.objective.counterfactual import EXCHANGEABLE
from srmu.objective.masked import widen
from srmu.objective.tensors import Hidden
from srmu.solver.frozen import GIB, FrozenRows, FrozenStore, pad_rows
from srmu.solver.specificity import token_weights

EXCHANGES = 4
"""Of each row."""
ROWS_AT_ONCE = 16


def can_exchange(forget: TokenRows, retain: Sequence[TokenRows]) -> bool:
    """Whether the forget rows of a topic have specific spans that can be exchanged for each other."""
    return len(SpanPool(forget.token_ids, (token_weights(forget, retain) > EXCHANGEABLE).tolist())) > 1


class Counterfactuals:
    """Of one topic's forget rows.

    Args:
        store: The run's frozen activations.
        forget: The topic's forget rows among those of the store, all of them: their spans are exchanged.
        row_ids: Those of them that the run may read, the same on all ranks.
        token_weights: By token id.
        topic: Its name.
        seed: Of the exchanges, which depend on topic and row besides.

    Raises:
        InputError: If there are not two specific spans to be exchanged for each other.
    """

    def __init__(
        self, store: FrozenStore, forget: range, row_ids: Iterable[int], token_weights: Tensor, topic: str, seed: int
    ):
        rows = store.rows.token_ids
        pool = SpanPool(rows[forget.start : forget.stop], (token_weights > EXCHANGEABLE).tolist())
        if len(pool) < 2:
            raise InputError(
                f"The forget texts of {topic!r} have fewer than two specific words that could be exchanged for "
                "each other: the retain texts have all others as often. Give more of either, or another --method."
            )
        self.places = {row_id: place for place, row_id in enumerate(sorted(set(row_ids)))}
        exchanged = [
            torch.tensor(
                pool.exchange(rows[row_id].tolist(), random.Random(f"{seed} {topic} {row_id - forget.start} {number}")),
                dtype=rows[row_id].dtype,
            )
            for row_id in self.places
            for number in range(EXCHANGES)
        ]
        read = TokenRows(tuple(exchanged), tuple(range(len(exchanged))))
        self.exchanged = store.of_rows(read, replayed=False)
        self._kept: dict[int, Tensor] = {}

    def keep(self, limit_gb: float, progress: Callable[[int, int], None] | None = None) -> None:
        """Compute the means and keep them, if they fit; every rank keeps all of them.

        Args:
            limit_gb: In GiB.
            progress: Called with rows done and rows in all.
        """
        lengths = self.exchanged.rows.lengths[::EXCHANGES]
        # By length, so that little is padded.
        places = sorted(self.places.values(), key=lambda place: (lengths[place], place))
        hidden_size = self.exchanged.replayer.truncated.hidden_size
        if 4 * hidden_size * sum(lengths) > limit_gb * GIB:
            return
        for start in range(0, len(places), ROWS_AT_ONCE):
            chosen = places[start : start + ROWS_AT_ONCE]
            longest = max(self.exchanged.lengths([place * EXCHANGES for place in chosen]))
            for place, mean in zip(chosen, self._compute(chosen, [longest]), strict=True):
                # A clone, so that a row does not hold on to its padding.
                self._kept[place] = mean[: lengths[place]].clone()
            if progress is not None:
                progress(start + len(chosen), len(places))

    def means(self, groups: Sequence[FrozenRows]) -> list[Hidden]:
        """E of each group of forget rows, `[batch, seq, hidden]`; of padding, anything."""
        places = [[self.places[row_id] for row_id in rows.row_ids] for rows in groups]
        lengths = [rows.token_ids.shape[1] for rows in groups]
        if self._kept:
            return [
                pad_rows([self._kept[place] for place in group], length)
                for group, length in zip(places, lengths, strict=True)
            ]
        # All at once, since ranks that share layers ask for rows together.
        found = iter(self._compute([place for group in places for place in group], sorted(set(lengths))))
        return [torch.stack([next(found) for _ in group]) for group in places]

    def _compute(self, places: Sequence[int], lengths: Sequence[int]) -> list[Tensor]:
        """The mean of each row, `[padded length, hidden]`, for rows in ascending order of their padded lengths."""
        row_ids = [place * EXCHANGES + number for place in places for number in range(EXCHANGES)]
        rows = [output for group in self.exchanged.get(row_ids, lengths) for output in widen(group.output)]
        return [torch.stack(rows[at : at + EXCHANGES]).mean(dim=0) for at in range(0, len(rows), EXCHANGES)]
