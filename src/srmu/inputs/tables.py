"""Records of tables: comma- and tab-separated files, Parquet files, and columns of a JSON object."""

import csv
import io
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from srmu.errors import InputError
from srmu.inputs.limits import MOST_CHARACTERS
from srmu.inputs.wanted import Records, Wanted


def read_separated(text: str, where: str, wanted: Wanted, separator: str) -> Records:
    """Rows of a file of comma- or tab-separated values whose first row names the columns.

    A first row with semicolons and no comma is separated by semicolons, as spreadsheets write it in many countries.
    What begins with a bracket in a column of conversations is JSON.

    Raises:
        InputError: The file is malformed (with its line), or its columns hold no text.
    """
    rows = separated_rows(text, where, separator)
    first = next(rows, None)
    if first is None:
        return
    header = wanted.names_without_header(first[1])
    if header is not None:
        rows = chain([first], rows)
    else:
        header = [name.strip() for name in first[1]]
    keep = set(wanted.columns(header, where))
    for place, row in rows:
        if len(row) != len(header):
            raise InputError(
                f"{place}: {len(row)} values, and the first row names {len(header)} columns. Put values that hold "
                "separators or line breaks in quotation marks."
            )
        yield place, {name: value for name, value in zip(header, row, strict=True) if name in keep}


def separated_rows(text: str, where: str, separator: str) -> Iterator[tuple[str, list[str]]]:
    """The place and the values of each row that is not empty.

    Raises:
        InputError: A row is malformed.
    """
    first = text.partition("\n")[0]
    if separator == "," and "," not in first and ";" in first:
        separator = ";"
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    before = csv.field_size_limit(MOST_CHARACTERS)
    try:
        for row in reader:
            if any(value.strip() for value in row):
                yield f"{where}, line {reader.line_num}", row
    except csv.Error as error:
        raise InputError(f"{where}, line {reader.line_num}: malformed table ({error}). Correct that line.") from None
    finally:
        csv.field_size_limit(before)


def read_parquet(path: Path, where: str, wanted: Wanted) -> Records:
    """Rows of a Parquet file, which is read whole, so that a damaged one is refused before anything is done with it.

    Raises:
        InputError: pyarrow is not installed, the file is damaged, or its columns hold no text.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise InputError(
            f"{where}: Parquet files need the package pyarrow. Install it: pip install 'srmu[hub]'."
        ) from None

    try:
        file = parquet.ParquetFile(path)
        columns = wanted.columns(file.schema_arrow.names, where)
        rows = file.read(columns=columns).to_pylist()
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{where}: not a whole Parquet file ({reason}). Write it again.") from None
    for number, row in enumerate(rows, 1):
        yield f"{where}, row {number}", row


def rows_of_columns(columns: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """The records of an object that holds a list for each column; None where the object is something else.

    A list of messages is the value of one record, not a column.
    """
    lists = list(columns.values())
    if not lists or not all(isinstance(values, list) and values for values in lists):
        return None
    if any(len(values) != len(lists[0]) or isinstance(values[0], Mapping) for values in lists):
        return None
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]
