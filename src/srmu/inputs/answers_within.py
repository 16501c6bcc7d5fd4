"""Which tokens of a document are its answer, so that forgetting counts there, as TRL's `completion_only_loss` does."""

import json
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from srmu.inputs.chat_template import apply_template
from srmu.inputs.documents import Document, Message

# Characters of the private-use area, which ordinary conversations do not contain.
_MARK = "\ue000srmu{}\ue001"


def answer_tokens(document: Document, ids: Sequence[int], tokenizer: Any, *, chat: bool) -> list[bool] | None:
    """Say of each token whether it belongs to the answer.

    Args:
        document: The document.
        ids: Its tokens, at full length.
        tokenizer: The one that made them.
        chat: Whether they were made by the chat template.

    Returns:
        One bool per token, at least one of them true; None where the whole document counts, because it has no answer or
        its chat template changes what the assistant says.
    """
    if chat or document.messages is not None:
        text, spans = _chat_spans(document, tokenizer)
        special = False
        if spans and list(tokenizer.encode(text, add_special_tokens=False)) != list(ids):
            return None
    else:
        text, special = document.text or "", True
        spans = [] if document.answer_start is None else [(document.answer_start, len(text))]
    counted = [False] * len(ids)
    for start, end in spans:
        first = _tokens_before(text[:start], ids, tokenizer, special)
        last = len(ids) if end == len(text) else _tokens_before(text[:end], ids, tokenizer, special)
        counted[first:last] = [True] * (last - first)
    return counted if any(counted) else None


def _tokens_before(text: str, ids: Sequence[int], tokenizer: Any, special: bool) -> int:
    """How many tokens lie wholly in the beginning of the text: those that it has in common with the whole."""
    beginning = tokenizer.encode(text, add_special_tokens=special) if text else []
    pairs = zip(beginning, ids, strict=False)
    return next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(beginning), len(ids)))


def _chat_spans(document: Document, tokenizer: Any) -> tuple[str, list[tuple[int, int]]]:
    """The conversation as the template writes it, and where the answers are in it; none if they cannot be found.

    The template is applied twice, once with a mark in place of each answer, and the marks' places are the answers'.
    """
    messages, first = document.as_chat(), (document.answer_start or 0) if document.messages is not None else 0
    counted = [
        place
        for place, message in enumerate(messages)
        if place >= first and message.role == "assistant" and message.content.strip()
    ]
    if not counted:
        return "", []
    text = render(messages, document.tools, tokenizer)
    marked = list(messages)
    for place in counted:
        marked[place] = marked[place]._replace(content=_MARK.format(place))
    rest, pieces = render(marked, document.tools, tokenizer), []
    for place in counted:
        before, mark, rest = rest.partition(_MARK.format(place))
        if not mark:
            return text, []
        pieces.append(before)
    for contents in ([messages[place].content for place in counted], [messages[p].content.strip() for p in counted]):
        parts = [part for pair in zip(pieces, contents, strict=True) for part in pair]
        if "".join(parts) + rest == text:
            ends = list(accumulate(map(len, parts)))
            return text, list(zip(ends[::2], ends[1::2], strict=True))
    return text, []


def render(messages: Sequence[Message], tools: str, tokenizer: Any) -> str:
    """A conversation as the chat template writes it."""
    arguments = chat_arguments(messages, tools)
    return apply_template(tokenizer, arguments.pop("conversation"), **arguments)


def chat_arguments(messages: Sequence[Message], tools: str) -> dict[str, Any]:
    """The conversation and its tools as arguments of `apply_chat_template`."""
    conversation = [message.as_dict() for message in messages]
    return {"conversation": conversation, **({"tools": json.loads(tools)} if tools else {})}
