"""What the readers of files must know about the records that they are to find."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Protocol

Records = Iterator[tuple[str, Any]]
"""The place of each record, for errors, and what is there: a string, or an object as a dict."""


class Wanted(Protocol):
    """The kind of records that are looked for."""

    def is_record(self, names: Collection[str]) -> bool:
        """Whether an object with these fields is a record, rather than something that holds records."""
        ...

    def columns(self, names: Sequence[str], where: str) -> list[str]:
        """Those columns of a table that are needed; an `InputError` where the table holds no such records."""
        ...
