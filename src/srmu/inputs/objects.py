"""Texts as Python objects: lists, iterators, data frames and data sets."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from srmu.errors import InputError
from srmu.inputs.corpora import Corpus, keep_texts, make_corpus, read_corpus
from srmu.inputs.formats import AUTO
from srmu.inputs.tables import rows_of_columns
from srmu.inputs.text_field import parse_text_field
from srmu.inputs.wanted import Records

# An iterator does not say how long it is, and may never end.
MOST_ITERATED = 1_000_000


def documents_of(given: Any, *, role: str = "forget", text_field: str = AUTO) -> Corpus:
    """Read whatever holds texts in Python into a corpus.

    Args:
        given: Strings, records (dicts) or lists of messages, in a list, a tuple or an iterator; a pandas or polars data
            frame or series, a `datasets.Dataset` (streamed or not), a pyarrow table; an object with a list for each
            column; or a `pathlib.Path` to a file or folder.
        role: `forget` or `retain`; appears in error messages only.
        text_field: `auto` recognises the form of the records; else a field, a template or a form (`text_field.py`).

    Raises:
        InputError: It is something else, or holds no text; an item is named by its position, from 1.

    Example:
        >>> documents_of([{"question": "Who wrote it?", "answer": "Ito."}]).read_as
        'read as question and answer, 1 record'
    """
    if isinstance(given, Path):
        return read_corpus([str(given)], text_field=text_field, role=role)
    where = f"{role.capitalize()} texts given as {type(given).__name__}"
    field = parse_text_field(text_field)
    forms: Counter[str] = Counter()
    documents, num_dropped = keep_texts(_numbered(_items(given, where), where), field, where, forms)
    return make_corpus(documents, f"texts given as {type(given).__name__}", num_dropped, forms=forms)


def _items(given: Any, where: str) -> Iterable[Any]:
    """The records of an object."""
    if isinstance(given, str | bytes):
        raise InputError(f"{where} are one text. Put it in a list; a file is given as pathlib.Path('texts.jsonl').")
    if isinstance(given, Mapping):
        if given and all(hasattr(part, "column_names") for part in given.values()):
            splits = ", ".join(map(repr, given))
            raise InputError(f"{where} hold the splits {splits}. Give one of them, as in dataset['train'].")
        rows = rows_of_columns(given)
        return rows if rows is not None else [dict(given)]
    package = type(given).__module__.partition(".")[0]
    if package == "pandas":
        return _pandas_items(given)
    if package == "polars" and hasattr(given, "to_dicts"):
        return list(given.to_dicts())
    if package == "pyarrow" and hasattr(given, "to_pylist"):
        return list(given.to_pylist())
    if not isinstance(given, Iterable):
        raise InputError(f"{where} cannot be read. Give a list of texts, a data frame or a data set.")
    return given


def _pandas_items(given: Any) -> list[Any]:
    """Rows of a frame, or values of a series; what is missing is None."""
    frame = hasattr(given, "columns")
    if not frame:
        return ["" if missing else _unwrapped(value) for value, missing in zip(given, given.isna(), strict=True)]
    given = given.astype(object).where(given.notna(), None)
    rows = given.to_dict(orient="records")
    return [{name: _unwrapped(value) for name, value in row.items()} for row in rows]


def _unwrapped(value: Any) -> Any:
    """A NumPy array or number, which frames hold in place of lists and numbers, as Python's own."""
    return value.tolist() if hasattr(value, "tolist") else value


def _numbered(items: Iterable[Any], where: str) -> Records:
    unmeasured = not hasattr(items, "__len__")
    for number, item in enumerate(items, 1):
        if unmeasured and number > MOST_ITERATED:
            raise InputError(
                f"{where} do not end after {MOST_ITERATED:,} items. Give a part: itertools.islice(texts, 2000)."
            )
        yield f"{where}, item {number}", item
