"""Finished parts of a long attack, kept beside the run, so that none is computed twice. Numbers only, no texts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from srmu.errors import InputError
from srmu.results.digests import is_finished, read_listed, replace_listed
from srmu.results.schema import Mismatch, from_json, to_json
from srmu.runtime.files import json_bytes, locked_directory, write_atomic

T = TypeVar("T")


class CellsFile:
    """Records as JSON values, by what they depend on, and then by key.

    Args:
        path: Where they are kept; none = only in memory.

    Raises:
        InputError: There is a file that cannot be read.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.records: dict[str, dict[str, Any]] = {}
        if path is not None and path.is_file():
            try:
                # Beside a run it is one of the run's files.
                content = read_listed(path.parent, path.name) if is_finished(path.parent) else path.read_bytes()
                records = json.loads(content or b"{}")
            except (OSError, ValueError, RecursionError) as error:
                raise self.damaged(error) from None
            if not isinstance(records, dict) or not all(isinstance(part, dict) for part in records.values()):
                raise self.damaged(ValueError("not an object of objects"))
            self.records = records

    def write(self) -> None:
        """Replace what lies on disk."""
        if self.path is None:
            return
        content = json_bytes(self.records)
        if is_finished(self.path.parent):
            with locked_directory(self.path.parent):
                replace_listed(self.path.parent, self.path.name, content)
        else:
            write_atomic(self.path, content)

    def damaged(self, error: Exception) -> InputError:
        """The error to raise where a part cannot be read."""
        return InputError(f"{str(self.path)!r} cannot be read ({str(error)[:100]}). Delete it.")


class Cells:
    """Records by key, written after each one.

    Args:
        file: Where they are kept.
        identity: What the numbers depend on; those kept under another identity are not used.
    """

    def __init__(self, file: CellsFile, identity: str):
        self._file = file
        self._own = file.records.setdefault(identity, {})

    def get(self, key: str, record: type[T], compute: Callable[[], T]) -> T:
        """The record kept under a key, or the one computed now and kept; nothing is kept if that raises.

        Args:
            key: Its name.
            record: Its class.
            compute: Makes it.

        Raises:
            InputError: What is kept is no such record.
        """
        if key not in self._own:
            self._own[key] = to_json(compute())
            self._file.write()
        try:
            return cast(T, from_json(record, self._own[key], key))
        except Mismatch as error:
            raise self._file.damaged(error) from None
