"""Counterfactual targets: kept or not, interrupted or not, the run is the same; nothing to exchange is an error."""

import pytest
import torch

from srmu.errors import InputError
from srmu.solver.counterfactual import EXCHANGES
from tiny_runs import all_equal, finish, make_rows, make_solver, make_specific_topic, make_topic, masters_of

METHOD = {"method": "counterfactual", "forget_tokens": "specific", "max_length": 64}


def test_what_is_kept_changes_nothing_beyond_rounding(saved_family):
    path, runs = saved_family("llama"), []
    for cache_gb in (2.0, 0.0):
        solver = make_solver(path, [make_specific_topic()], cache_gb=cache_gb, **METHOD)
        finish(solver)
        runs.append(masters_of(solver))
    for name, master in runs[0].items():
        assert torch.allclose(master, runs[1][name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cache_gb", [2.0, 0.0])
def test_a_resumed_run_is_the_same_to_the_bit(saved_family, cache_gb):
    path, settings = saved_family("llama"), {**METHOD, "cache_gb": cache_gb}
    whole = make_solver(path, [make_specific_topic()], **settings)
    first = make_solver(path, [make_specific_topic()], **settings)
    first.step()
    first.flush(lambda _: None)
    resumed = make_solver(path, [make_specific_topic()], state=first.state(), **settings)
    finish(whole)
    finish(resumed)
    assert all_equal(masters_of(whole), masters_of(resumed))


def test_the_seed_decides_what_is_exchanged_and_versions_of_a_row_differ(saved_family):
    def exchanged(seed: int) -> list[list[int]]:
        solver = make_solver(saved_family("llama"), [make_specific_topic()], seed=seed, **METHOD)
        return [row.tolist() for row in solver.topics[0].counterfactuals.exchanged.rows.token_ids]

    rows = exchanged(0)
    assert rows == exchanged(0) != exchanged(1)
    longest = [tuple(row) for row in rows if len(row) == 40]
    assert len(longest) == len(set(longest)) == EXCHANGES


def test_without_two_specific_words_there_is_nothing_to_exchange(saved_family):
    same = make_rows((30, 20), seed=1)
    with pytest.raises(InputError, match="fewer than two specific words"):
        make_solver(saved_family("llama"), [make_topic(same, same)], **METHOD)


def test_all_forget_tokens_alike_cannot_be_exchanged(saved_family):
    with pytest.raises(InputError, match="leave forget_tokens out"):
        make_solver(saved_family("llama"), [make_specific_topic()], **{**METHOD, "forget_tokens": "all"})
