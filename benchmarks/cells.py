"""Cells of a protocol: one JSON line for each run that was made and measured."""

import json
from pathlib import Path
from typing import Any


def read_cells(file: Path) -> list[dict[str, Any]]:
    """All lines there are; of a process that was killed, the last may be cut off."""
    cells = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else []:
        try:
            cells.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return cells
