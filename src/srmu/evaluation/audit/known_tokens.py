"""Tokens that a model predicts from what it knows: well, where the token before alone would not do."""

import math
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from srmu.evaluation.texts import TextScores, text_scores

WELL = math.log(2)
"""Nats: what is predicted with probability of a half or more."""
_BIGRAM_SHARE = 0.25


@dataclass(frozen=True)
class KnownTokens:
    """Rows of tokens, and which of their tokens the base knows; written as it is into the file of what a base knows.

    Attributes:
        rows: Token ids.
        begin: Of each row, the position from which tokens are looked at.
        known: One entry for every token from there on, rows one after another.
    """

    rows: tuple[tuple[int, ...], ...]
    begin: tuple[int, ...]
    known: tuple[bool, ...]

    @property
    def count(self) -> int:
        """Tokens that the base knows."""
        return sum(self.known)

    def still_known(self, model: Any, tokenizer: Any) -> list[bool]:
        """Of each known token, whether a model holds it most likely."""
        # The rows that the base was asked, in the same batches: another padding rounds otherwise.
        scores = text_scores(model, tokenizer, self.rows, begin=self.begin)
        return [bool(right) for right in (scores.top_ids == scores.target_ids)[np.array(self.known)]]


def find_known_tokens(
    model: Any, tokenizer: Any, rows: Sequence[Sequence[int]], *, begin: Sequence[int], left_out: Collection[int] = ()
) -> KnownTokens | None:
    """The tokens of rows that the base knows.

    A token is known where it is the model's first choice with a probability of at least a half, and the rows' own
    bigrams, the one at hand left out, give it less than a quarter.

    Args:
        model: The base, in eval mode.
        tokenizer: Its tokenizer.
        rows: Token ids.
        begin: Of each row, the position from which tokens count.
        left_out: Ids that never count.

    Returns:
        None where the base knows none.
    """
    kept = [(tuple(row), max(1, start)) for row, start in zip(rows, begin, strict=True) if len(row) > max(1, start)]
    if not kept:
        return None
    given, starts = zip(*kept, strict=True)
    scores = text_scores(model, tokenizer, given, begin=starts)
    known = _well_predicted(scores) & _beyond_bigrams(given, starts) & ~np.isin(scores.target_ids, list(left_out))
    return KnownTokens(given, starts, tuple(map(bool, known))) if known.any() else None


def _well_predicted(scores: TextScores) -> np.ndarray:
    return (scores.top_ids == scores.target_ids) & (scores.token_nll <= WELL)


def _beyond_bigrams(rows: Sequence[Sequence[int]], begin: Sequence[int]) -> np.ndarray:
    """From the beginning of each row on, where the other occurrences of the token before do not say what comes next."""
    pairs = Counter(pair for row in rows for pair in pairwise(row))
    firsts = Counter(first for row in rows for first in row[:-1])
    shares = [
        (pairs[pair] - 1) / max(1, firsts[pair[0]] - 1)
        for row, start in zip(rows, begin, strict=True)
        for pair in pairwise(row[start - 1 :])
    ]
    return np.array(shares) < _BIGRAM_SHARE
