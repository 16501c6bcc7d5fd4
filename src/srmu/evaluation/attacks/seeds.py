"""Several seeds of an attack as one record: accuracies are averaged first, and then the worst case is chosen.

With every seed the attacker gets another half of the facts. The largest of several noisy numbers is biased upwards, for
the attacker; of averaged ones less so. A verdict needs every seed.
"""

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from srmu.evaluation.attacks.outcome import defined, recovery
from srmu.evaluation.attacks.worst import at_worst, points_of_cells, points_of_matched, points_of_sweep, verdict
from srmu.results.attack_records import AttackRecord, Control, CurvePoint, MatchedCell, RelearnCell, SweepPoint

T = TypeVar("T")
PointT = TypeVar("PointT", CurvePoint, MatchedCell, SweepPoint)
_AVERAGED = {"forget", "base", "utility", "base_utility", "disturbance", "base_disturbance"}


def over_seeds(records: Sequence[AttackRecord]) -> AttackRecord:
    """One record of an attack's records with several seeds; of a single one that one.

    Args:
        records: Of one attack, budget and model.

    Returns:
        A record whose `seeds` are all, with `recovery_by_seed`: what each found by itself; `n` counts the questions of
        all. Standard errors, accuracies by group and what was chosen are left out: they are those of single seeds.
    """
    if len(records) == 1:
        return records[0]
    seeds = tuple(seed for record in records for seed in record.seeds)
    seconds = round(sum(record.seconds for record in records), 1)
    errors = [record for record in records if record.status == "error"]
    # Where relearning counts at no step there are numbers all the same, and on average it may count.
    if missing := errors or [record for record in records if record.forget_before is None]:
        notes = tuple(f"seed {record.seeds[0]}: {record.detail}" for record in missing)
        first = missing[0]
        return AttackRecord(
            status=first.status, notes=notes, needs=first.needs, budget=first.budget, seeds=seeds, seconds=seconds
        )
    first = records[0]
    means = AttackRecord(
        status="result",
        notes=tuple(dict.fromkeys(note for record in records for note in record.notes)),
        needs=first.needs,
        budget=first.budget,
        seeds=seeds,
        seconds=seconds,
        measure=first.measure,
        n=sum(record.n or 0 for record in records),
        chance=_mean([record.chance for record in records]),
        forget_before=_mean([record.forget_before for record in records]),
        base_before=_mean([record.base_before for record in records]),
        recovery_by_seed={str(record.seeds[0]): record.recovery for record in records},
        utility=_mean([record.utility for record in records]),
        control=_control([record.control for record in records]),
        settings={
            key: value
            for key, value in first.settings.items()
            if all(record.settings.get(key, ...) == value for record in records)
        },
    )
    return _averaged(records, means)


def _averaged(records: Sequence[AttackRecord], means: AttackRecord) -> AttackRecord:
    """With the numbers under the attack: of the worst point on average, or of the only one."""
    first = records[0]
    if first.cells:
        cells = _cells([record.cells for record in records], means)
        return at_worst(dataclasses.replace(means, cells=cells), points_of_cells(cells))
    if first.matched:
        matched = _points([record.matched for record in records], means, _way)
        return at_worst(dataclasses.replace(means, matched=matched), points_of_matched(matched))
    if first.sweep:
        sweep = _points([record.sweep for record in records], means, lambda point: point.at)
        swept = dataclasses.replace(means, sweep_over=first.sweep_over, sweep=sweep)
        return at_worst(swept, points_of_sweep(sweep))
    return _single(records, means)


def _single(records: Sequence[AttackRecord], means: AttackRecord) -> AttackRecord:
    """Of an attack that gives one number per model."""
    after = _known([record.forget_after for record in records])
    base = _known([record.base_after for record in records])
    valid: bool | None
    if records[0].counts is None:
        # What is no accuracy of the tested questions counts whatever it is.
        valid, back = None, defined(recovery(after, base, _known([means.chance])))
    else:
        valid, back = verdict(after, base, means)
    return dataclasses.replace(
        means,
        forget_after=after,
        base_after=base,
        counts=valid,
        recovery=back,
        utility_after=_mean([record.utility_after for record in records]),
    )


def _control(controls: Sequence[Control | None]) -> Control | None:
    known = [control for control in controls if control is not None]
    if not known or len(known) < len(controls):
        return None
    return Control(
        model=known[0].model,
        forget=_known([control.forget for control in known]),
        kept={name: _known([control.kept.get(name) for control in known]) for name in known[0].kept},
    )


def _cells(tables: Sequence[Sequence[RelearnCell]], means: AttackRecord) -> tuple[RelearnCell, ...]:
    """Every cell that all seeds have, as far as all of them went."""
    return tuple(
        RelearnCell(
            material=same[0].material,
            tuning=same[0].tuning,
            learning_rate=same[0].learning_rate,
            curve=_points([cell.curve for cell in same], means, lambda point: point.step),
        )
        for same in _in_all(tables, _way)
    )


def _way(cell: RelearnCell | MatchedCell) -> Hashable:
    return cell.material, cell.tuning, cell.learning_rate


def _points(
    tables: Sequence[Sequence[PointT]], means: AttackRecord, key: Callable[[PointT], Hashable]
) -> tuple[PointT, ...]:
    """Every point that all seeds have: its numbers averaged, and the verdict on the averages."""
    return tuple(_mean_point(same, means) for same in _in_all(tables, key))


def _mean_point(same: Sequence[PointT], means: AttackRecord) -> PointT:
    names = {field.name for field in dataclasses.fields(same[0])} & _AVERAGED
    numbers: dict[str, Any] = {name: _mean([getattr(point, name) for point in same]) for name in names}
    valid, back = verdict(numbers["forget"], numbers["base"], means)
    return dataclasses.replace(same[0], **numbers, counts=valid, recovery=back)


def _in_all(tables: Sequence[Sequence[T]], key: Callable[[T], Hashable]) -> list[list[T]]:
    """What every table has under the same key, in the order of the first."""
    by_key = [{key(one): one for one in table} for table in tables]
    return [[found[name] for found in by_key] for name in by_key[0] if all(name in found for found in by_key)]


def _known(values: Sequence[float | None]) -> float:
    mean = _mean(values)
    assert mean is not None
    return mean


def _mean(values: Sequence[float | None]) -> float | None:
    """None where a seed has no such number."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
