"""Documents as rows of tokens: split, bucketed by length, padded, and held out.

A row is at most `max_length` long. A longer document becomes several rows of nearly equal length, in order,
with nothing cut away. The tokenizer adds the special tokens it adds by default; what it puts in front (BOS)
is repeated in front of every row of the document. Its padding and truncation settings are never used.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor

from srmu.errors import InputError
from srmu.inputs.answers_within import answer_tokens, chat_arguments
from srmu.inputs.corpora import Corpus, Document, make_corpus
from srmu.objective.tensors import TokenBatch

# With the first token left out as an attention sink, a shorter row has nothing to count.
_MIN_LENGTH = 2
# Fewest tokens of a document in a row, so that a balanced split never leaves a row below the minimum.
_MIN_ROOM = 3
_ENCODE_AT_ONCE = 256
# Below this many documents, rows are held out one by one.
_MIN_DOCUMENTS = 8


@dataclass(frozen=True, eq=False)
class TokenRows:
    """Rows of tokens in the order of their corpus.

    Attributes:
        token_ids: One int32 tensor `[length]` per row, of 2 tokens or more.
        document_ids: Position of each row's document in the corpus.
        num_dropped: Rows that were left out because they had fewer than 2 tokens, or nothing to count.
        counted: Of each row a bool tensor `[length]`, true where the token counts, or None where all do. None = all
            tokens of all rows count.
    """

    token_ids: tuple[Tensor, ...]
    document_ids: tuple[int, ...]
    num_dropped: int = 0
    counted: tuple[Tensor | None, ...] | None = None

    def __len__(self) -> int:
        return len(self.token_ids)

    @property
    def lengths(self) -> tuple[int, ...]:
        """Tokens in each row."""
        return tuple(len(row) for row in self.token_ids)

    def select(self, row_ids: Iterable[int]) -> "TokenRows":
        """These rows, in this order, with the document ids they had."""
        chosen = tuple(row_ids)
        return TokenRows(
            tuple(self.token_ids[row_id] for row_id in chosen),
            tuple(self.document_ids[row_id] for row_id in chosen),
            counted=None if self.counted is None else tuple(self.counted[row_id] for row_id in chosen),
        )


def tokenize_rows(
    corpus: Corpus,
    tokenizer: Any,
    *,
    max_length: int,
    long_documents: Literal["split", "cut"] = "split",
    chat: bool = False,
    vocab_size: int | None = None,
    answers_only: bool = False,
) -> TokenRows:
    """Turn documents into rows of at most `max_length` tokens.

    Conversations go through the tokenizer's chat template. With `chat`, so do questions with their answers, and plain
    texts, each as one user message: every template takes that, while many refuse a chat that begins with the assistant.

    Args:
        corpus: The documents.
        tokenizer: A Transformers tokenizer; it needs no pad token.
        max_length: Longest row, in tokens, special tokens included.
        long_documents: Split longer documents into rows, or cut them to their first `max_length` tokens.
        chat: Wrap plain texts in the chat template.
        vocab_size: Rows of the model's embedding; None skips the check.
        answers_only: Of documents with an answer, only its tokens count; rows without any of them are left out.

    Raises:
        InputError: The tokenizer has no chat template where one is needed, its template refuses a chat, it
            gives ids that the model does not have, `max_length` is too small, or no row is left.
    """
    prefix = _prefix(tokenizer, corpus.documents[0].as_text()[:1000])
    if max_length < len(prefix) + _MIN_ROOM:
        raise InputError(f"max_length={max_length!r} is too short for a row. Choose {len(prefix) + _MIN_ROOM} or more.")
    rows: list[Tensor] = []
    document_ids: list[int] = []
    counted: list[Tensor | None] = []
    num_dropped = 0
    for document_id, ids in enumerate(_encode(corpus, tokenizer, chat)):
        document = corpus.documents[document_id]
        marks = answer_tokens(document, ids, tokenizer, chat=chat) if answers_only else None
        for places in _pieces(ids, max_length, prefix, long_documents):
            piece = [token for part in places for token in ids[part]]
            marked = None if marks is None else [mark for part in places for mark in marks[part]]
            # The first token is an attention sink, which never counts.
            if len(piece) < _MIN_LENGTH or (marked is not None and not any(marked[1:])):
                num_dropped += 1
                continue
            rows.append(torch.tensor(piece, dtype=torch.int32))
            document_ids.append(document_id)
            counted.append(None if marked is None else torch.tensor(marked))
    if not rows:
        raise InputError(
            f"Texts of {corpus.source!r}: none of the {len(corpus.documents)} documents "
            f"has {_MIN_LENGTH} tokens or more. Give longer texts."
        )
    _check_vocabulary(rows, tokenizer, vocab_size)
    marks_any = any(row is not None for row in counted)
    return TokenRows(tuple(rows), tuple(document_ids), num_dropped, tuple(counted) if marks_any else None)


def bucket_length(length: int, max_length: int) -> int:
    """The padded length of a row of `length` tokens: few shapes occur, and little padding is computed.

    Multiples of 4 up to 128, of 8 up to 256, of 16 up to 512, then of 64; never more than `max_length`.

    Raises:
        ValueError: If `length` is not in 1 to `max_length`.
    """
    if not 1 <= length <= max_length:
        raise ValueError(f"length={length!r} is out of range. Choose 1 to {max_length}.")
    multiple = 4 if length <= 128 else 8 if length <= 256 else 16 if length <= 512 else 64
    return min(-(-length // multiple) * multiple, max_length)


def pad_batch(rows: TokenRows, row_ids: Sequence[int], length: int | None = None, pad_id: int = 0) -> TokenBatch:
    """Put rows side by side, padded on the right whatever side the tokenizer prefers.

    Args:
        rows: Where the rows are taken from.
        row_ids: Positions in `rows`, at least one.
        length: Length of the batch in tokens; None = that of its longest row.
        pad_id: Any valid token id.

    Raises:
        ValueError: If a row is longer than `length`.
    """
    longest = max(len(rows.token_ids[row_id]) for row_id in row_ids)
    length = longest if length is None else length
    if longest > length:
        raise ValueError(f"length={length!r} is too short: the longest row of the batch has {longest} tokens.")
    token_ids = torch.full((len(row_ids), length), pad_id, dtype=torch.int64)
    real_mask = torch.zeros(len(row_ids), length, dtype=torch.bool)
    for place, row_id in enumerate(row_ids):
        row = rows.token_ids[row_id]
        token_ids[place, : len(row)] = row
        real_mask[place, : len(row)] = True
    return TokenBatch(token_ids=token_ids, real_mask=real_mask, row_ids=tuple(row_ids))


def counted_mask(rows: TokenRows, row_ids: Sequence[int], length: int) -> Tensor | None:
    """Which tokens are marked as counted, `[batch, length]` bool, false for padding; None = all of them count."""
    marks = [None if rows.counted is None else rows.counted[row_id] for row_id in row_ids]
    if all(row is None for row in marks):
        return None
    mask = torch.zeros(len(row_ids), length, dtype=torch.bool)
    for place, (row_id, row) in enumerate(zip(row_ids, marks, strict=True)):
        mask[place, : len(rows.token_ids[row_id])] = True if row is None else row
    return mask


def split_heldout(corpus: Corpus, share: float, seed: int, *, at_most: int = 64) -> tuple[Corpus, Corpus]:
    """Hold some documents out of training, chosen by their content and the seed, not by their order.

    Equal documents stay on one side. At least one document is held out where there are two different ones.

    Args:
        corpus: The documents.
        share: Share of the documents to hold out, 0 to below 1; 0 holds none out.
        seed: Another seed holds out others.
        at_most: Most documents to hold out (a text that is repeated more often than that may exceed it).

    Returns:
        The training corpus and the held-out one, which has no documents where there is only one text.
    """
    contents = [document.canonical_bytes() for document in corpus.documents]
    target = _num_heldout(len(contents), share, at_most)
    chosen = set(_pick(_groups(contents, seed), target, always=True))
    sides = [
        [document for position, document in enumerate(corpus.documents) if (position in chosen) == heldout]
        for heldout in (False, True)
    ]
    return (
        make_corpus(sides[0], corpus.source, corpus.num_dropped),
        make_corpus(sides[1], f"{corpus.source} (held out)"),
    )


def split_rows(rows: TokenRows, share: float, at_most: int, seed: int) -> tuple[TokenRows, TokenRows]:
    """Hold some rows out of training: whole documents where there are 8 or more, single rows otherwise.

    Single rows too where every document has more rows than are to be held out. Equal documents (or rows) stay
    on one side.

    Args:
        rows: All rows.
        share: Share of the rows to hold out, 0 to below 1; 0 holds none out.
        at_most: Most rows to hold out.
        seed: Another seed holds out others.

    Returns:
        The training rows and the held-out ones; of one row, none is held out.
    """
    row_bytes = [row.numpy().tobytes() for row in rows.token_ids]
    target = _num_heldout(len(rows), share, at_most)
    chosen: list[int] = []
    if len(set(rows.document_ids)) >= _MIN_DOCUMENTS:
        documents: dict[int, Any] = defaultdict(hashlib.sha256)
        for document_id, content in zip(rows.document_ids, row_bytes, strict=True):
            documents[document_id].update(content)
        contents = [documents[document_id].digest() for document_id in rows.document_ids]
        chosen = _pick(_groups(contents, seed), target, always=False)
    heldout = set(chosen or _pick(_groups(row_bytes, seed), target, always=True))
    training = rows.select(row_id for row_id in range(len(rows)) if row_id not in heldout)
    return replace(training, num_dropped=rows.num_dropped), rows.select(sorted(heldout))


def _prefix(tokenizer: Any, text: str) -> list[int]:
    """The special tokens that the tokenizer puts in front of a text."""
    marked, bare = (_token_ids(tokenizer, [text], add_special_tokens=marks)[0] for marks in (True, False))
    # From the right, so that a text of one special token does not hide the one in front of it.
    for start in range(len(marked) - len(bare), 0, -1):
        if marked[start : start + len(bare)] == bare:
            return marked[:start]
    return []


def _encode(corpus: Corpus, tokenizer: Any, chat: bool) -> Iterator[list[int]]:
    """Token ids of each document, special tokens included, at full length."""
    for start in range(0, len(corpus.documents), _ENCODE_AT_ONCE):
        documents = corpus.documents[start : start + _ENCODE_AT_ONCE]
        plain = [document.text or "" for document in documents if document.messages is None and not chat]
        encoded = iter(_token_ids(tokenizer, plain, add_special_tokens=True) if plain else [])
        for position, document in enumerate(documents, start):
            if document.messages is None and not chat:
                yield next(encoded)
            else:
                yield _chat_ids(document, tokenizer, f"Texts of {corpus.source!r}, document {position + 1}")


def _token_ids(tokenizer: Any, texts: list[str], *, add_special_tokens: bool) -> list[list[int]]:
    # verbose=False: rows are split here, so the warning about the model's longest sequence would mislead.
    encoded = tokenizer(
        texts,
        add_special_tokens=add_special_tokens,
        padding=False,
        truncation=False,
        return_attention_mask=False,
        verbose=False,
    )
    ids: list[list[int]] = encoded["input_ids"]
    return ids


def _chat_ids(document: Document, tokenizer: Any, place: str) -> list[int]:
    if getattr(tokenizer, "chat_template", None) is None:
        raise InputError(
            f"{place}: chats need a chat template, and this tokenizer has none. "
            "Give plain texts without --chat, or a model with a chat template."
        )
    try:
        encoded = tokenizer.apply_chat_template(
            **chat_arguments(document.as_chat(), document.tools),
            tokenize=True,
            return_dict=True,
            tokenizer_kwargs={"verbose": False},
        )
    except Exception as error:  # templates are programs: jinja2's errors, and any other they raise
        reason = " ".join(str(error).split()).rstrip(".")
        raise InputError(
            f"{place}: the tokenizer's chat template refuses it ({reason}). Correct the messages."
        ) from error
    ids: list[int] = encoded["input_ids"]
    return ids


def _pieces(
    ids: list[int], max_length: int, prefix: list[int], long_documents: Literal["split", "cut"]
) -> list[tuple[slice, slice]]:
    """The parts of a document that make its rows: its prefix, repeated, and one of several nearly equal pieces."""
    if len(ids) <= max_length or long_documents == "cut":
        return [(slice(0, 0), slice(0, max_length))]
    front = len(prefix) if ids[: len(prefix)] == prefix else 0
    length = len(ids) - front
    num_pieces = -(-length // (max_length - front))
    bounds = [front + piece * length // num_pieces for piece in range(num_pieces + 1)]
    return [(slice(0, front), slice(start, end)) for start, end in pairwise(bounds)]


def _check_vocabulary(rows: list[Tensor], tokenizer: Any, vocab_size: int | None) -> None:
    largest = max(int(row.max()) for row in rows)
    if vocab_size is not None and largest >= vocab_size:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise InputError(
            f"The tokenizer does not fit the model: it gives id {largest} for {token!r}, "
            f"and the model has {vocab_size} tokens. Use the tokenizer that came with the model."
        )


def _num_heldout(total: int, share: float, at_most: int) -> int:
    if not 0 <= share < 1:
        raise ValueError(f"share={share!r} is out of range. Choose 0 to below 1.")
    return min(max(1, round(share * total)), at_most, total - 1) if share > 0 else 0


def _groups(contents: Sequence[bytes], seed: int) -> list[list[int]]:
    """Positions of equal content, in an order drawn from content and seed alone."""
    groups: dict[bytes, list[int]] = defaultdict(list)
    for position, content in enumerate(contents):
        groups[hashlib.sha256(f"{seed}:".encode() + content).digest()].append(position)
    return [groups[key] for key in sorted(groups)]


def _pick(groups: list[list[int]], target: int, *, always: bool) -> list[int]:
    """Positions of whole groups, at most `target` in all, and never every group.

    With `always`, the smallest group is taken where none is small enough.
    """
    chosen: list[int] = []
    for group in groups:
        if len(chosen) + len(group) <= target:
            chosen += group
    if not chosen and always and target > 0 and len(groups) > 1:
        chosen = min(groups, key=len)
    return chosen
