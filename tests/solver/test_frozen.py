"""Frozen activations: grouped by padded length, kept where it pays, and the same whether kept or not."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from srmu.objective.masked import sink_free_mask
from srmu.solver.frozen import GIB, FrozenStore
from srmu.surgery.replay import Replayer
from tiny_runs import load_tiny, make_rows

SavedFamily = Callable[..., Path]
ROWS = make_rows((21, 5, 14, 9, 8, 17), seed=1)


@pytest.fixture
def make_store(saved_family: SavedFamily) -> Callable[..., FrozenStore]:
    def make(dtype: torch.dtype = torch.float32, ratio: float | None = 4.0) -> FrozenStore:
        replayer = Replayer(load_tiny(saved_family("llama"), dtype), 1, ["mlp.down_proj.weight"])
        return FrozenStore(ROWS, replayer, max_length=32, sink_norm_ratio=ratio, device=torch.device("cpu"))

    return make


def test_rows_are_grouped_by_padded_length(make_store) -> None:
    groups = make_store().get([0, 1, 2, 3, 4, 5])
    shapes = [(2, 8, 32), (1, 12, 32), (1, 16, 32), (1, 20, 32), (1, 24, 32)]
    assert [tuple(group.output.shape) for group in groups] == shapes
    assert [group.num_tokens for group in groups] == [16, 12, 16, 20, 24]
    assert [group.token_mask.sum(dim=1).tolist() for group in groups] == [[4, 7], [8], [13], [16], [20]]
    groups = make_store().get([0, 1, 2, 3, 4, 5], [16, 24])
    assert [tuple(group.output.shape) for group in groups] == [(4, 16, 32), (2, 24, 32)]


def test_lengths_are_few_where_a_batch_costs_much(make_store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srmu.solver.frozen.batch_cost", lambda _: 20)
    assert make_store().lengths([0, 1, 2, 3, 4, 5]) == [12, 24]


def test_every_real_token_counts_without_a_sink_ratio(make_store) -> None:
    groups = make_store(ratio=None).get([1, 0])
    assert [group.token_mask.sum().item() for group in groups] == [5, 21]
    skipping = make_store().get([0])[0]
    assert torch.equal(skipping.token_mask, sink_free_mask(skipping.output, torch.arange(24)[None] < 21, 4.0))


def test_kept_rows_are_the_computed_ones(make_store, monkeypatch: pytest.MonkeyPatch) -> None:
    store, fresh = make_store(torch.float64), make_store(torch.float64)
    done: list[tuple[int, int]] = []
    assert store.keep([0, 1, 2, 3, 4, 5, 0], limit_gb=1.0, progress=lambda *pair: done.append(pair))
    assert done[-1] == (6, 6)
    # Nothing is computed again.
    monkeypatch.setattr(store.replayer, "frozen_pass", None)
    for row_ids, lengths in (([5, 0], None), ([3, 1, 2], [16]), ([4], [8, 24])):
        for one, other in zip(store.get(row_ids, lengths), fresh.get(row_ids, lengths), strict=True):
            lengths_of = [
                next(len(row) for row in ROWS.token_ids if torch.equal(ids[: len(row)], row.long()))
                for ids in one.token_ids
            ]
            real = torch.arange(one.output.shape[1]) < torch.tensor(lengths_of)[:, None]
            assert torch.equal(one.token_ids, other.token_ids)
            assert torch.equal(one.token_mask, other.token_mask)
            assert one.entry.inner is not None
            assert other.entry.inner is not None
            for kept, computed in (
                (one.entry.hidden, other.entry.hidden),
                (one.entry.inner, other.entry.inner),
                (one.output, other.output),
            ):
                assert torch.allclose(kept[real], computed[real], rtol=1e-5, atol=1e-6)
                assert not kept[~real].any()


def test_a_row_has_the_same_bits_whichever_rows_are_asked_for_with_it(make_store) -> None:
    store = make_store()
    store.keep([0, 1, 2, 3, 4, 5, 0], limit_gb=1.0)
    assert torch.equal(store.get([5])[0].output[0, :17], store.get([0, 5], [24])[0].output[1, :17])


def test_rows_are_kept_only_if_they_are_read_again_and_fit(make_store) -> None:
    store = make_store()
    assert not store.keep([0, 1, 2], limit_gb=1.0)
    whole = store.num_bytes([0, 1], late=False)
    assert whole == (21 + 5) * 2 * 32 * 4
    assert not store.keep([0, 0, 1], limit_gb=(whole - 1) / GIB)
    assert not store.keep([0, 0, 1], limit_gb=0.0)
    assert store.keep([0, 0, 1], limit_gb=whole / GIB)


def test_a_late_start_is_kept_where_it_fits_and_else_the_start_of_the_layer(make_store) -> None:
    late = make_store().num_bytes([0, 1])
    assert late == (21 + 5) * (2 * 32 + 48) * 4
    for limit, is_late in ((late, True), (late - 1, False)):
        store = make_store()
        assert store.keep([0, 0, 1], limit_gb=limit / GIB)
        assert [group.entry.inner is not None for group in store.get([0, 1])] == [is_late] * 2


def test_rows_kept_in_the_other_form_are_computed_again(make_store) -> None:
    store = make_store()
    store._shared = True
    assert store.keep([0, 1, 5], limit_gb=store.num_bytes([0, 1, 5], late=False) / GIB)
    assert store.keep([0], limit_gb=1.0)
    groups = store.get([1, 0, 5], [8, 24])  # row 0 now stands beside row 5 of the other form
    assert [group.entry.inner is None for group in groups] == [True, False]
    assert store.keep([0, 1, 5], limit_gb=1.0)
    assert all(group.entry.inner is not None for group in store.get([1, 0, 5]))


def test_a_batch_has_no_more_tokens_than_pay(make_store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srmu.solver.frozen.tokens_a_batch", lambda _: 40)
    assert [tuple(group.output.shape[:2]) for group in make_store().get(range(6), [8, 16, 24])] == [
        (2, 8), (2, 16), (1, 24), (1, 24),
    ]  # fmt: skip


def test_kept_rows_own_their_memory(make_store) -> None:
    store = make_store()
    store.keep([0, 5, 0], limit_gb=1.0)
    for part in store._kept[0]:
        assert part.untyped_storage().nbytes() == part.numel() * part.element_size()


def test_what_is_released_is_computed_again_unless_it_is_shared(make_store, saved_family: SavedFamily) -> None:
    own, shared = (
        make_store(),
        FrozenStore(
            ROWS, make_store().replayer, max_length=32, sink_norm_ratio=4.0, device=torch.device("cpu"), kept={}
        ),
    )
    for store, left in ((own, 0), (shared, 2)):
        assert store.keep([0, 1, 0], limit_gb=1.0)
        store.release()
        assert len(store._kept) == left
        assert torch.equal(store.get([1])[0].token_ids[0, :5], ROWS.token_ids[1].long())


def test_behind_changed_matrices_entries_are_theirs_and_outputs_the_base_s(saved_family: SavedFamily) -> None:
    truncated = load_tiny(saved_family("llama"), torch.float64)
    replayer = Replayer(truncated, 3, ["mlp.down_proj.weight"])
    name = "layers.1.mlp.down_proj.weight"
    changed = {name: truncated.inner.get_parameter(name) * 2}

    def make(below: dict[str, torch.Tensor] | None) -> FrozenStore:
        return FrozenStore(ROWS, replayer, max_length=32, sink_norm_ratio=4.0, device=torch.device("cpu"), below=below)

    base, behind = make(None).get([0])[0], make(changed).get([0])[0]
    assert torch.equal(behind.output, base.output)
    assert not torch.equal(behind.entry.hidden, base.entry.hidden)
    # Other rows are replayed from there too, unless their outputs alone are asked for.
    again = make(changed).of_rows(ROWS).get([0])[0]
    assert torch.equal(again.entry.hidden, behind.entry.hidden)
    unread = make(changed).of_rows(ROWS, replayed=False).get([0])[0]
    assert torch.equal(unread.entry.hidden, base.entry.hidden)
    # The matrices are in the model for that pass alone.
    assert torch.equal(truncated.inner.get_parameter(name) * 2, changed[name])
