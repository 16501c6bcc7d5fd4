"""Finished parts of a long attack, kept beside the run, so that none is computed twice. Numbers only, no texts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srmu.errors import InputError
from srmu.evaluation.attacks.outcome import finite
from srmu.runtime.files import write_json_atomic

CELLS_FILE = "attack_cells.json"


class CellsFile:
    """Numbers by what they depend on, and then by key.

    Args:
        path: Where they are kept; none = only in memory.

    Raises:
        InputError: If there is a file that cannot be read.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.numbers: dict[str, dict[str, Any]] = {}
        if path is not None and path.is_file():
            try:
                self.numbers = json.loads(path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise InputError(f"{str(path)!r} cannot be read ({str(error)[:100]}). Delete it.") from None

    def write(self) -> None:
        """Replace what lies on disk."""
        if self.path is not None:
            write_json_atomic(self.path, self.numbers)


class Cells:
    """Numbers by key, written after each one.

    Args:
        file: Where they are kept.
        identity: What the numbers depend on; those kept under another identity are not used.
    """

    def __init__(self, file: CellsFile, identity: str):
        self._file = file
        self._own = file.numbers.setdefault(identity, {})

    def get(self, key: str, compute: Callable[[], Any]) -> Any:
        """The value kept under a key, or the one computed now and kept; nothing is kept if that raises."""
        if key not in self._own:
            self._own[key] = finite(compute())
            self._file.write()
        return self._own[key]
