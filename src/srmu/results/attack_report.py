"""All attacks of a call as one report, which shows itself as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from srmu.results.attack_records import AttackRecord

_COLUMNS = ("forget_before", "forget_after", "base_after", "recovery", "utility_after")
TITLES = ("attack", "needs", "status", "forget before", "forget after", "base after", "recovery", "utility after")
"""Of the columns of `AttackReport.rows`."""
NUM_TEXTS = 3
"""Columns before the first number."""


@dataclass(frozen=True, kw_only=True)
class AttackReport:
    """What `srmu.attack` returns.

    Attributes:
        model: The checkpoint under attack.
        base: The checkpoint beside it.
        budget: `quick` or `full`.
        seeds: Of every random choice.
        records: By name of the attack, in the order in which they ran.
    """

    model: str
    base: str
    budget: str
    seeds: tuple[int, ...]
    records: Mapping[str, AttackRecord]

    @property
    def has_error(self) -> bool:
        """Whether an attack could not be carried out, so that nothing is known of it."""
        return any(record.status == "error" for record in self.records.values())

    @property
    def title(self) -> str:
        """Budget and seeds, as the table's heading."""
        seeds = ", ".join(map(str, self.seeds))
        return f"Attacks, {self.budget} budget, seed{'s' if len(self.seeds) > 1 else ''} {seeds}"

    def rows(self) -> list[list[str]]:
        """One row of text per attack, under `TITLES`."""
        return [
            [
                name.replace("_", " "),
                record.needs or "",
                record.status,
                *(_number(getattr(record, key)) for key in _COLUMNS),
            ]
            for name, record in self.records.items()
        ]

    def notes(self) -> list[str]:
        """Below the table: utility before, recovery by seed, and what an attack has to say."""
        utilities = [record.utility for record in self.records.values() if record.utility is not None]
        lines = [f"utility before the attacks: {_number(utilities[0])}"] if utilities else []
        for name, record in self.records.items():
            title = name.replace("_", " ")
            if record.recovery_by_seed:
                found = ", ".join(_number(value) or "none" for value in record.recovery_by_seed.values())
                lines.append(f"{title}: recovery by seed {found}")
            if record.half_back_at is not None:
                lines.append(f"{title}: half of it is back at {record.half_back_at:g} ({record.sweep_over})")
            if record.detail:
                lines.append(f"{title}: {record.detail}")
        return lines

    def __str__(self) -> str:
        """The table and the notes, in plain text."""
        table = [list(TITLES), *self.rows()]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(_aligned(row, widths)).rstrip() for row in table]
        return "\n".join([self.title, *lines, *self.notes()])

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        head = "".join(f"<th>{title}</th>" for title in TITLES)
        rows = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in self.rows())
        body = "".join(f"<tr>{row}</tr>" for row in rows)
        notes = "".join(f"<br>{escape(note)}" for note in self.notes())
        return f"<table><caption>{escape(self.title)}</caption><tr>{head}</tr>{body}</table><small>{notes}</small>"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    """Texts to the left, numbers to the right."""
    pairs = enumerate(zip(row, widths, strict=True))
    return [cell.ljust(width) if place < NUM_TEXTS else cell.rjust(width) for place, (cell, width) in pairs]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
