"""What the readers of files must know about the records that they are to find."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import Any

Records = Iterator[tuple[str, Any]]
"""The place of each record, for errors, and what is there: a string, or an object as a dict."""


class Wanted(ABC):
    """The kind of records that are looked for."""

    @abstractmethod
    def is_record(self, names: Collection[str]) -> bool:
        """Whether an object with these fields is a record, rather than something that holds records."""

    @abstractmethod
    def columns(self, names: Sequence[str], where: str) -> list[str]:
        """The columns of a table that are needed.

        Raises:
            InputError: The table does not hold such records; the sentence begins with `where`.
        """

    def names_without_header(self, first_row: Sequence[str]) -> list[str] | None:
        """The names of a table's columns where its first row is a record already; None where it names them."""
        return None
