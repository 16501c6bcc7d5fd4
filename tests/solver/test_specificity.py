"""Weights of forget tokens, counted by hand."""

import pytest
import torch

from srmu.inputs.rows import TokenRows
from srmu.solver.specificity import LEAST_WEIGHT, token_weights


def rows(*ids: list[int]) -> TokenRows:
    return TokenRows(tuple(torch.tensor(row, dtype=torch.int32) for row in ids), tuple(range(len(ids))))


def test_weights_are_counted_out_by_hand() -> None:
    weights = token_weights(rows([1, 1, 2], [2, 3]), [rows([2, 2, 4, 4]), rows([5, 5, 5, 5])])
    # Token 1: 2 of 5 against 0.5 of 8; token 2: 2 of 5 against 2.5 of 8; token 4: none against 2.5 of 8.
    for token, (forget, retain) in {1: (2 / 5, 0.5 / 8), 2: (2 / 5, 2.5 / 8)}.items():
        assert weights[token] == pytest.approx(((forget - retain) / (forget + retain)) ** 0.5)
    assert weights[4] == pytest.approx(LEAST_WEIGHT)
    assert len(weights) == 6


def test_a_token_that_both_sides_have_alike_keeps_the_least_weight() -> None:
    same = rows([7, 8] * 50)
    assert token_weights(same, [same])[7:].tolist() == pytest.approx([LEAST_WEIGHT] * 2)


def test_tokens_of_the_forget_texts_alone_weigh_nearly_one() -> None:
    weights = token_weights(rows([1, 2, 3] * 100), [rows([4, 5, 6] * 100)])
    assert weights[1:4].min() > 0.99
    assert weights[4:].max() == pytest.approx(LEAST_WEIGHT)
