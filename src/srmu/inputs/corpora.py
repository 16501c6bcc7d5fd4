"""Texts from files, folders, hub data sets and Python objects, as one corpus (docs/how-to/formats.md).

What counts as one document:

- `.jsonl`: a line; a string, or an object.
- `.json`: an item of the list, or of the one list of the object; a row of an object with a list for each column.
- `.txt`: a paragraph, set off by blank lines; a file without blank lines is one document.
- `.md`: a section with its heading; a paragraph where there is no heading.
- `.csv`, `.tsv`, `.parquet` and hub data sets: a row.
- a folder: the documents of all such files below it, in the order of their paths; hidden files, files of other kinds,
  README and LICENSE are skipped.

All but `.parquet` may be compressed (`.gz`, `.zst`). The form of an object is recognised by its fields, unless the user
names the field of the text, or a template of several. Empty texts are dropped and counted.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from srmu.errors import InputError
from srmu.inputs.chats import parse_messages
from srmu.inputs.documents import Document, Message
from srmu.inputs.formats import AUTO, PLAIN, Recognised
from srmu.inputs.limits import checked_text, shown_source
from srmu.inputs.readers import read_records
from srmu.inputs.text_field import TextField, parse_text_field
from srmu.inputs.wanted import Records

__all__ = ["Corpus", "Document", "Message", "corpus_from_strings", "make_corpus", "read_corpus"]


@dataclass(frozen=True)
class Corpus:
    """The documents of one side of a run, in reading order.

    Attributes:
        documents: Never empty texts.
        source: Where they came from, for people.
        sha256: Hash of the documents' canonical bytes; equal for the same documents from any kind of source.
        num_dropped: Empty documents that were left out.
        read_as: How they were read, for people: "read as question and answer, 400 records".
        notes: What the user should know about how the texts were read, one sentence each.
    """

    documents: tuple[Document, ...]
    source: str
    sha256: str
    num_dropped: int
    read_as: str = ""
    notes: tuple[str, ...] = ()


def make_corpus(
    documents: Sequence[Document],
    source: str,
    num_dropped: int = 0,
    *,
    forms: Counter[str] | None = None,
    notes: Sequence[str] = (),
) -> Corpus:
    """A corpus of these documents, with its hash.

    Args:
        documents: In order.
        source: Where they came from.
        num_dropped: Empty ones that were left out.
        forms: How often each form of record was read.
        notes: See `Corpus`.
    """
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document.canonical_bytes() + b"\n")
    return Corpus(tuple(documents), source, digest.hexdigest(), num_dropped, read_as(forms or Counter()), tuple(notes))


def read_corpus(sources: Sequence[str], *, text_field: str = AUTO, role: str) -> Corpus:
    """Read files, folders and hub data sets into one corpus, in the order given.

    Args:
        sources: Paths, or `hub:NAME[:CONFIG[:SPLIT]]` (split `train` if none is given; needs the network).
        text_field: `auto` recognises the form of the records; else a field, a template or a form (`text_field.py`).
        role: `forget` or `retain`; appears in error messages only.

    Raises:
        InputError: A source is missing, unreadable, malformed (with its line) or without any text; or the template is.
    """
    if not sources:
        raise InputError(f"No {role} texts were given. Name a file, a folder or a hub data set with --{role}.")
    field = parse_text_field(text_field)
    documents: list[Document] = []
    num_dropped = 0
    forms: Counter[str] = Counter()
    notes: list[str] = []
    for source in sources:
        where = f"{role.capitalize()} texts {shown_source(source)}"
        kept, dropped = keep_texts(read_records(source, where, field, notes), field, where, forms)
        documents += kept
        num_dropped += dropped
    notes += _spacing_notes(documents, forms)
    return make_corpus(documents, ", ".join(sources), num_dropped, forms=forms, notes=notes)


def corpus_from_strings(texts: Sequence[Any], role: str) -> Corpus:
    """Texts given in the call itself: strings, or lists of messages.

    Raises:
        InputError: One of them is something else, or none holds any text.
    """
    where = f"{role.capitalize()} texts given in the call"
    if isinstance(texts, str):
        raise InputError(f"{where} are one string. Put it in a list.")
    records = ((f"{where}, item {number}", text) for number, text in enumerate(texts, 1))
    forms: Counter[str] = Counter()
    documents, num_dropped = keep_texts(records, TextField(("text",)), where, forms)
    return make_corpus(documents, "texts given in the call", num_dropped, forms=forms)


def keep_texts(
    records: Records | Iterable[tuple[str, Any]], field: TextField | Recognised, where: str, forms: Counter[str]
) -> tuple[list[Document], int]:
    """The documents that hold text, and the number of those that do not.

    Args:
        records: Place and content of each.
        field: Finds their text.
        where: The words that begin an error.
        forms: Counts the forms that were read.

    Raises:
        InputError: A record is not a text, or there is no text at all.
    """
    kept: list[Document] = []
    total = 0
    for place, record in records:
        total += 1
        form, document = _parse_record(record, place, field)
        if document.as_text().strip():
            forms[form] += 1
            kept.append(document)
    if not total:
        raise InputError(f"{where} hold no document. Give at least one text.")
    if not kept:
        found = "the only document is" if total == 1 else f"all {total} documents are"
        raise InputError(f"{where} hold no text: {found} empty. Give at least one text.")
    return kept, total - len(kept)


def read_as(forms: Counter[str]) -> str:
    """How records were read, in one line: "read as question and answer, 400 records"."""
    parts = [f"{form}, {count:,} record{'s' if count != 1 else ''}" for form, count in forms.items()]
    return f"read as {'; '.join(parts)}" if parts else ""


def _parse_record(record: Any, place: str, field: TextField | Recognised) -> tuple[str, Document]:
    """The form and the document of a record; strings and lists of messages need no field."""
    if isinstance(record, dict):
        return field.read(record, place)
    if isinstance(record, str):
        return PLAIN, Document(text=checked_text(record, place))
    if isinstance(record, list):
        return "conversation", Document(messages=parse_messages(record, place))
    raise InputError(f"{place}: found {type(record).__name__}, expected text or a list of messages. Correct it.")


def _spacing_notes(documents: Sequence[Document], forms: Counter[str]) -> list[str]:
    """A sentence where prompts and completions, which are joined as they are, meet without a space."""
    if not forms["prompt and completion"]:
        return []
    joined = sum(
        document.prompt is not None
        and document.answer_start == len(document.prompt)
        and (document.text or "")[document.answer_start - 1 : document.answer_start + 1].isalnum()
        for document in documents
        if document.answer_start
    )
    if not joined:
        return []
    return [
        f"{joined} prompts end in a letter and their completions begin with one, and they are joined as they are. "
        "Begin the completions with a space if they are words of their own."
    ]
