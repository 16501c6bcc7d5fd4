"""Forget rows with what is specific in them exchanged: the same sentences, about something else."""

import random
from collections import defaultdict
from collections.abc import Sequence
from itertools import groupby

from torch import Tensor

Span = tuple[int, ...]
"""Token ids that follow each other."""
FEWEST = 3
"""So many others of the same place in a sentence make a choice; with fewer, spans of any place are taken."""


def specific_spans(row: Sequence[int], specific: Sequence[bool]) -> list[tuple[int, int]]:
    """Start and end of each run of specific tokens, as long as it goes.

    Args:
        row: Token ids.
        specific: By token id.
    """
    spans, start = [], 0
    for is_specific, tokens in groupby(row, key=lambda token: specific[token]):
        end = start + len(list(tokens))
        if is_specific:
            spans.append((start, end))
        start = end
    return spans


class SpanPool:
    """The specific spans of some rows, to exchange them among each other.

    A span is exchanged for another of as many tokens, so that each token keeps its place in the row, if there are such
    for one behind the same token ("of", "is"), so that names of countries become names of countries.

    Args:
        rows: Token ids, `[length]` each.
        specific: By token id.
    """

    def __init__(self, rows: Sequence[Tensor], specific: Sequence[bool]):
        self.specific = specific
        # In order of first appearance: dictionaries as sets, so that a seed always draws the same.
        behind: dict[tuple[int, int], dict[Span, None]] = defaultdict(dict)
        of_length: dict[int, dict[Span, None]] = defaultdict(dict)
        for row in rows:
            token_ids = row.tolist()
            for start, end in specific_spans(token_ids, specific):
                span = tuple(token_ids[start:end])
                behind[_before(token_ids, start), len(span)][span] = None
                of_length[len(span)][span] = None
        self._behind = {key: list(spans) for key, spans in behind.items()}
        self._of_length = {length: list(spans) for length, spans in of_length.items()}
        self._tokens = list(dict.fromkeys(token for spans in of_length.values() for span in spans for token in span))

    def __len__(self) -> int:
        return sum(map(len, self._of_length.values()))

    def exchange(self, row: Sequence[int], generator: random.Random) -> list[int]:
        """The row with every specific span exchanged, the same one always for the same.

        Args:
            row: Token ids.
            generator: Draws the exchanges.
        """
        exchanged, chosen = list(row), {}
        for start, end in specific_spans(row, self.specific):
            span = tuple(row[start:end])
            if span not in chosen:
                chosen[span] = self._another(span, _before(row, start), generator)
            exchanged[start:end] = chosen[span]
        return exchanged

    def _another(self, span: Span, before: int, generator: random.Random) -> Span:
        others = [other for other in self._behind.get((before, len(span)), ()) if other != span]
        if len(others) < FEWEST:
            others = [other for other in self._of_length.get(len(span), ()) if other != span]
        if others:
            return generator.choice(others)
        # No other is as long: token by token.
        tokens = [token for token in self._tokens if token not in span]
        return tuple(generator.choice(tokens) for _ in span) if tokens else span


def _before(row: Sequence[int], start: int) -> int:
    return row[start - 1] if start else -1
