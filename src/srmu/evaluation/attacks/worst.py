"""The worst case of an attack with several variants: the one that brought back most, of those that count."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from srmu.evaluation.attacks.outcome import counts, defined, recovery
from srmu.results.attack_records import AttackRecord, CurvePoint, MatchedCell, RelearnCell, SweepPoint, WorstPoint

Point = CurvePoint | MatchedCell | SweepPoint
"""Both models under one variant."""
Candidate = tuple[WorstPoint, Point]


def verdict(forget: float, base: float, record: AttackRecord) -> tuple[bool, float | None]:
    """Whether a point counts, and what came back at it.

    Args:
        forget: The result's accuracy under the attack.
        base: The base's.
        record: Holds `chance` and `base_before`.
    """
    assert record.base_before is not None
    assert record.chance is not None
    valid = counts(record.base_before, base, record.chance)
    return valid, defined(recovery(forget, base, record.chance)) if valid else None


def points_of_cells(cells: Iterable[RelearnCell]) -> Iterator[Candidate]:
    """Every point of every curve."""
    for cell in cells:
        for point in cell.curve:
            about = WorstPoint(
                material=cell.material, tuning=cell.tuning, learning_rate=cell.learning_rate, step=point.step
            )
            yield about, point


def points_of_matched(cells: Iterable[MatchedCell]) -> Iterator[Candidate]:
    """Every cell is a point."""
    for cell in cells:
        about = WorstPoint(
            material=cell.material, tuning=cell.tuning, learning_rate=cell.learning_rate, disturbance=cell.disturbance
        )
        yield about, cell


def points_of_sweep(points: Iterable[SweepPoint]) -> Iterator[Candidate]:
    """Every strength."""
    for point in points:
        yield WorstPoint(at=point.at), point


def at_worst(record: AttackRecord, candidates: Iterable[Candidate]) -> AttackRecord:
    """The record with the numbers of the point with the largest recovery; not applicable where none counts."""
    valid: Sequence[Candidate] = [one for one in candidates if one[1].recovery is not None]
    if not valid:
        return dataclasses.replace(record, status="not applicable", counts=False)
    worst, point = max(valid, key=lambda one: one[1].recovery or 0.0)
    return dataclasses.replace(
        record,
        forget_after=point.forget,
        base_after=point.base,
        counts=True,
        recovery=point.recovery,
        utility_after=point.utility,
        worst=worst,
    )
