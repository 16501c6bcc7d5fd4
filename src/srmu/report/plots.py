"""Inline SVG: colours come from the page's style, so that one picture serves light, dark and paper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

WIDTH, HEIGHT = 380, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 12, 36
_MOST_POINTS = 300
_LABEL_GAP = 13
_NUM_COLOURS = 6


@dataclass(frozen=True)
class Series:
    """A named set of points; `errors` are half-lengths of a bar along the value's axis."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    errors: Sequence[float | None] = ()


class _Axes:
    """Data coordinates to pixels, with ticks."""

    def __init__(self, x: Sequence[float], y: Sequence[float]):
        self.x_low, self.x_high, self.x_ticks = _scale(x)
        self.y_low, self.y_high, self.y_ticks = _scale(y)

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (x - self.x_low) / (self.x_high - self.x_low)
        up = (y - self.y_low) / (self.y_high - self.y_low)
        return (
            round(_LEFT + across * (WIDTH - _LEFT - _RIGHT), 1),
            round(HEIGHT - _BOTTOM - up * (HEIGHT - _TOP - _BOTTOM), 1),
        )

    def frame(self, x_label: str, y_label: str) -> Markup:
        parts = []
        for tick in self.y_ticks:
            x, y = self.at(self.x_low, tick)
            parts.append(_line(x, y, WIDTH - _RIGHT, y, "grid") + _text(x - 4, y + 3, f"{tick:g}", "tick end"))
        for tick in self.x_ticks:
            x, _ = self.at(tick, self.y_low)
            parts.append(_text(x, HEIGHT - _BOTTOM + 14, f"{tick:g}", "tick middle"))
        middle = (_LEFT + WIDTH - _RIGHT) / 2
        parts.append(_text(middle, HEIGHT - 6, x_label, "label middle"))
        parts.append(
            Markup('<text class="label middle" transform="translate(11 {}) rotate(-90)">{}</text>').format(
                (HEIGHT - _BOTTOM + _TOP) / 2, y_label
            )
        )
        return Markup("").join(parts)


def lines(series: Sequence[Series], *, x_label: str, y_label: str, title: str, description: str) -> Markup:
    """Curves; long ones are thinned."""
    thin = [_thinned(one) for one in series]
    axes = _Axes([x for one in thin for x in one.x], [0.0, *(y for one in thin for y in one.y)])
    body = [axes.frame(x_label, y_label)]
    for index, one in enumerate(thin):
        points = " ".join(f"{x},{y}" for x, y in (axes.at(*pair) for pair in zip(one.x, one.y, strict=True)))
        body.append(Markup('<polyline class="curve c{}" points="{}"/>').format(index % _NUM_COLOURS, points))
    return _svg(body, title, description)


def histogram(values: Sequence[float], *, x_label: str, title: str, description: str, bins: int = 24) -> Markup:
    """How many values lie in each of equal intervals from 0, or the smallest, to the largest."""
    low, high = min(0.0, *values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    axes = _Axes([low, low + bins * width], [0, *counts])
    body = [axes.frame(x_label, "features")]
    for index, count in enumerate(counts):
        left, top = axes.at(low + index * width, count)
        right, bottom = axes.at(low + (index + 1) * width, 0)
        body.append(
            Markup('<rect class="bar" x="{}" y="{}" width="{}" height="{}"/>').format(
                left, top, round(max(right - left - 1, 0.5), 1), round(bottom - top, 1)
            )
        )
    return _svg(body, title, description)


def scatter(series: Sequence[Series], *, x_label: str, y_label: str, title: str, description: str) -> Markup:
    """Points with their names beside them, moved apart where they would cover each other."""
    axes = _Axes([x for one in series for x in one.x], [y for one in series for y in one.y])
    body = [axes.frame(x_label, y_label)]
    taken: list[float] = []
    for index, one in enumerate(series):
        for x, y in zip(one.x, one.y, strict=True):
            across, down = axes.at(x, y)
            body.append(
                Markup('<circle class="dot c{}" cx="{}" cy="{}" r="5"/>').format(index % _NUM_COLOURS, across, down)
            )
            height = down - 6
            while any(abs(height - other) < _LABEL_GAP for other in taken):
                height += _LABEL_GAP
            taken.append(height)
            left = across < WIDTH / 2
            body.append(_text(across + (8 if left else -8), height, one.name, "name " + ("start" if left else "end")))
    return _svg(body, title, description)


def dots(groups: Sequence[str], series: Sequence[Series], *, x_label: str, title: str, description: str) -> Markup:
    """A row for each group with one dot for each series; `y` holds group positions, `x` values between 0 and 1."""
    row, height = 34, 34 * len(groups) + 44
    span = WIDTH - 2 * _RIGHT - 8

    def across(value: float) -> float:
        return round(_RIGHT + 4 + min(max(value, 0.0), 1.0) * span, 1)

    body = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = across(tick)
        body.append(_line(x, 8, x, height - 34, "grid") + _text(x, height - 20, f"{tick:g}", "tick middle"))
    body.append(_text(WIDTH / 2, height - 5, x_label, "label middle"))
    for position, group in enumerate(groups):
        body.append(_text(_RIGHT, 16 + position * row, group, "name start"))
    for index, one in enumerate(series):
        colour = f"c{index % _NUM_COLOURS}"
        for value, group_position, error in zip(one.x, one.y, one.errors, strict=True):
            y = 26 + group_position * row
            if error is not None:
                body.append(_line(across(value - error), y, across(value + error), y, f"whisker {colour}"))
            body.append(Markup('<circle class="dot {}" cx="{}" cy="{}" r="5"/>').format(colour, across(value), y))
    return _svg(body, title, description, height)


def _svg(body: Sequence[Markup], title: str, description: str, height: int = HEIGHT) -> Markup:
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}"><title>{}</title>{}</svg>').format(
        WIDTH, height, f"{title}. {description}", title, Markup("").join(body)
    )


def _line(x1: float, y1: float, x2: float, y2: float, classes: str) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(classes, x1, y1, x2, y2)


def _text(x: float, y: float, text: str, classes: str) -> Markup:
    return Markup('<text class="{}" x="{}" y="{}">{}</text>').format(classes, x, y, text)


def _scale(values: Sequence[float]) -> tuple[float, float, list[float]]:
    """Limits and round ticks that cover the values."""
    low, high = min(values), max(values)
    if high - low < 1e-12:
        low, high = low - 0.5, high + 0.5
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [round(index * step, 12) for index in range(first, last + 1)]
    return ticks[0], ticks[-1], ticks


def _thinned(series: Series) -> Series:
    step = math.ceil(len(series.x) / _MOST_POINTS)
    return Series(series.name, series.x[::step], series.y[::step])
