"""Several seeds of an attack as one record: accuracies are averaged first, and then the worst case is chosen.

With every seed another half of the facts is told. The largest of several noisy numbers is biased upwards, for the
attacker; of averaged ones less so. A verdict needs every seed.
"""

from collections.abc import Sequence
from typing import Any

from srmu.evaluation.attacks.asking import DOES_NOT_COUNT
from srmu.evaluation.attacks.outcome import counts, finite, recovery
from srmu.evaluation.attacks.relearn import NO_STEP_COUNTS

Record = dict[str, Any]
_BEFORE = ("chance", "forget_before", "base_before", "utility")
_AFTER = ("forget_after", "base_after", "utility_after")
_CELL = ("material", "tuning", "learning_rate")


def over_seeds(entries: Sequence[Record]) -> Record:
    """One record of an attack's records with several seeds; of a single one that one.

    Args:
        entries: As `attack` makes them, of one attack, budget and model.

    Returns:
        A record of the same form. `seed` lists the seeds, `recovery_by_seed` is what each found by itself, and `n` the
        questions of all. Standard errors and accuracies by group are left out: they are those of single seeds.
    """
    if len(entries) == 1:
        return dict(entries[0])
    about = {
        "budget": entries[0]["budget"],
        "seed": [entry["seed"] for entry in entries],
        "seconds": round(sum(entry["seconds"] for entry in entries), 1),
    }
    errors = [entry for entry in entries if entry["status"] == "error"]
    # Where relearning counts at no step there are numbers all the same, and on average it may count.
    if missing := errors or [entry for entry in entries if "forget_before" not in entry]:
        detail = "; ".join(f"seed {entry['seed']}: {entry['detail']}" for entry in missing)
        return {"status": missing[0]["status"], "detail": detail, **about}
    numbers: Record = {key: _mean([entry[key] for entry in entries]) for key in _BEFORE}
    numbers["n"] = sum(entry["n"] for entry in entries)
    numbers["recovery_by_seed"] = {str(entry["seed"]): entry.get("recovery") for entry in entries}
    status, details = "result", _details(entries)
    if "cells" in entries[0]:
        numbers["cells"] = _averaged_cells(entries, numbers)
        worst = _worst(numbers["cells"])
        if worst is None:
            status, details = "not applicable", [NO_STEP_COUNTS, *details]
        else:
            numbers |= worst
    else:
        numbers |= _averaged_numbers(entries, numbers)
        if not numbers.get("counts", True):
            details = [*details, DOES_NOT_COUNT]
    record: Record = finite({"status": status, "detail": "; ".join(details) or None, **numbers, **about})
    return record


def _details(entries: Sequence[Record]) -> list[str]:
    """What the seeds say, each thing once; whether it counts is said of the averages."""
    said = [entry["detail"] or "" for entry in entries]
    for verdict in (NO_STEP_COUNTS, DOES_NOT_COUNT):
        said = [detail.replace(verdict, "").strip("; ") for detail in said]
    return list(dict.fromkeys(filter(None, said)))


def _averaged_numbers(entries: Sequence[Record], means: Record) -> Record:
    """Of an attack that gives one number a model."""
    after: Record = {key: _mean([entry[key] for entry in entries]) for key in _AFTER}
    valid = True
    # Attacks that measure something else than accuracy have no such rule.
    if "counts" in entries[0]:
        after["counts"] = valid = counts(means["base_before"], after["base_after"], means["chance"])
    after["recovery"] = recovery(after["forget_after"], after["base_after"], means["chance"]) if valid else None
    return after


def _averaged_cells(entries: Sequence[Record], means: Record) -> list[Record]:
    """Every cell of relearning that all seeds have, as far as all of them went."""
    tables = [{tuple(cell[key] for key in _CELL): cell for cell in entry["cells"]} for entry in entries]
    cells = []
    for key in tables[0]:
        same = [table[key] for table in tables if key in table]
        if len(same) < len(tables):
            continue
        cell = dict(zip(_CELL, key, strict=True))
        if "curve" in same[0]:
            curves = [{point["step"]: point for point in each["curve"]} for each in same]
            steps = [step for step in curves[0] if all(step in curve for curve in curves)]
            cell["curve"] = [
                {"step": step, **_averaged_point([curve[step] for curve in curves], "forget", means)} for step in steps
            ]
        else:
            cell |= _averaged_point(same, "result", means)
        cells.append(cell)
    return cells


def _averaged_point(points: Sequence[Record], after: str, means: Record) -> Record:
    """`after` is the key of the result's accuracy."""
    left_out = (*_CELL, "step", "counts", "recovery")
    point: Record = {key: _mean([each[key] for each in points]) for key in points[0] if key not in left_out}
    valid = counts(means["base_before"], point["base"], means["chance"])
    return {
        **point,
        "counts": valid,
        "recovery": recovery(point[after], point["base"], means["chance"]) if valid else None,
    }


def _worst(cells: Sequence[Record]) -> Record | None:
    """The numbers of the point with the largest recovery; none where no point counts."""
    found: list[Record] = []
    for cell in cells:
        about = {key: cell[key] for key in _CELL}
        if "curve" in cell:
            found += [
                {
                    "forget_after": point["forget"], "base_after": point["base"], "recovery": point["recovery"],
                    "utility_after": point["utility"], "worst": {**about, "step": point["step"]},
                }
                for point in cell["curve"]
            ]  # fmt: skip
        else:
            found.append(
                {
                    "forget_after": cell["result"], "base_after": cell["base"], "recovery": cell["recovery"],
                    "utility_after": cell["utility_after"], "worst": {**about, "disturbance": cell["disturbance"]},
                }
            )  # fmt: skip
    return max((one for one in found if one["recovery"] is not None), key=lambda one: one["recovery"], default=None)


def _mean(values: Sequence[float | None]) -> float | None:
    """None where a seed has no such number."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None
