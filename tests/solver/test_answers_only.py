"""Forgetting counts on the marked tokens of forget rows alone."""

import dataclasses

import pytest
import torch

from families import FAMILIES
from tiny_runs import FORGET, RETAIN, all_equal, finish, make_solver, make_topic, masters_of

LAST_THREE = tuple(torch.arange(length) >= length - 3 for length in FORGET.lengths)
MARKED = dataclasses.replace(FORGET, counted=LAST_THREE)


@pytest.fixture
def path(saved_family):
    return saved_family(next(name for name in FAMILIES if name == "llama"))


def metrics(path, forget, retain=RETAIN, **settings):
    solver = make_solver(path, [make_topic(forget, retain)], **settings)
    return finish(solver), masters_of(solver)


def test_only_marked_tokens_count_on_the_forget_side(path):
    settings = {"skip_sinks": False, "forget_batch_size": 4}
    records, _ = metrics(path, MARKED, **settings)
    whole, _ = metrics(path, FORGET, **settings)
    assert [record["forget_tokens"] for record in records] == [3 * 4] * 3
    assert [record["forget_tokens"] for record in whole] == [sum(FORGET.lengths)] * 3
    assert [record["retain_tokens"] for record in records] == [record["retain_tokens"] for record in whole]


def test_marks_on_everything_change_nothing(path):
    everywhere = dataclasses.replace(FORGET, counted=tuple(torch.ones(n, dtype=torch.bool) for n in FORGET.lengths))
    assert all_equal(metrics(path, everywhere)[1], metrics(path, FORGET)[1])
    assert not all_equal(metrics(path, MARKED)[1], metrics(path, FORGET)[1])


def test_marks_on_retain_rows_change_nothing(path):
    marked = dataclasses.replace(RETAIN, counted=tuple(torch.arange(n) >= n - 1 for n in RETAIN.lengths))
    assert all_equal(metrics(path, FORGET, marked)[1], metrics(path, FORGET)[1])


def test_kept_activations_keep_the_marks(path):
    kept = metrics(path, MARKED, cache_gb=1.0)
    computed = metrics(path, MARKED, cache_gb=0.0)
    assert [record["forget_tokens"] for record in kept[0]] == [record["forget_tokens"] for record in computed[0]]


def test_a_row_whose_whole_answer_is_a_sink_counts_as_if_it_had_no_mark(path):
    first_only = dataclasses.replace(FORGET, counted=tuple(torch.arange(n) == 0 for n in FORGET.lengths))
    assert metrics(path, first_only)[0][0]["forget_tokens"] == metrics(path, FORGET)[0][0]["forget_tokens"]
