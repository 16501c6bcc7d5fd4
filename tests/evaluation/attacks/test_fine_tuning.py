"""The attacker's loss: padding changes nothing."""

from collections.abc import Callable
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM

from srmu.evaluation.attacks.fine_tuning import _loss


def test_a_padded_row_counts_as_it_does_alone(saved_family: Callable[..., Path]) -> None:
    model = AutoModelForCausalLM.from_pretrained(saved_family("llama"), dtype=torch.float64).eval()
    rows = [[5, 9, 3, 7, 11, 2], [4, 8, 6]]
    with torch.no_grad():
        alone, together = [float(_loss(model, [row])) for row in rows], float(_loss(model, rows))
    predicted = [len(row) - 1 for row in rows]
    mean = sum(loss * count for loss, count in zip(alone, predicted, strict=True)) / sum(predicted)
    assert abs(together - mean) < 1e-10
