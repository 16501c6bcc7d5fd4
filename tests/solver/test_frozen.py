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
        replayer = Replayer(load_tiny(saved_family("llama"), dtype), 1)
        return FrozenStore(ROWS, replayer, row_tokens=32, sink_norm_ratio=ratio, device=torch.device("cpu"))

    return make


def test_rows_are_grouped_by_padded_length(make_store) -> None:
    groups = make_store().get([0, 1, 2, 3, 4, 5])
    assert [tuple(group.entry.shape) for group in groups] == [(2, 8, 32), (2, 16, 32), (2, 24, 32)]
    assert [group.token_mask.sum(dim=1).tolist() for group in groups] == [[4, 7], [13, 8], [20, 16]]


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
    for row_ids in ([5, 0], [3, 1, 2], [4]):
        for one, other in zip(store.get(row_ids), fresh.get(row_ids), strict=True):
            assert torch.equal(one.token_mask, other.token_mask)
            for kept, computed in ((one.entry, other.entry), (one.output, other.output)):
                assert torch.allclose(kept, computed, rtol=1e-5, atol=1e-6)


def test_a_row_has_the_same_bits_whichever_rows_are_asked_for_with_it(make_store) -> None:
    store = make_store()
    store.keep([0, 1, 2, 3, 4, 5, 0], limit_gb=1.0)
    assert torch.equal(store.get([5])[0].output[0], store.get([0, 5])[0].output[1])


def test_rows_are_kept_only_if_they_are_read_again_and_fit(make_store) -> None:
    store = make_store()
    assert not store.keep([0, 1, 2], limit_gb=1.0)
    assert store.num_bytes([0, 1]) == (24 + 8) * 2 * 32 * 4
    assert not store.keep([0, 0, 1], limit_gb=(store.num_bytes([0, 1]) - 1) / GIB)
    assert not store.keep([0, 0, 1], limit_gb=0.0)
    assert store.keep([0, 0, 1], limit_gb=store.num_bytes([0, 1]) / GIB)


def test_kept_rows_own_their_memory(make_store) -> None:
    store = make_store()
    store.keep([0, 5, 0], limit_gb=1.0)
    entry = store._kept[0][0]
    assert entry.untyped_storage().nbytes() == entry.numel() * entry.element_size()
