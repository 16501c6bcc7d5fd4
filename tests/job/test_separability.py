"""Separability and importance maps, layer by layer, against direct computation on whole models."""

import dataclasses

import numpy as np
import pytest
import torch

from families import FAMILIES
from srmu.config.groups import TargetConfig
from srmu.errors import InputError
from srmu.inputs.rows import TokenRows
from srmu.job.separability import area_under_curve, summarize_layers, summarize_map
from srmu.objective.importance import importance_map
from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.truncate import load_truncated

EVERY_TOKEN = TargetConfig(skip_sinks=False)


def rows_of(low, high, count, seed):
    generator = torch.Generator().manual_seed(seed)
    lengths = [6 + number % 5 for number in range(count)]
    rows = tuple(torch.randint(low, high, (length,), generator=generator, dtype=torch.int32) for length in lengths)
    return TokenRows(rows, tuple(range(count)))


@pytest.fixture(scope="module")
def whole(saved_family):
    checkpoint = open_checkpoint(saved_family("llama"))
    return load_truncated(checkpoint, 5, dtype=torch.float32, device=torch.device("cpu"))


def test_the_area_under_the_curve_counts_pairs_and_half_of_ties():
    positive, negative = np.array([3.0, 1.0, 2.0]), np.array([0.0, 2.0])
    pairs = [(p > n) + 0.5 * (p == n) for p in positive for n in negative]
    assert area_under_curve(positive, negative) == pytest.approx(sum(pairs) / 6)
    assert area_under_curve(negative, negative) == 0.5


def test_disjoint_vocabularies_are_told_apart_and_one_vocabulary_is_not(whole):
    apart = summarize_layers(whole, rows_of(6, 20, 24, 1), rows_of(60, 90, 24, 2), config=EVERY_TOKEN)
    mixed = summarize_layers(whole, rows_of(6, 90, 24, 3), rows_of(6, 90, 24, 4), config=EVERY_TOKEN)
    assert apart[0].auc > 0.8
    assert apart[0].auc_rows > 0.95
    assert all(abs(layer.auc - 0.5) < 0.15 for layer in mixed)
    assert apart[0].fisher > 10 * mixed[0].fisher


def test_the_same_texts_on_both_sides_are_not_separable_at_all(whole):
    rows = rows_of(6, 90, 16, 5)
    layers = summarize_layers(whole, rows, rows)
    assert [layer.auc for layer in layers] == [0.5] * 5
    assert {layer.fisher for layer in layers} == {0.0}


def test_maps_are_those_of_the_residual_stream_of_the_whole_model(saved_family):
    path = saved_family("llama")
    truncated = load_truncated(open_checkpoint(path), 5, dtype=torch.float32, device=torch.device("cpu"))
    forget, retain = rows_of(6, 40, 2, 6), rows_of(30, 90, 2, 7)
    layers = summarize_layers(truncated, forget, retain, config=EVERY_TOKEN)
    model = FAMILIES["llama"].build()
    # One of two rows trains on each side; whichever it is, the map must be that of one pair.
    expected = []
    for f in forget.token_ids:
        for r in retain.token_ids:
            with torch.no_grad():
                sides = [
                    model(input_ids=row[None].long(), output_hidden_states=True).hidden_states[3][0] for row in (f, r)
                ]
            means = [side.abs().mean(0) for side in sides]
            expected.append(summarize_map(importance_map(*means, "ratio", epsilon=1e-6, difference_lambda=1.0)))
    found = layers[2].maps["ratio"]
    assert any(
        one.effective_dimension == pytest.approx(found.effective_dimension, rel=1e-4)
        and [feature for feature, _ in one.top_features] == [feature for feature, _ in found.top_features]
        for one in expected
    )


def test_padding_and_batching_change_nothing(whole, monkeypatch):
    forget, retain = rows_of(6, 40, 10, 8), rows_of(30, 90, 12, 9)
    together = summarize_layers(whole, forget, retain)
    monkeypatch.setattr("srmu.job.separability._BATCH_TOKENS", 1)
    for one, other in zip(together, summarize_layers(whole, forget, retain), strict=True):
        assert one.auc == pytest.approx(other.auc, abs=1e-6)
        assert one.fisher == pytest.approx(other.fisher, rel=1e-4)
        assert one.maps["ratio"].effective_dimension == pytest.approx(other.maps["ratio"].effective_dimension, rel=1e-4)


def test_a_map_is_summarised_as_counted_by_hand():
    summary = summarize_map(torch.tensor([0.0, 0.05, 0.5, 1.0]))
    assert summary.histogram == (2, 0, 0, 0, 0, 1, 0, 0, 0, 1)
    assert summary.share_of_zeros == 0.25
    assert summary.top_features[0] == (3, 1.0)
    assert summary.top_features[1] == (2, 0.5)
    squares = [0.0, 0.0025, 0.25, 1.0]
    assert summary.effective_dimension == pytest.approx(sum(squares) ** 2 / sum(s**2 for s in squares))


def test_an_even_map_has_all_its_features_as_effective_dimension():
    assert summarize_map(torch.ones(32)).effective_dimension == pytest.approx(32)


def test_a_massive_activation_is_flagged_where_it_arises(saved_family):
    truncated = load_truncated(
        open_checkpoint(saved_family("llama")), 5, dtype=torch.float32, device=torch.device("cpu")
    )
    rows = rows_of(6, 40, 6, 10), rows_of(30, 90, 6, 11)
    assert not any(layer.massive for layer in summarize_layers(truncated, *rows))
    add = torch.zeros(32)
    add[7] = 1e7
    handle = truncated.layers[1].register_forward_hook(lambda _m, _i, out: out + add)
    layers = summarize_layers(truncated, *rows, config=EVERY_TOKEN)
    handle.remove()
    assert [bool(layer.massive) for layer in layers[:2]] == [False, True]
    (feature,) = layers[1].massive
    assert feature.feature == 7
    assert feature.magnitude == pytest.approx(1e7, rel=1e-3)
    assert feature.counted


def test_a_massive_activation_of_a_sink_does_not_count_as_entering_the_map(saved_family):
    truncated = load_truncated(
        open_checkpoint(saved_family("llama")), 5, dtype=torch.float32, device=torch.device("cpu")
    )

    def first_token(_module, _inputs, out):
        out = out.clone()
        out[:, 0, 7] += 1e7
        return out

    handle = truncated.layers[4].register_forward_hook(first_token)
    layers = summarize_layers(truncated, rows_of(6, 40, 6, 10), rows_of(30, 90, 6, 11))
    handle.remove()
    assert [feature.counted for feature in layers[4].massive] == [False]


def test_a_side_of_which_nothing_can_be_held_out_is_refused(whole):
    with pytest.raises(InputError, match="two different forget texts"):
        summarize_layers(whole, rows_of(6, 40, 1, 1), rows_of(6, 40, 4, 1))


def test_the_summary_is_json(whole):
    import json

    layers = summarize_layers(whole, rows_of(6, 40, 4, 1), rows_of(30, 90, 4, 2))
    assert json.loads(json.dumps([dataclasses.asdict(layer) for layer in layers], allow_nan=False))
