"""Records of files, folders and hub data sets, each with the words that name its place in an error.

A record is what the file holds: a string, or the object of a line or row. Every reader takes the words `where` that
begin its errors, and what is wanted: which objects are records, and which columns of a table are needed.
"""

import json
import os
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srmu.errors import InputError, nearest_hint
from srmu.inputs.jsonl import json_reason, parse_line
from srmu.inputs.limits import shown_source
from srmu.inputs.tables import read_parquet, read_separated, rows_of_columns
from srmu.inputs.unpacking import PACKED, read_text
from srmu.inputs.wanted import Records, Wanted

HUB_PREFIX = "hub:"
_TEXT_KINDS = (".jsonl", ".json", ".txt", ".md", ".csv", ".tsv")
_READABLE = (*_TEXT_KINDS, ".parquet")
SUFFIXES = (*_READABLE, *(kind + packed for kind in _TEXT_KINDS for packed in PACKED))
_KNOWN = f"{', '.join(_READABLE)}, or one of the text files with {' or '.join(PACKED)} behind"
# Above this size, a warning says how to read a part of a hub data set: a run reads about a megabyte of text.
_MANY_BYTES = 1 << 29
_HEADING = re.compile(r"#{1,6}\s")
_FENCES = ("```", "~~~")


def read_records(source: str, where: str, wanted: Wanted, notes: list[str]) -> Records:
    """Yield the place and content of each record of a path or `hub:NAME[:CONFIG[:SPLIT]]`.

    Args:
        source: The path, or the name of the data set.
        where: The words that begin an error.
        wanted: The kind of records.
        notes: A sentence is added for each file that needed something unusual to be read.

    Raises:
        InputError: The source is missing, unreadable or malformed; the sentence begins with `where`.
    """
    if source.startswith(HUB_PREFIX):
        yield from _read_hub(source, where, wanted)
    else:
        yield from _read_path(source, where, wanted, notes)


def _read_path(source: str, where: str, wanted: Wanted, notes: list[str]) -> Records:
    path = Path(os.path.expanduser(source))
    # os.path answers no where pathlib raises, as for a whole text that was given in place of a path.
    if not source or not os.path.exists(path):
        siblings = os.listdir(path.parent) if os.path.isdir(path.parent) else []
        hint = nearest_hint(path.name[:255], siblings)
        raise InputError(f"{where} do not exist.{hint} Check the path; a hub data set is written {HUB_PREFIX}NAME.")
    if not path.is_dir():
        yield from read_file(path, where, wanted, notes)
        return
    files = [file for file in sorted(path.rglob("*")) if _is_text_file(file, path)]
    if not files:
        raise InputError(f"{where}: the folder holds no file that ends in {_KNOWN}. Check the path.")
    for file in files:
        name = shown_source(file.relative_to(path).as_posix())
        yield from read_file(file, f"{where}, file {name}", wanted, notes)


def _is_text_file(file: Path, folder: Path) -> bool:
    """Whether a file below a folder is read: of a known kind, not hidden, and not about the folder itself."""
    hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    about = file.stem.lower() in ("readme", "license")
    return not hidden and not about and file.name.lower().endswith(SUFFIXES) and file.is_file()


def read_file(path: Path, where: str, wanted: Wanted, notes: list[str]) -> Records:
    """Records of one file, by the ending of its name.

    Raises:
        InputError: It is of an unknown kind, unreadable or malformed.
    """
    name = path.name.lower()
    if not name.endswith(SUFFIXES):
        raise InputError(f"{where}: unknown kind of file {path.suffix!r}. Give one that ends in {_KNOWN}.")
    if not path.is_file():
        # A pipe would be waited for without an end.
        raise InputError(f"{where} cannot be read: it is a pipe or a device. Save its content as a file.")
    if name.endswith(".parquet"):
        yield from read_parquet(path, where, wanted)
        return
    text = read_text(path, where, notes)
    bare = name.removesuffix(path.suffix.lower()) if path.suffix.lower() in PACKED else name
    readers: dict[str, Callable[[str, str, Wanted], Records]] = {
        ".jsonl": _split_jsonl,
        ".json": _split_json,
        ".txt": _split_paragraphs,
        ".md": _split_sections,
        ".csv": lambda text, where, wanted: read_separated(text, where, wanted, ","),
        ".tsv": lambda text, where, wanted: read_separated(text, where, wanted, "\t"),
    }
    yield from readers[Path(bare).suffix](text, where, wanted)


def _split_paragraphs(text: str, where: str, wanted: Wanted) -> Records:
    paragraphs = re.split(r"\n\s*\n", text.replace("\r\n", "\n").strip())
    for number, paragraph in enumerate(paragraphs, 1):
        yield f"{where}, paragraph {number}", paragraph


def _split_sections(text: str, where: str, wanted: Wanted) -> Records:
    """Sections of a Markdown file, each with its heading; paragraphs where there is no heading."""
    text = re.sub(r"\A---\n.*?\n---\n", "", text.replace("\r\n", "\n"), flags=re.DOTALL)
    sections: list[list[str]] = [[]]
    fence = ""
    for line in text.split("\n"):
        if line.startswith(fence or _FENCES):
            fence = "" if fence else line[:3]
        elif not fence and _HEADING.match(line):
            sections.append([])
        sections[-1].append(line)
    if len(sections) == 1:
        yield from _split_paragraphs(text, where, wanted)
        return
    bodies = [body for body in ("\n".join(section).strip() for section in sections) if body]
    for number, body in enumerate(bodies, 1):
        yield f"{where}, section {number}", body


def _split_jsonl(text: str, where: str, wanted: Wanted) -> Records:
    # Not splitlines(): JSON strings may hold U+2028 and its like unescaped.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            place = f"{where}, line {number}"
            yield place, parse_line(line, place)


def _split_json(text: str, where: str, wanted: Wanted) -> Records:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            yield from _split_jsonl(text, where, wanted)  # many .json files are JSON lines
            return
        line = f", line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise InputError(f"{where}{line}: not JSON ({json_reason(error)}). Correct that place.") from None
    for number, item in enumerate(_items(content, where, wanted), 1):
        yield f"{where}, item {number}", item


def _items(content: Any, where: str, wanted: Wanted) -> list[Any]:
    """The records of a JSON file: of a list its items, of an object itself, its rows, or those of the list in it."""
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        return [content]
    if wanted.is_record(content):
        return rows_of_columns(content) or [content]
    lists = [value for value in content.values() if isinstance(value, list)]
    of_objects = [value for value in lists if value and isinstance(value[0], dict)]
    for found in (lists, of_objects):
        if len(found) == 1:
            return found[0]
    wanted.columns(list(content), f"{where}: an object with {len(lists)} lists, expected one")
    return [content]


def _read_hub(source: str, where: str, wanted: Wanted) -> Records:
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
    dataset = dataset.select_columns(wanted.columns(dataset.column_names, where))
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
    reason = " ".join(str(error).split())
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
