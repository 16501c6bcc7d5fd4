"""From the protocol's cells to its table: pooled over requests and seeds, with intervals clustered by fact."""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

CHANCE, KEPT, NEAR = 0.25, 0.98, 0.05
DRAWS = 2000
PUBLISHED = ("rmu", "adaptive-rmu", "srmu ratio", "srmu difference", "srmu product")
Cell = Mapping[str, Any]
Values = dict[tuple[str, str], tuple[float, int]]
"""(request, fact) -> sum and number of values."""


def make_rows(cells: Sequence[Cell]) -> list[dict[str, Any]]:
    """One row for each arena, kind of request, dial of the world and method."""
    groups: dict[tuple[Any, ...], dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        groups[place(cell)][cell["method"]].append(cell)
    rows = []
    for (arena, kind, retain, _), methods in sorted(groups.items()):
        chosen = {method: best_point(found) for method, found in methods.items()}
        for method, found in methods.items():
            row = {
                "arena": arena,
                "method": method,
                "request": kind,
                "retain": retain,
                "overlap": round(float(np.mean([cell["overlap"] for cell in found])), 4),
                "chance": CHANCE,
                "seeds": len({cell["seed"] for cell in found}),
                **_measured(found, chosen[method]),
                "area": round(area(found), 4),
                "area_loss": round(area(found, loss=True), 4),
                "seconds": round(float(np.mean([cell["seconds"] for cell in found])), 2),
            }
            if method == "default":
                row |= {"default": True, "beats_published": _beats_published(methods, chosen)}
            rows.append(row)
    return rows


def place(cell: Cell) -> tuple[str, str, str, str]:
    """What a row pools: the requests of one kind on the real model, or the worlds of one dial."""
    return cell["arena"], cell["kind"], cell["retain"], "" if cell["arena"] == "real" else cell["case"]


def best_point(cells: Sequence[Cell]) -> int | None:
    """Of the points with enough kept in every group, the one whose forget accuracy is nearest to chance."""
    points = _by_point(cells)
    reached = [point for point, found in points.items() if worst_kept(found) >= KEPT]
    return min(reached, key=lambda point: abs(_mean(values(points[point])) - CHANCE), default=None)


def worst_kept(cells: Sequence[Cell], *, loss: bool = False) -> float:
    """Least share that is kept: accuracy over the base's, or likelihood of the right answer; of texts by perplexity."""
    shares = []
    for own in _by_request(cells).values():
        for group in own[0]["groups"]:
            if group == "forget" or group in own[0]["neighbours"]:
                continue
            parts = [cell["groups"][group] for cell in own]
            # Seeds are runs on one model, or worlds of their own.
            if loss:
                shares.append(math.exp(np.mean([np.mean(p["base_nll"]) - np.mean(p["nll"]) for p in parts])))
            else:
                shares.append(
                    np.mean([np.mean(p["right"]) for p in parts]) / np.mean([np.mean(p["base"]) for p in parts])
                )
        if own[0]["text"]:
            shares.append(math.exp(np.mean([cell["text"]["base"] - cell["text"]["result"] for cell in own])))
    return float(min(shares))


def area(cells: Sequence[Cell], *, loss: bool = False) -> float:
    """Area under the frontier: kept, over what remains (distance from chance over the base's), both from 0 to 1.

    By losses both are likelihoods of the right answer over the base's, of what was to go in the mean of all questions.
    """

    def remaining(found: Sequence[Cell]) -> float:
        if loss:
            return math.exp(_mean(values(found, "base_nll")) - _mean(values(found, "nll")))
        return abs(_mean(values(found)) - CHANCE) / max(_mean(values(cells, "base")) - CHANCE, 1e-9)

    points = [
        (min(1.0, remaining(found)), min(1.0, worst_kept(found, loss=loss))) for found in _by_point(cells).values()
    ]
    total, best = 0.0, 0.0
    steps = sorted([*points, (1.0, 1.0)])
    for (left, kept), (right, _) in pairwise(steps):
        best = max(best, kept)
        total += best * (right - left)
    return total


def values(cells: Sequence[Cell], key: str = "right", keep: Callable[[str], bool] = lambda g: g == "forget") -> Values:
    """Of the questions of some groups, by fact, over requests and seeds."""
    found: Values = {}
    for cell in cells:
        for group, part in cell["groups"].items():
            if keep(group):
                for fact, value in zip(part["facts"], part[key], strict=True):
                    total, number = found.get((cell["case"], fact), (0.0, 0))
                    found[cell["case"], fact] = (total + value, number + 1)
    return found


def resampled_means(sets: Sequence[Values], seed: int = 0) -> np.ndarray:
    """Means `[draws, sets]` over facts drawn with replacement, the same facts for every set."""
    facts = sorted(set.intersection(*(set(found) for found in sets)))
    sums = np.array([[found[fact][0] for fact in facts] for found in sets])
    counts = np.array([[found[fact][1] for fact in facts] for found in sets])
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = np.array([np.bincount(generator.integers(len(facts), size=len(facts)), minlength=len(facts))
                      for _ in range(DRAWS)])  # fmt: skip
    return np.asarray((drawn @ sums.T) / (drawn @ counts.T))


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of the documentation."""
    lines = [
        "| arena | request | retain | overlap | method | forget at 98 % | interval | area | questions | s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        mark = " (base: 98 % not reached)" if not row["reached"] else ""
        lines.append(
            f"| {row['arena']} | {row['request']} | {row['retain']} | {100 * row['overlap']:.0f} % | {row['method']} "
            f"| {row['forget_at_98']:.3f}{mark} | {row['ci_low']:.3f} to {row['ci_high']:.3f} | {row['area']:.3f} "
            f"| {row['questions']} | {row['seconds']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def merged(rows: Sequence[dict[str, Any]], published: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The published rows with those of a run in place of the same ones, or after them."""

    def place_of(row: Mapping[str, Any]) -> tuple[Any, ...]:
        return row["arena"], row["request"], row["retain"], round(row["overlap"], 2), row["method"]

    found = {place_of(row): row for row in published} | {place_of(row): row for row in rows}
    return sorted(found.values(), key=lambda row: place_of(row)[:4])


def against(rows: Sequence[Mapping[str, Any]], published: Sequence[Mapping[str, Any]]) -> str:
    """What a rerun left of each request, beside the published interval of the same method and request.

    A rerun asks less, in the world of one world instead of three: where it lies outside, its own interval is shown too.
    """
    known = {
        (row["method"], row["retain"], case): one for row in published for case, one in row.get("requests", {}).items()
    }
    lines, inside, overlapping, compared = [], 0, 0, 0
    for row in rows:
        for case, own in row["requests"].items():
            lines.append(f"{case}, {row['method']}: {own['forget']:.3f}")
            one = known.get((row["method"], row["retain"], case))
            if one is None:
                lines[-1] += ", not published"
                continue
            lines[-1] += f", published {one['forget']:.3f} ({one['ci_low']:.3f} to {one['ci_high']:.3f})"
            compared += 1
            if one["ci_low"] <= own["forget"] <= one["ci_high"]:
                inside += 1
            else:
                overlap = own["ci_low"] <= one["ci_high"] and one["ci_low"] <= own["ci_high"]
                overlapping += overlap
                lines[-1] += f", outside; its own interval ({own['ci_low']:.3f} to {own['ci_high']:.3f}) "
                lines[-1] += "overlaps" if overlap else "does not overlap"
    verdict = (
        f"{inside} of {compared} lie within the published intervals, and the intervals of {overlapping} more overlap."
    )
    return "\n".join([*lines, verdict])


def _measured(cells: Sequence[Cell], point: int | None) -> dict[str, Any]:
    """Accuracy at the point, or the base's where none keeps enough, with its interval; and what the losses say."""
    points = _by_point(cells)
    found = cells if point is None else points[point]
    accuracy, low, high = _with_interval(values(found, "base" if point is None else "right"))
    shown = points[min(points)] if point is None else found
    rises = {p: _mean(values(own, "nll")) - _mean(values(own, "base_nll")) for p, own in points.items()}
    reached = [p for p, own in points.items() if worst_kept(own, loss=True) >= KEPT]
    return {
        "questions": _num_questions(found),
        "forget_at_98": accuracy,
        "ci_low": low,
        "ci_high": high,
        "requests": {name: _of_request(own) for name, own in sorted(_by_request(shown).items())},
        "reached": point is not None,
        "kept": round(worst_kept(found), 4) if point is not None else 1.0,
        "forget_loss_at_98": round(max((rises[p] for p in reached), default=0.0), 4),
        "settings": found[0]["settings"] if point is not None else None,
    }


def _of_request(cells: Sequence[Cell]) -> dict[str, float]:
    """What the method left and kept of one request, whether or not that is enough."""
    accuracy, low, high = _with_interval(values(cells))
    return {"forget": accuracy, "ci_low": low, "ci_high": high, "kept": round(worst_kept(cells), 4)}


def _with_interval(forget: Values) -> tuple[float, float, float]:
    low, high = np.quantile(resampled_means([forget])[:, 0], [0.025, 0.975])
    return round(_mean(forget), 4), round(float(low), 4), round(float(high), 4)


def _num_questions(cells: Sequence[Cell]) -> int:
    """Different questions about what must go: every world has its own; on the real model seeds are asked alike."""
    asked = {
        (cell["case"], cell["seed"] if cell["arena"] == "world" else 0): len(cell["groups"]["forget"]["facts"])
        for cell in cells
    }
    return sum(asked.values())


def _beats_published(methods: Mapping[str, Sequence[Cell]], chosen: Mapping[str, int | None]) -> bool:
    """Whether the paired interval against the best published method excludes zero.

    The difference is that of the distances from chance, or, where that method is near enough, of what is kept.
    """

    def at(method: str) -> tuple[Sequence[Cell], str]:
        point = chosen[method]
        cells = methods[method]
        return (cells, "base") if point is None else (_by_point(cells)[point], "right")

    published = [method for method in PUBLISHED if method in methods]
    if not published:
        return False
    best = min(published, key=lambda method: abs(_mean(values(*at(method))) - CHANCE))
    if abs(_mean(values(*at(best))) - CHANCE) > NEAR:
        means = resampled_means([values(*at(best)), values(*at("default"))])
        difference = np.abs(means[:, 0] - CHANCE) - np.abs(means[:, 1] - CHANCE)
    else:
        left_out = {"forget", *methods["default"][0]["neighbours"]}
        kept = [values(*at(method), keep=lambda group: group not in left_out) for method in ("default", best)]
        means = resampled_means(kept)
        difference = means[:, 0] - means[:, 1]
    return bool(np.quantile(difference, 0.025) > 0)


def _by_point(cells: Sequence[Cell]) -> dict[int, list[Cell]]:
    points: dict[int, list[Cell]] = defaultdict(list)
    for cell in cells:
        points[cell["point"]].append(cell)
    return points


def _by_request(cells: Sequence[Cell]) -> dict[str, list[Cell]]:
    requests: dict[str, list[Cell]] = defaultdict(list)
    for cell in cells:
        requests[cell["case"]].append(cell)
    return requests


def _mean(found: Values) -> float:
    return sum(total for total, _ in found.values()) / sum(number for _, number in found.values())
