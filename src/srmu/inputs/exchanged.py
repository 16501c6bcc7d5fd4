"""Forget rows with what is specific in them exchanged: the same sentences, about something else."""

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
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
        self._behind = {key: _Choice(spans) for key, spans in behind.items()}
        self._of_length = {length: _Choice(spans) for length, spans in of_length.items()}
        self._tokens = _Choice(
            dict.fromkeys((token,) for spans in of_length.values() for span in spans for token in span)
        )

    def __len__(self) -> int:
        return sum(len(choice.spans) for choice in self._of_length.values())

    def exchange(self, row: Sequence[int], generator: random.Random) -> list[int]:
        """The row with every specific span exchanged, the same one always for the same.

        Args:
            row: Token ids of one of the rows.
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
        for choice, fewest in ((self._behind[before, len(span)], FEWEST), (self._of_length[len(span)], 1)):
            if choice.others([span]) >= fewest:
                return choice.draw([span], generator)
        # No other is as long: token by token.
        own = [(token,) for token in span]
        if not self._tokens.others(own):
            return span
        return tuple(token for _ in span for token in self._tokens.draw(own, generator))


class _Choice:
    """Draws one of some spans that is none of a few, in a time that does not grow with their number."""

    def __init__(self, spans: Iterable[Span]):
        self.spans = tuple(spans)
        self._places = {span: place for place, span in enumerate(self.spans)}

    def others(self, excluded: Iterable[Span]) -> int:
        """How many there are to draw from."""
        return len(self.spans) - len(self._places.keys() & excluded)

    def draw(self, excluded: Iterable[Span], generator: random.Random) -> Span:
        """One of the others, all as likely."""
        place = generator.randrange(self.others(excluded))
        for gap in sorted(self._places[span] for span in self._places.keys() & excluded):
            place += place >= gap
        return self.spans[place]


def _before(row: Sequence[int], start: int) -> int:
    return row[start - 1] if start else -1
