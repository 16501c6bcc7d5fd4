"""Rows of benchmarks/results/attacks.json from records of attacks, and the file itself."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srmu.results.attack_records import AttackRecord, RelearnCell
from srmu.runtime.files import write_json_atomic

Row = dict[str, Any]
IDENTITY = ("model", "request", "method", "attack", "at")
"""Rows with the same of these replace one another."""
NO_FACTS = ("kept", "kind")
"""What is trained on where no forgotten fact is."""


def rows_of_record(name: str, record: AttackRecord, about: Mapping[str, Any], gold: AttackRecord | None) -> list[Row]:
    """A row for each material and way of relearning, each strength of a sweep, or the attack's only number.

    Args:
        name: Of the attack.
        record: Over all seeds.
        about: `model`, `kind`, `request` and `method`.
        gold: The same attack on the model that never saw the facts, where there is one.

    Returns:
        Empty where the attack has no numbers. `recovery` is none where it does not count: for relearning at no step.
    """
    if record.forget_before is None:
        return []
    golds = {(row["attack"], row["at"]): row["forget_after"] for row in _places(name, gold)} if gold else {}
    common = {
        **about,
        "default": about["method"] == "default",
        "needs": record.needs,
        "seeds": list(record.seeds),
        "budget": record.budget,
        "n": record.n,
        "chance": record.chance,
        "forget_before": record.forget_before,
        "base_before": record.base_before,
        "utility": record.utility,
        "control": record.control.forget if record.control else None,
    }
    return [
        common | row | {"gold_after": golds.get((row["attack"], row["at"]))}
        for row in _places(name, record)
    ]  # fmt: skip


def _places(name: str, record: AttackRecord) -> list[Row]:
    """Where an attack was made and what it found, without what is the same for all of it."""
    if record.cells:
        ways = dict.fromkeys((cell.material, cell.tuning) for cell in record.cells)
        return [
            _worst_of_way(way, [cell for cell in record.cells if (cell.material, cell.tuning) == way]) for way in ways
        ]
    if record.sweep:
        steps = (record.sweep_over or "").startswith("steps")
        return [
            _row(name, point.forget, point.base, point.recovery, at=point.at, steps=int(point.at) if steps else None)
            for point in record.sweep
        ]
    return [_row(name, record.forget_after, record.base_after, record.recovery)]


def _worst_of_way(way: tuple[str, str], cells: Sequence[RelearnCell]) -> Row:
    """The rate and step with the largest recovery, of those that count."""
    attack = "_".join(("relearn", *way))
    needs: Row = {"needs": "weights"} if way[0] in NO_FACTS else {}
    found = [(cell, point) for cell in cells for point in cell.curve if point.recovery is not None]
    if not found:
        return needs | _row(attack, None, None, None)
    cell, point = max(found, key=lambda one: one[1].recovery or 0.0)
    return needs | _row(attack, point.forget, point.base, point.recovery, rate=cell.learning_rate, steps=point.step)


def _row(
    attack: str,
    after: float | None,
    base: float | None,
    recovery: float | None,
    *,
    rate: float | None = None,
    steps: int | None = None,
    at: float | None = None,
) -> Row:
    return {
        "attack": attack, "at": at, "learning_rate": rate, "steps": steps, "forget_after": after, "base_after": base,
        "recovery": recovery,
    }  # fmt: skip


def write_rows(out: Path, rows: Sequence[Row], made: Mapping[str, Any]) -> None:
    """Put rows into the file, in place of former ones of the same attack on the same result, and how they were made."""
    file = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"rows": [], "made": []}
    replaced = {identity(row) for row in rows}
    others = [row for row in file["rows"] if identity(row) not in replaced]
    former = [one for one in file["made"] if one["command"] != made["command"]]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(out, {"rows": [*others, *rows], "made": [*former, made]})


def identity(row: Row) -> tuple[Any, ...]:
    """What a row is of."""
    return tuple(row.get(key) for key in IDENTITY)
