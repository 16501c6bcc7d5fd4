"""Pictures of what attacks brought back, from the records that `srmu attack` wrote."""

from collections.abc import Mapping, Sequence

from markupsafe import Markup

from srmu.results.attack_records import AttackRecord
from srmu.results.report import plots

_SIDES = {
    "base_before": "base",
    "forget_before": "result",
    "base_after": "base after the attack",
    "forget_after": "result after the attack",
    "utility_after": "utility after the attack",
}


def attack_figures(attacks: Mapping[str, AttackRecord]) -> list[plots.Figure]:
    """All attacks in one picture; the relearning that brought back most, by step; and each sweep by its strength.

    Args:
        attacks: By name.

    Returns:
        One figure per picture; empty where no attack has a result.
    """
    measured = {
        name: record
        for name, record in attacks.items()
        if record.status == "result" and record.forget_after is not None
    }
    figures = [_overview(measured)] if measured else []
    for name, record in measured.items():
        if record.cells and name == "relearn":
            figures += _worst_curve(record)
        if record.sweep:
            figures.append(_sweep(name, record))
    return figures


def _overview(measured: Mapping[str, AttackRecord]) -> plots.Figure:
    series = []
    for key, title in _SIDES.items():
        values = [getattr(record, key) for record in measured.values()]
        points = [(place, value) for place, value in enumerate(values) if value is not None]
        places = [place for place, _ in points]
        series.append(plots.Series(title, [value for _, value in points], places, [None] * len(points)))
    names = [name.replace("_", " ") for name in measured]
    picture = plots.dots(
        names, series, x_label="forget side; utility", title="Attacks",
        description="Forget side of base and result before and after each attack, and utility after it",
    )  # fmt: skip
    words = "Forget side, mostly accuracy, before and after each attack, and the utility that is left beside it."
    return plots.Figure(picture, [one.name for one in series], words)


def _worst_curve(record: AttackRecord) -> list[plots.Figure]:
    """Accuracy on the tested half by step, in the worst cell."""
    worst = record.worst
    if worst is None:
        return []
    key = (worst.material, worst.tuning, worst.learning_rate)
    for cell in record.cells:
        if (cell.material, cell.tuning, cell.learning_rate) == key:
            steps = [0, *(point.step for point in cell.curve)]
            base = [record.base_before, *(point.base for point in cell.curve)]
            result = [record.forget_before, *(point.forget for point in cell.curve)]
            picture = _lines(
                steps, base, result, x_label="step", title="Relearning by step",
                description="Accuracy on the half of the facts that is not trained on, in the worst case",
            )  # fmt: skip
            words = (
                f"Relearning, worst case ({cell.material}, {cell.tuning}): the half that is not trained on, by step."
            )
            return [plots.Figure(picture, ["base", "result"], words)]
    return []


def _sweep(name: str, record: AttackRecord) -> plots.Figure:
    """Accuracy on the tested half by the attack's strength."""
    places = [0.0, *(point.at for point in record.sweep)]
    base = [record.base_before, *(point.base for point in record.sweep)]
    result = [record.forget_before, *(point.forget for point in record.sweep)]
    title = name.replace("_", " ").capitalize()
    picture = _lines(
        places, base, result, x_label=record.sweep_over or "strength", title=title,
        description=f"Accuracy on the tested half of the facts, by {record.sweep_over}",
    )  # fmt: skip
    words = f"{title}: accuracy on the tested half of the facts by {record.sweep_over}."
    return plots.Figure(picture, ["base", "result"], words)


def _lines(
    places: Sequence[float], base: Sequence[float | None], result: Sequence[float | None], *, x_label: str, title: str,
    description: str,
) -> Markup:  # fmt: skip
    series = []
    for name, values in (("base", base), ("result", result)):
        known = [(place, value) for place, value in zip(places, values, strict=True) if value is not None]
        series.append(plots.Series(name, [place for place, _ in known], [value for _, value in known]))
    return plots.lines(series, x_label=x_label, y_label="accuracy", title=title, description=description)
