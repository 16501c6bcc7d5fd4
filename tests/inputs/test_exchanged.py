"""Exchanged rows: the same length, plain words stay, what is specific is another's, and the same for the same."""

import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srmu.inputs.exchanged import SpanPool, specific_spans

SPECIFIC = [token >= 10 for token in range(30)]
# "the capital of A is X", with names of one or two tokens.
CAPITALS = [[1, 2, 3, 10, 4, 20], [1, 2, 3, 11, 4, 21], [1, 2, 3, 12, 4, 22], [1, 2, 3, 13, 4, 23], [3, 14, 15, 4, 24]]


def pool(rows: list[list[int]]) -> SpanPool:
    return SpanPool([torch.tensor(row) for row in rows], SPECIFIC)


def test_spans_are_whole_runs():
    assert specific_spans([10, 11, 1, 2, 12, 3], SPECIFIC) == [(0, 2), (4, 5)]
    assert specific_spans([1, 2], SPECIFIC) == specific_spans([], SPECIFIC) == []


rows = st.lists(st.lists(st.integers(0, 29), min_size=2, max_size=12), min_size=1, max_size=6)


@given(rows, st.integers(0, 10))
def test_plain_tokens_stay_and_specific_ones_are_others(given_rows: list[list[int]], seed: int) -> None:
    spans = pool(given_rows)
    for row in given_rows:
        exchanged = spans.exchange(row, random.Random(seed))
        assert len(exchanged) == len(row)
        assert [SPECIFIC[token] for token in exchanged] == [SPECIFIC[token] for token in row]
        assert all(new == old for new, old in zip(exchanged, row, strict=True) if not SPECIFIC[old])
        assert exchanged == spans.exchange(row, random.Random(seed))


@given(st.integers(0, 100))
def test_names_become_names_of_the_same_kind_and_never_themselves(seed: int) -> None:
    exchanged = pool(CAPITALS).exchange(CAPITALS[0], random.Random(seed))
    assert exchanged[3] in {11, 12, 13}  # countries behind "of"
    assert exchanged[5] in {21, 22, 23, 24}  # capitals behind "is"


def test_all_of_them_are_drawn():
    spans = pool(CAPITALS)
    assert {spans.exchange(CAPITALS[0], random.Random(seed))[3] for seed in range(50)} == {11, 12, 13}


def test_the_same_span_becomes_the_same_within_a_row():
    spans = pool(CAPITALS)
    for seed in range(20):
        first, second = specific_spans(row := [3, 10, 1, 3, 10], SPECIFIC)
        exchanged = spans.exchange(row, random.Random(seed))
        assert exchanged[slice(*first)] == exchanged[slice(*second)] != [10]


def test_a_span_of_a_length_of_its_own_changes_token_by_token():
    exchanged = pool(CAPITALS).exchange(CAPITALS[4], random.Random(0))
    assert exchanged[0] == 3
    assert exchanged[3] == 4
    assert not {14, 15} & set(exchanged[1:3])


@pytest.mark.parametrize(("rows", "number"), [([[1, 2, 3]], 0), ([[1, 10], [2, 10]], 1), (CAPITALS, 10)])
def test_how_many_there_are(rows: list[list[int]], number: int) -> None:
    assert len(pool(rows)) == number
