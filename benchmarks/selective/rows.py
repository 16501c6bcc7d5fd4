"""From the cells of the selective protocol to its rows: pooled over requests and seeds, intervals clustered by fact."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from selective.requests import GROUPS

Cell = dict[str, Any]
CHANCE, DRAWS = 0.25, 2000
PUBLISHED = ("rmu", "adaptive-rmu", "srmu ratio", "srmu difference", "srmu product")
Pairs = dict[tuple[str, str], tuple[list[int], list[int]]]
"""(request, fact) -> what the base and the result answered, over questions and seeds."""


def make_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """One row for each model, kind of request, retain condition and method."""
    places: dict[tuple[str, ...], dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        places[cell["model"], cell["kind"], cell["retain"], cell["documents"]][cell["method"]].append(cell)
    rows = []
    for (model, kind, retain, documents), methods in sorted(places.items()):
        for method, found in methods.items():
            row = {
                "model": model,
                "kind": kind,
                "retain": retain,
                "documents": documents,
                "method": method,
                "requests": sorted({cell["request"] for cell in found}),
                "questions": sum(len(cell["groups"]["forget"]["right"]) for cell in found),
                "seeds": len({cell["seed"] for cell in found}),
                "chance": CHANCE,
                "groups": {name: _group(found, name) for name in GROUPS} | {"audit": _audit(found)},
                "fluency": _fluency(found),
                "trials": 20 if method in PUBLISHED else 0,
                "seconds": _mean_seconds(found),
            }
            if method == "default":
                row |= {"default": True, "beats_published": _beats(methods)}
            rows.append(row)
    return rows


def pairs_of(cells: Sequence[Cell], group: str) -> Pairs:
    """Answers of base and result, fact by fact."""
    found: Pairs = {}
    for cell in cells:
        part = cell["groups"].get(group)
        for fact, base, right in zip(*(part[key] for key in ("facts", "base", "right")), strict=True) if part else ():
            before, after = found.setdefault((cell["request"], fact), ([], []))
            before.append(base)
            after.append(right)
    return found


def resampled(pairs: Pairs, place: int, seed: int = 0) -> np.ndarray:
    """Means over facts drawn with replacement; `place` 0 is the base, 1 the result."""
    sums = np.array([sum(both[place]) for both in pairs.values()])
    counts = np.array([len(both[place]) for both in pairs.values()])
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = generator.integers(len(sums), size=(DRAWS, len(sums)))
    return np.asarray(sums[drawn].sum(1) / counts[drawn].sum(1))


def _group(cells: Sequence[Cell], name: str) -> dict[str, float] | None:
    pairs = pairs_of(cells, name)
    if not pairs:
        return None
    base = np.mean([right for before, _ in pairs.values() for right in before])
    result = np.mean([right for _, after in pairs.values() for right in after])
    low, high = np.quantile(resampled(pairs, 1), [0.025, 0.975])
    return _rounded(base, result, low, high)


def _audit(cells: Sequence[Cell]) -> dict[str, float] | None:
    """The shipped bank of facts, each cell alike; the interval is of the mean over cells."""
    banks = [cell["audit"]["bank"] for cell in cells if cell["audit"]["bank"]]
    if not banks:
        return None
    base, result = (float(np.mean([bank[side] for bank in banks])) for side in ("base", "result"))
    margin = 1.96 * float(np.mean([bank["stderr"] or 0.0 for bank in banks])) / np.sqrt(len(banks))
    return _rounded(base, result, result - margin, result + margin)


def _fluency(cells: Sequence[Cell]) -> dict[str, float] | None:
    """Of the cells that have one; it is null in those that were measured before it was what it is (docs/log)."""
    found = [cell["fluency"] for cell in cells if cell["fluency"]]
    if not found:
        return None
    return {side: round(float(np.mean([each[side] for each in found])), 4) for side in ("base", "result")}


def _rounded(base: float, result: float, low: float, high: float) -> dict[str, float]:
    values = {"base": base, "result": result, "ci_low": low, "ci_high": high}
    return {name: round(float(value), 4) for name, value in values.items()}


def _beats(methods: dict[str, list[Cell]]) -> bool | None:
    """Whether the default is surely ahead of every published method there is, on forgetting or on what is kept.

    Ahead on one (the paired interval of the difference over facts excludes zero) and surely behind on none. None where
    no published method has run on the same requests and seeds.
    """
    ahead = []
    for name in PUBLISHED:
        common = {(c["request"], c["seed"]) for c in methods.get(name, ())} & {
            (c["request"], c["seed"]) for c in methods["default"]
        }
        if not common:
            continue
        ours, theirs = (
            [c for c in methods[which] if (c["request"], c["seed"]) in common] for which in ("default", name)
        )
        signs = [_difference(ours, theirs, "forget", toward=CHANCE)]
        signs += [_difference(ours, theirs, group) for group in GROUPS[1:]]
        ahead.append(1 in signs and -1 not in signs)
    return all(ahead) if ahead else None


def _difference(ours: Sequence[Cell], theirs: Sequence[Cell], group: str, toward: float | None = None) -> int:
    """1 where ours is surely better, -1 where theirs is, 0 where the paired interval holds zero."""
    first, second = pairs_of(ours, group), pairs_of(theirs, group)
    facts = sorted(first.keys() & second.keys())
    if not facts:
        return 0
    a, b = (resampled({fact: found[fact] for fact in facts}, 1) for found in (first, second))
    gap = abs(b - toward) - abs(a - toward) if toward is not None else a - b
    low, high = np.quantile(gap, [0.025, 0.975])
    return int(low > 0) - int(high < 0)


def _mean_seconds(cells: Sequence[Cell]) -> float | None:
    """Of those that were timed: a cell's seconds are null where the machine held it up."""
    timed = [cell["seconds"] for cell in cells if cell["seconds"] is not None]
    return round(float(np.mean(timed)), 1) if timed else None
