"""Texts from files, folders, hub data sets and chat records.

What counts as one document:

- `.jsonl`: a line; a string, or an object with the text field or with `messages`.
- `.json`: an item of the list, or of the one list of the object; an object that has the text field is one document.
- `.txt`: a paragraph, set off by blank lines; a file without blank lines is one document.
- `.parquet` and hub data sets: a row.
- a folder: the documents of all such files below it, in the order of their paths; hidden and other files are skipped.

`.jsonl`, `.json` and `.txt` may be compressed (`.gz`). A record with `messages` is a chat document unless it also
has the text field; a text field that holds a list is read as messages too. Empty texts are dropped and counted.
"""

import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from srmu.errors import InputError, nearest_hint

HUB_PREFIX = "hub:"
_CHAT_FIELD = "messages"
_READABLE = (".jsonl", ".json", ".txt", ".parquet", ".jsonl.gz", ".json.gz", ".txt.gz")


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
        sha256: Hash of the documents' canonical bytes; the same for the same documents from any kind of source.
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
        text_field: Field that holds the text in records.
        role: `forget` or `retain`; stands in error messages only.

    Raises:
        InputError: A source is missing, unreadable, malformed (with its line) or without any text.
    """
    if not sources:
        raise InputError(
            f"No {role} texts were given. Name a file, a folder or a hub data set with --{role}."
        )
    documents: list[Document] = []
    num_dropped = 0
    for source in sources:
        where = f"{role.capitalize()} texts {source!r}"
        read = _read_hub if source.startswith(HUB_PREFIX) else _read_path
        kept, dropped = _keep_texts(read(source, where, text_field), text_field, where)
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
    documents, num_dropped = _keep_texts(records, "text", where)
    return make_corpus(documents, "texts given in the call", num_dropped)


# A record as read, with the words that name its place in an error.
_Records = Iterator[tuple[str, Any]]


def _keep_texts(records: _Records, text_field: str, where: str) -> tuple[list[Document], int]:
    """The documents that hold text, and the number of those that do not."""
    documents = [_parse_record(record, place, text_field) for place, record in records]
    kept = [document for document in documents if document.as_text().strip()]
    if not documents:
        raise InputError(f"{where} hold no document. Give at least one text.")
    if not kept:
        found = "the only document is" if len(documents) == 1 else f"all {len(documents)} documents are"
        raise InputError(f"{where} hold no text: {found} empty. Give at least one text.")
    return kept, len(documents) - len(kept)


def _parse_record(record: Any, place: str, text_field: str) -> Document:
    content = record
    if isinstance(record, dict):
        if text_field not in record and _CHAT_FIELD not in record:
            raise _missing_field(place, text_field, list(record))
        content = record.get(text_field)
        if content is None:
            content = record.get(_CHAT_FIELD)
        if content is None:
            content = ""
    if isinstance(content, str):
        return Document(text=_checked(content, place))
    if isinstance(content, list):
        return Document(messages=tuple(_parse_message(message, place) for message in content))
    raise InputError(
        f"{place}: found {type(content).__name__}, expected a text or a list of messages. Correct that record."
    )


def _parse_message(message: Any, place: str) -> Message:
    if not isinstance(message, dict):
        raise InputError(
            f"{place}: a message is {type(message).__name__}, expected an object with role and content."
        )
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


def _missing_field(place: str, text_field: str, fields: Sequence[str]) -> InputError:
    found = ", ".join(map(repr, fields)) or "no field"
    hint = nearest_hint(text_field, list(fields))
    return InputError(
        f"{place}: field {text_field!r} is missing; there is {found}.{hint} Name the field with --text-field."
    )


def _read_path(source: str, where: str, text_field: str) -> _Records:
    path = Path(source).expanduser()
    if not path.exists():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = nearest_hint(path.name, siblings)
        raise InputError(
            f"{where} do not exist.{hint} Check the path; a hub data set is written {HUB_PREFIX}NAME."
        )
    if not path.is_dir():
        yield from _read_file(path, where, text_field)
        return
    files = [file for file in sorted(path.rglob("*")) if _is_text_file(file, path)]
    if not files:
        raise InputError(
            f"{where}: the folder holds no file that ends in {', '.join(_READABLE)}. Check the path."
        )
    for file in files:
        yield from _read_file(file, f"{where}, file {file.relative_to(path).as_posix()!r}", text_field)


def _is_text_file(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.name.lower().endswith(_READABLE) and file.is_file()


def _read_file(path: Path, where: str, text_field: str) -> _Records:
    name = path.name.lower()
    if not name.endswith(_READABLE):
        raise InputError(
            f"{where}: unknown kind of file {path.suffix!r}. Give one of {', '.join(_READABLE)}."
        )
    if name.endswith(".parquet"):
        yield from _read_parquet(path, where, text_field)
        return
    text = _read_utf8(path, where)
    readers: dict[str, Callable[[str, str, str], _Records]] = {
        ".jsonl": _split_jsonl,
        ".json": _split_json,
        ".txt": _split_paragraphs,
    }
    yield from readers[Path(name.removesuffix(".gz")).suffix](text, where, text_field)


def _read_utf8(path: Path, where: str) -> str:
    try:
        data = path.read_bytes()
        if path.name.lower().endswith(".gz"):
            data = gzip.decompress(data)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = f"byte 0x{error.object[error.start]:02x} at position {error.start}"
        raise InputError(f"{where}: not UTF-8 text ({found}). Save the file as UTF-8.") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{where}: not a whole gzip file ({error}). Compress it again.") from None
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror}.") from None
    if "\0" in text:
        raise InputError(
            f"{where}: binary data (a zero byte at position {text.index(chr(0))}), not text. Check the path."
        )
    return text


def _split_paragraphs(text: str, where: str, text_field: str) -> _Records:
    paragraphs = re.split(r"\n\s*\n", text.replace("\r\n", "\n").strip())
    for number, paragraph in enumerate(paragraphs, 1):
        yield f"{where}, paragraph {number}", paragraph


def _split_jsonl(text: str, where: str, text_field: str) -> _Records:
    # Not splitlines(): JSON strings may hold U+2028 and its like unescaped.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"{where}, line {number}", json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"{where}, line {number}: not JSON ({_reason(error)}). Correct that line."
            ) from None


def _split_json(text: str, where: str, text_field: str) -> _Records:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            yield from _split_jsonl(text, where, text_field)  # many .json files are JSON lines
            return
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{where}{line}: not JSON ({_reason(error)}). Correct that place.") from None
    if isinstance(content, dict) and text_field not in content and _CHAT_FIELD not in content:
        lists = [value for value in content.values() if isinstance(value, list)]
        if len(lists) != 1:
            raise _missing_field(
                f"{where}: an object with {len(lists)} lists, expected one", text_field, list(content)
            )
        content = lists[0]
    items = content if isinstance(content, list) else [content]
    for number, item in enumerate(items, 1):
        yield f"{where}, item {number}", item


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _read_parquet(path: Path, where: str, text_field: str) -> _Records:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            f"{where}: Parquet files need the package pyarrow. Install it: pip install pyarrow."
        ) from None

    try:
        file = parquet.ParquetFile(path)
        columns = _text_columns(file.schema_arrow.names, where, text_field)
        # Read whole, so that a damaged file is an error here, not in the middle of the caller's loop.
        rows = file.read(columns=columns).to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise InputError(f"{where}: not a whole Parquet file ({_one_line(error)}). Write it again.") from None
    for number, row in enumerate(rows, 1):
        yield f"{where}, row {number}", row


def _read_hub(source: str, where: str, text_field: str) -> _Records:
    name, config, split = (source.removeprefix(HUB_PREFIX).split(":", 2) + ["", ""])[:3]
    if not name:
        raise InputError(
            f"{where}: no data set is named. Write {HUB_PREFIX}NAME, {HUB_PREFIX}NAME:CONFIG or {HUB_PREFIX}NAME:CONFIG:SPLIT."
        )
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"{where}: hub data sets need the package datasets. Install it: pip install datasets."
        ) from None

    try:
        dataset = datasets.load_dataset(name, config or None, split=split or "train")
    except (
        Exception
    ) as error:  # the library raises its own, the hub client's, the HTTP client's and Arrow's errors
        raise _hub_error(error, name, where) from error
    dataset = dataset.select_columns(_text_columns(dataset.column_names, where, text_field))
    for number, row in enumerate(dataset, 1):
        yield f"{where}, row {number}", row


def _hub_error(error: Exception, name: str, where: str) -> InputError:
    page = f"https://huggingface.co/datasets/{name}"
    reason = _one_line(error)
    if "gated" in reason.lower():
        return InputError(
            f"{where}: the data set is gated. Agree to its terms on {page} and set HF_TOKEN to your access token."
        )
    if type(error).__name__ == "DatasetNotFoundError":
        return InputError(
            f"{where}: no such data set, or it is private. Check its name on {page}; if private, set HF_TOKEN."
        )
    if isinstance(error, ConnectionError):
        return InputError(
            f"{where}: the hub cannot be reached ({reason}). Connect to the network, or give the texts as a file."
        )
    return InputError(
        f"{where} cannot be read: {reason.rstrip('.')}. Check the configuration and the split on {page}."
    )


def _text_columns(names: Sequence[str], where: str, text_field: str) -> list[str]:
    columns = [name for name in (text_field, _CHAT_FIELD) if name in names]
    if not columns:
        raise _missing_field(where, text_field, list(names))
    return columns


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
