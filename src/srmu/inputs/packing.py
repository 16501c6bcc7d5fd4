"""Short documents side by side: what a row looks like must not depend on how the user cut the texts.

Where one side of a run has short rows and the other long ones, a token's position and what comes before it tell the
sides apart, and training learns that instead of what the texts say (docs/log). Packed, both sides have rows of one
length, and the same sentences give nearly the same rows whether each is a document of its own or all are one.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from srmu.inputs.corpora import Corpus
from srmu.inputs.documents import Document

_ENCODE_AT_ONCE = 256
# A separator of its own (a line break, an end of text) was measured to be learned in place of the texts.
SEPARATOR = " "


def pack_documents(corpus: Corpus, tokenizer: Any, max_length: int) -> Corpus:
    """The corpus with short plain documents joined by a space, in order, as many per row as fit.

    Chats, and documents of which the answer alone counts, are left as they are; they end a row.

    Args:
        corpus: The documents.
        tokenizer: A Transformers tokenizer.
        max_length: Longest row, in tokens, special tokens included.

    Returns:
        A corpus of the same source and hash; the number of its documents is that of the packed ones.
    """
    room = max_length - tokenizer.num_special_tokens_to_add(pair=False)
    packed: list[Document] = []
    used = room
    for document, length in zip(corpus.documents, _lengths(corpus.documents, tokenizer), strict=True):
        if length is None:
            packed.append(document)
            used = room
        elif packed and used + length <= room:
            packed[-1] = replace(packed[-1], text=f"{packed[-1].text}{SEPARATOR}{document.text}")
            used += length
        else:
            packed.append(document)
            used = length
    return replace(corpus, documents=tuple(packed))


def _lengths(documents: Sequence[Document], tokenizer: Any) -> list[int | None]:
    """Tokens of each document where it follows another one; none where it must be a row of its own."""
    lengths: list[int | None] = []
    for start in range(0, len(documents), _ENCODE_AT_ONCE):
        some = documents[start : start + _ENCODE_AT_ONCE]
        plain = [SEPARATOR + document.as_text() for document in some if _is_plain(document)]
        encoded = iter(tokenizer(plain, add_special_tokens=False, verbose=False)["input_ids"] if plain else [])
        lengths += [len(next(encoded)) if _is_plain(document) else None for document in some]
    return lengths


def _is_plain(document: Document) -> bool:
    return document.messages is None and document.answer_start is None
