"""Texts from files, folders, hub data sets and chat records.

What counts as one document:

- `.jsonl`: a line; a string, or an object with the text field or with `messages`.
- `.json`: an item of the list, or of the one list of the object; an object with the field is one document.
- `.txt`: a paragraph, set off by blank lines; a file without blank lines is one document.
- `.parquet` and hub data sets: a row.
- a folder: the documents of all such files below it, in the order of their paths; hidden and other files are
  skipped.

`.jsonl`, `.json` and `.txt` may be compressed (`.gz`). The text of a record is a field, or a template of several.
A record with `messages` is a chat document unless it also has the text field; a text field that holds a list is
read as messages too. Empty texts are dropped and counted.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from srmu.errors import InputError
from srmu.inputs.readers import CHAT_FIELD, Records, missing_field, read_records
from srmu.inputs.text_field import TextField, parse_text_field


class Message(NamedTuple):
    """One message of a chat."""

    role: str
    content: str


@dataclass(frozen=True)
class Document:
    """One text, or one chat; the other is None."""

    text: str | None = None
    messages: tuple[Message, ...] | None = None

    def as_text(self) -> str:
        """The text, or the contents of the messages, one below the other."""
        if self.messages is None:
            return self.text or ""
        return "\n".join(message.content for message in self.messages)

    def canonical_bytes(self) -> bytes:
        """JSON in UTF-8 on one line: equal for equal documents only."""
        content = self.text if self.messages is None else self.messages
        return json.dumps(content, ensure_ascii=False).encode()


@dataclass(frozen=True)
class Corpus:
    """The documents of one side of a run, in reading order.

    Attributes:
        documents: Never empty texts.
        source: Where they came from, for people.
        sha256: Hash of the documents' canonical bytes; equal for the same documents from any kind of source.
        num_dropped: Empty documents that were left out.
    """

    documents: tuple[Document, ...]
    source: str
    sha256: str
    num_dropped: int


def make_corpus(documents: Sequence[Document], source: str, num_dropped: int = 0) -> Corpus:
    """A corpus of these documents, with its hash."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document.canonical_bytes() + b"\n")
    return Corpus(tuple(documents), source, digest.hexdigest(), num_dropped)


def read_corpus(sources: Sequence[str], *, text_field: str = "text", role: str) -> Corpus:
    """Read files, folders and hub data sets into one corpus, in the order given.

    Args:
        sources: Paths, or `hub:NAME[:CONFIG[:SPLIT]]` (split `train` if none is given; needs the network).
        text_field: Field that holds the text in records, or a template of several (see `text_field.py`).
        role: `forget` or `retain`; stands in error messages only.

    Raises:
        InputError: A source is missing, unreadable, malformed (with its line) or without any text; or the template is.
    """
    if not sources:
        raise InputError(f"No {role} texts were given. Name a file, a folder or a hub data set with --{role}.")
    field = parse_text_field(text_field)
    documents: list[Document] = []
    num_dropped = 0
    for source in sources:
        where = f"{role.capitalize()} texts {source!r}"
        kept, dropped = _keep_texts(read_records(source, where, field), field, where)
        documents += kept
        num_dropped += dropped
    return make_corpus(documents, ", ".join(sources), num_dropped)


def corpus_from_strings(texts: Sequence[Any], role: str) -> Corpus:
    """Texts given in the call itself: strings, or lists of messages.

    Raises:
        InputError: One of them is something else, or none holds any text.
    """
    where = f"{role.capitalize()} texts given in the call"
    if isinstance(texts, str):
        raise InputError(f"{where} are one string. Put it in a list.")
    records = ((f"{where}, item {number}", text) for number, text in enumerate(texts, 1))
    documents, num_dropped = _keep_texts(records, TextField(("text",)), where)
    return make_corpus(documents, "texts given in the call", num_dropped)


def _keep_texts(records: Records, text_field: TextField, where: str) -> tuple[list[Document], int]:
    """The documents that hold text, and the number of those that do not."""
    documents = [_parse_record(record, place, text_field) for place, record in records]
    kept = [document for document in documents if document.as_text().strip()]
    if not documents:
        raise InputError(f"{where} hold no document. Give at least one text.")
    if not kept:
        found = "the only document is" if len(documents) == 1 else f"all {len(documents)} documents are"
        raise InputError(f"{where} hold no text: {found} empty. Give at least one text.")
    return kept, len(documents) - len(kept)


def _parse_record(record: Any, place: str, text_field: TextField) -> Document:
    content = record
    if isinstance(record, dict):
        missing = text_field.first_missing(record)
        if missing is not None and CHAT_FIELD not in record:
            raise missing_field(place, missing, list(record))
        content = None if missing is not None else text_field.content(record, place)
        if content is None:
            content = record.get(CHAT_FIELD)
        if content is None:
            content = ""
    if isinstance(content, str):
        return Document(text=_checked(content, place))
    if isinstance(content, list):
        return Document(messages=tuple(_parse_message(message, place) for message in content))
    raise InputError(f"{place}: found {type(content).__name__}, expected text or a list of messages. Correct it.")


def _parse_message(message: Any, place: str) -> Message:
    if not isinstance(message, dict):
        raise InputError(f"{place}: a message is {type(message).__name__}, expected an object with role and content.")
    for key in Message._fields:
        if not isinstance(message.get(key), str):
            fields = ", ".join(map(repr, message)) or "nothing"
            raise InputError(
                f"{place}: a message has no {key!r} that is text; it has {fields}. Give it role and content."
            )
    return Message(_checked(message["role"], place), _checked(message["content"], place))


def _checked(text: str, place: str) -> str:
    """Refuse half surrogate pairs (legal in JSON), which no tokenizer takes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{place}: character {error.start} is half a surrogate pair, not text. Correct that record."
        ) from None
    return text
