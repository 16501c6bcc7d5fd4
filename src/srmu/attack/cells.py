"""Finished parts of a long attack, kept beside the run, so that none is computed twice. Numbers only, no texts."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srmu.attack.outcome import finite
from srmu.errors import InputError
from srmu.export.manifest import write_json_atomic

CELLS_FILE = "attack_cells.json"


class Cells:
    """Numbers by key, written after each one.

    Args:
        file: Where they are kept; none = only in memory.
        identity: What the numbers depend on; numbers kept under another identity are not used.
    """

    def __init__(self, file: Path | None, identity: str):
        self.file = file
        self.identity = identity
        self._all: dict[str, dict[str, Any]] = {}
        if file is not None and file.is_file():
            try:
                self._all = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise InputError(f"{str(file)!r} cannot be read ({str(error)[:100]}). Delete it.") from None
        self._own = self._all.setdefault(identity, {})

    def get(self, key: str, compute: Callable[[], Any]) -> Any:
        """The value kept under a key, or the one computed now and kept; nothing is kept if that raises."""
        if key not in self._own:
            self._own[key] = finite(compute())
            if self.file is not None:
                write_json_atomic(self.file, self._all)
        return self._own[key]
