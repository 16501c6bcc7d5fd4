"""What a model answers: greedy completions of prompts."""

from collections.abc import Callable, Sequence

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.errors import InputError
from srmu.evaluation.encoding import encode, start_token_id, wrap_in_chat
from srmu.evaluation.logits import check_token_ids
from srmu.inputs.generation import continue_rows, max_positions, stop_token_ids
from srmu.runtime.processes import own_part, united


def complete(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[str],
    *,
    max_new_tokens: int = 24,
    chat: bool = False,
    batch_rows: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> list[str]:
    """Continue each prompt with the most likely tokens.

    Args:
        model: In eval mode; its generation config is not used, except to know where texts end.
        tokenizer: Its padding side and pad token play no part.
        prompts: A prompt too long for the model loses tokens from the left.
        max_new_tokens: Most tokens of a completion.
        chat: Ask in the tokenizer's chat template.
        batch_rows: Prompts that are continued together.
        progress: Called with prompts done and prompts in all.

    Returns:
        The completions alone, without special tokens.

    Raises:
        InputError: If chat form is asked for without a chat template, or the model is too short for a prompt.
    """
    room = max_positions(model) - max_new_tokens
    if room < 1:
        raise InputError(
            f"max_new_tokens={max_new_tokens} leaves no room for a prompt: the model has {max_positions(model)} "
            "positions. Ask for fewer."
        )
    stops = stop_token_ids(model, tokenizer.eos_token_id)
    rows = []
    for prompt in prompts:
        token_ids = encode(tokenizer, wrap_in_chat(tokenizer, prompt) if chat else prompt)
        rows.append(token_ids[-room:] or [start_token_id(tokenizer) or 0])
    if rows:
        check_token_ids(model, torch.tensor([token for row in rows for token in row]))
    by_length = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    batches = own_part([by_length[start : start + batch_rows] for start in range(0, len(rows), batch_rows)])
    answers: dict[int, str] = {}
    for numbers in batches:
        written = continue_rows(
            model, [rows[number] for number in numbers], max_new_tokens=max_new_tokens, stop_ids=stops
        )
        for number, token_ids in zip(numbers, written, strict=True):
            answers[number] = str(tokenizer.decode(token_ids, skip_special_tokens=True))
        if progress:
            progress(len(answers), sum(map(len, batches)))
    answers = united(answers)
    return [answers[number] for number in range(len(rows))]
