"""Records of text files, folders and hub data sets, each with the words that name its place in an error.

A record is what stands in the file: a string, or the object of a line or row; `corpora.py` finds its text.
Every reader takes the source, the words `where` that begin its errors, and the fields that hold the text.
"""

import gzip
import json
import os
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from srmu.errors import InputError, nearest_hint
from srmu.inputs.text_field import TextField

HUB_PREFIX = "hub:"
CHAT_FIELD = "messages"
_READABLE = (".jsonl", ".json", ".txt", ".parquet", ".jsonl.gz", ".json.gz", ".txt.gz")
# A hub data set above this size is worth a word: a run of the default size reads about a megabyte of text.
_MANY_BYTES = 1 << 29

Records = Iterator[tuple[str, Any]]


def read_records(source: str, where: str, text_field: TextField) -> Records:
    """Yield the place and content of each record of a path or `hub:NAME[:CONFIG[:SPLIT]]`.

    Raises:
        InputError: The source is missing, unreadable or malformed; the sentence begins with `where`.
    """
    read = _read_hub if source.startswith(HUB_PREFIX) else _read_path
    yield from read(source, where, text_field)


def missing_field(place: str, name: str, fields: Sequence[str]) -> InputError:
    """The error of a record without text, with the fields that are there and the nearest of them."""
    found = ", ".join(map(repr, fields)) or "no field"
    hint = nearest_hint(name, list(fields))
    return InputError(f"{place}: field {name!r} is missing; there is {found}.{hint} Name the field with --text-field.")


def _read_path(source: str, where: str, text_field: TextField) -> Records:
    path = Path(os.path.expanduser(source))
    # os.path answers no where pathlib raises, as for a whole text that was given in place of a path.
    if not source or not os.path.exists(path):
        siblings = os.listdir(path.parent) if os.path.isdir(path.parent) else []
        hint = nearest_hint(path.name, siblings)
        raise InputError(f"{where} do not exist.{hint} Check the path; a hub data set is written {HUB_PREFIX}NAME.")
    if not path.is_dir():
        yield from _read_file(path, where, text_field)
        return
    files = [file for file in sorted(path.rglob("*")) if _is_text_file(file, path)]
    if not files:
        raise InputError(f"{where}: the folder holds no file that ends in {', '.join(_READABLE)}. Check the path.")
    for file in files:
        yield from _read_file(file, f"{where}, file {file.relative_to(path).as_posix()!r}", text_field)


def _is_text_file(file: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not hidden and file.name.lower().endswith(_READABLE) and file.is_file()


def _read_file(path: Path, where: str, text_field: TextField) -> Records:
    name = path.name.lower()
    if not name.endswith(_READABLE):
        raise InputError(f"{where}: unknown kind of file {path.suffix!r}. Give one of {', '.join(_READABLE)}.")
    if name.endswith(".parquet"):
        yield from _read_parquet(path, where, text_field)
        return
    text = _read_utf8(path, where)
    readers: dict[str, Callable[[str, str, TextField], Records]] = {
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


def _split_paragraphs(text: str, where: str, text_field: TextField) -> Records:
    paragraphs = re.split(r"\n\s*\n", text.replace("\r\n", "\n").strip())
    for number, paragraph in enumerate(paragraphs, 1):
        yield f"{where}, paragraph {number}", paragraph


def _split_jsonl(text: str, where: str, text_field: TextField) -> Records:
    # Not splitlines(): JSON strings may hold U+2028 and its like unescaped.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield f"{where}, line {number}", json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}, line {number}: not JSON ({_reason(error)}). Correct that line.") from None


def _split_json(text: str, where: str, text_field: TextField) -> Records:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            yield from _split_jsonl(text, where, text_field)  # many .json files are JSON lines
            return
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{where}{line}: not JSON ({_reason(error)}). Correct that place.") from None
    if isinstance(content, dict) and not any(name in content for name in (*text_field.names, CHAT_FIELD)):
        lists = [value for value in content.values() if isinstance(value, list)]
        if len(lists) != 1:
            place = f"{where}: an object with {len(lists)} lists, expected one"
            raise missing_field(place, text_field.names[0], list(content))
        content = lists[0]
    items = content if isinstance(content, list) else [content]
    for number, item in enumerate(items, 1):
        yield f"{where}, item {number}", item


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)


def _read_parquet(path: Path, where: str, text_field: TextField) -> Records:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            f"{where}: Parquet files need the package pyarrow. Install it: pip install 'srmu[hub]'."
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


def _read_hub(source: str, where: str, text_field: TextField) -> Records:
    name, config, split = [*source.removeprefix(HUB_PREFIX).split(":", 2), "", ""][:3]
    if not name:
        raise InputError(f"{where}: no data set is named. Write {HUB_PREFIX}NAME[:CONFIG[:SPLIT]].")
    try:
        import datasets
    except ImportError:
        raise InputError(
            f"{where}: hub data sets need the package datasets. Install it: pip install 'srmu[hub]'."
        ) from None

    try:
        dataset = datasets.load_dataset(name, config or None, split=split or "train")
    except Exception as error:  # the library raises its own, the hub client's, the HTTP client's and Arrow's errors
        raise _hub_error(error, name, where) from error
    dataset = dataset.select_columns(_text_columns(dataset.column_names, where, text_field))
    if dataset.data.nbytes > _MANY_BYTES:
        part = ":".join((HUB_PREFIX + name, config, (split or "train").partition("[")[0] + "[:2000]"))
        warnings.warn(
            f"{where} hold {len(dataset):,} documents of {dataset.data.nbytes / 1e9:.1f} GB, and all are read into "
            f"memory. A run reads steps times rows of them; to take a part, write {part!r}.",
            stacklevel=2,
        )
    for number, row in enumerate(dataset, 1):
        yield f"{where}, row {number}", row


def _hub_error(error: Exception, name: str, where: str) -> InputError:
    page = f"https://huggingface.co/datasets/{name}"
    reason = _one_line(error)
    # Not the bare word, which a name such as "aggregated" holds.
    if re.search(r"\bgated (dataset|repo)", reason.lower()):
        return InputError(
            f"{where}: the data set is gated. Agree to its terms on {page} "
            "and set HF_TOKEN to an access token of that account."
        )
    if type(error).__name__ == "DatasetNotFoundError":
        return InputError(
            f"{where}: no such data set, or it is private. Check its name on {page}; "
            "if it is private or gated, set HF_TOKEN to an access token."
        )
    if isinstance(error, ConnectionError):
        return InputError(
            f"{where}: the hub cannot be reached ({reason}). Connect to the network, or give the texts as a file."
        )
    return InputError(f"{where} cannot be read: {reason.rstrip('.')}. Check the configuration and the split on {page}.")


def _text_columns(names: Sequence[str], where: str, text_field: TextField) -> list[str]:
    missing = text_field.first_missing(names)
    if missing is not None and CHAT_FIELD not in names:
        raise missing_field(where, missing, list(names))
    return [name for name in dict.fromkeys((*text_field.names, CHAT_FIELD)) if name in names]


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
