"""Prompts and continuations as token ids, by the rules of lm-evaluation-harness 0.4."""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from srmu.errors import InputError
from srmu.inputs.chat_template import apply_template


def wrap_in_chat(tokenizer: PreTrainedTokenizerBase, prompt: str) -> str:
    """The prompt as a user's message, up to where the answer begins.

    Raises:
        InputError: If the tokenizer has no chat template.
    """
    if not tokenizer.chat_template:
        raise InputError("Chat form was asked for, but the tokenizer has no chat template. Leave --chat away.")
    messages = [{"role": "user", "content": prompt}]
    return apply_template(tokenizer, messages, add_generation_prompt=True)


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids with the tokenizer's own special tokens, unless the text itself begins with the BOS text."""
    start = start_token_id(tokenizer)
    begins_with_start = start is not None and text.startswith(str(tokenizer.decode(start)))
    return list(tokenizer.encode(text, add_special_tokens=not begins_with_start))


def start_token_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """What is used for an empty context: BOS, or else EOS, if there is one."""
    return tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id


def encode_pairs(
    tokenizer: PreTrainedTokenizerBase, context: str, continuations: Sequence[str]
) -> list[tuple[list[int], list[int]]]:
    """Split context + continuation into token ids as lm-evaluation-harness does (`TemplateLM._encode_pair`).

    Trailing space of the context goes to the continuation, both are encoded together, and the continuation is what
    comes after as many tokens as the context alone has.

    Raises:
        InputError: If a continuation has no token of its own.
    """
    stripped = context.rstrip()
    moved = context[len(stripped) :]
    context_ids = encode(tokenizer, stripped) if stripped else []
    pairs = []
    for continuation in continuations:
        if context_ids:
            pair = (context_ids, encode(tokenizer, stripped + moved + continuation)[len(context_ids) :])
        else:
            pair = _after_start(tokenizer, moved + continuation)
        if not pair[1]:
            raise InputError(
                f"The answer {continuation!r} has no token of its own after {context[-60:]!r}. Correct that question."
            )
        pairs.append(pair)
    return pairs


def _after_start(tokenizer: PreTrainedTokenizerBase, continuation: str) -> tuple[list[int], list[int]]:
    """The continuation at the beginning of text."""
    token_ids = list(tokenizer.encode(continuation, add_special_tokens=False))
    start = start_token_id(tokenizer)
    if start is None or token_ids[:1] == [start]:
        return token_ids[:1], token_ids[1:]
    return [start], token_ids
