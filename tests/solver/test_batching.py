"""Padded lengths: the cheapest of all choices, by exhaustion."""

import math
from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from srmu.solver.batching import batch_lengths


def cost(lengths: list[int], chosen: tuple[int, ...], batch_tokens: int, batch_cost: int) -> int:
    padded = [min(limit for limit in chosen if limit >= length) for length in lengths]
    batches = sum(math.ceil(padded.count(limit) / max(1, batch_tokens // limit)) for limit in set(padded))
    return sum(padded) + batches * batch_cost


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=7),
    batch_tokens=st.sampled_from([1, 30, 100, 1000]),
    batch_cost=st.sampled_from([0, 5, 30, 500]),
)
def test_no_choice_of_lengths_is_cheaper(lengths: list[int], batch_tokens: int, batch_cost: int) -> None:
    chosen = batch_lengths(lengths, batch_tokens=batch_tokens, batch_cost=batch_cost)
    assert chosen == sorted(set(chosen))
    assert chosen[-1] == max(lengths)
    others = sorted(set(lengths))[:-1]
    every = [(*some, max(lengths)) for size in range(len(others) + 1) for some in combinations(others, size)]
    least = min(cost(lengths, choice, batch_tokens, batch_cost) for choice in every)
    assert cost(lengths, tuple(chosen), batch_tokens, batch_cost) == least


def test_free_batches_need_no_padding_and_dear_ones_are_one() -> None:
    assert batch_lengths([8, 12, 8, 40], batch_tokens=100, batch_cost=0) == [8, 12, 40]
    assert batch_lengths([8, 12, 8, 40], batch_tokens=1000, batch_cost=1000) == [40]
    assert batch_lengths([], batch_tokens=100, batch_cost=10) == []
