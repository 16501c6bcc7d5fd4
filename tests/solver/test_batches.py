"""Batches for the replay: rows of one length together, both sides, up to a number of tokens."""

import torch

from srmu.solver.batches import FORGET, RETAIN, Part, join_entries, replay_batches
from srmu.solver.frozen import FrozenRows
from srmu.surgery.replay import Entry


def part(side: int, rows: int, length: int, inner: bool = True) -> Part:
    hidden = torch.full((rows, length, 2), float(10 * side + rows))
    entry = Entry(hidden, hidden[..., :1] + 1 if inner else None)
    mask = torch.ones(rows, length, dtype=torch.bool)
    return Part(
        side,
        FrozenRows(entry, hidden, mask, torch.zeros(rows, length, dtype=torch.long), tuple(range(rows))),
        torch.zeros(2),
    )


def test_both_sides_of_one_length_are_replayed_together() -> None:
    parts = [part(FORGET, 1, 8), part(FORGET, 2, 16), part(RETAIN, 3, 8), part(RETAIN, 1, 24)]
    batches = list(replay_batches(parts, 1000))
    assert batches == [[parts[0], parts[2]], [parts[1]], [parts[3]]]


def test_a_batch_ends_where_the_next_part_would_not_fit_but_holds_one_at_least() -> None:
    parts = [part(FORGET, 4, 8), part(RETAIN, 1, 8), part(RETAIN, 2, 8)]
    sizes = {limit: [len(batch) for batch in replay_batches(parts, limit)] for limit in (1, 40, 39, 56)}
    assert sizes == {1: [1, 1, 1], 40: [2, 1], 39: [1, 2], 56: [3]}


def test_rows_that_start_late_are_not_mixed_with_others() -> None:
    parts = [part(FORGET, 1, 8), part(RETAIN, 1, 8, inner=False)]
    assert [len(batch) for batch in replay_batches(parts, 1000)] == [1, 1]


def test_entries_are_joined_in_order() -> None:
    parts = [part(FORGET, 1, 4), part(RETAIN, 2, 4)]
    joined = join_entries(parts)
    assert joined.hidden[:, 0, 0].tolist() == [1.0, 12.0, 12.0]
    assert joined.inner is not None
    assert joined.inner[:, 0, 0].tolist() == [2.0, 13.0, 13.0]
    assert join_entries(parts[:1]) is parts[0].rows.entry
    assert join_entries([part(FORGET, 1, 4, inner=False)] * 2).inner is None
