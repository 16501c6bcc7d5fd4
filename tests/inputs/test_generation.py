"""Continuing token rows."""

from collections.abc import Callable
from pathlib import Path

from transformers import AutoModelForCausalLM

from srmu.inputs.generation import continue_rows, max_positions


def test_no_more_is_written_than_the_model_has_positions_for(saved_family: Callable[..., Path]) -> None:
    # Learned positions: one too many is an error inside the model.
    model = AutoModelForCausalLM.from_pretrained(saved_family("gpt2")).eval()
    most = max_positions(model)
    rows = [[5] * (most - 3), [6, 7]]
    written = continue_rows(model, rows, max_new_tokens=10**6, stop_ids=frozenset())
    assert [len(row) for row in written] == [3, 3]
    assert continue_rows(model, [[5] * most], max_new_tokens=4, stop_ids=frozenset()) == [[]]
