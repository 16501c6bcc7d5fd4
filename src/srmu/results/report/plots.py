"""Inline SVG: colours come from the page's style, so that one picture serves light, dark and paper."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from srmu.results.label_places import place_labels

WIDTH, HEIGHT = 380, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 14, 36
_MOST_POINTS = 300
_LABEL_LINE = 13
# Width of a letter of a name, generously.
_LETTER = 7.0
_DOT = 5
_DOT_LINE = 9
_NUM_COLOURS = 6
_LARGEST = 1e100


@dataclass(frozen=True)
class Series:
    """A named set of points; `errors` are half-lengths of a bar along the value's axis."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    errors: Sequence[float | None] = ()


@dataclass(frozen=True)
class Figure:
    """A picture with the names of its series, and where it has one its caption."""

    figure: Markup
    legend: Sequence[str] = ()
    words: str = ""


class _Axes:
    """Data coordinates to pixels, with ticks."""

    def __init__(self, x: Sequence[float], y: Sequence[float]):
        self.x_low, self.x_high, self.x_ticks = _scale(x)
        self.y_low, self.y_high, self.y_ticks = _scale(y)

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = (_drawable(x) - self.x_low) / (self.x_high - self.x_low)
        up = (_drawable(y) - self.y_low) / (self.y_high - self.y_low)
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
    """One point per series with its name; points in one place show as rings, and a line leads to a distant name."""
    axes = _Axes([x for one in series for x in one.x], [y for one in series for y in one.y])
    points = [axes.at(one.x[0], one.y[0]) for one in series]
    places = place_labels(
        points, [_LETTER * len(one.name) for one in series], width=WIDTH, height=HEIGHT - _BOTTOM, line=_LABEL_LINE
    )
    leaders, circles, names = [], [], []
    for index, (one, (across, down), place) in enumerate(zip(series, points, places, strict=True)):
        colour = f"c{index % _NUM_COLOURS}"
        # Later points are drawn above: an earlier one in the same place must be larger to be seen.
        above = sum(math.dist(other, (across, down)) < _DOT for other in points[index + 1 :])
        radius = _DOT + 3 * above
        circles.append(Markup('<circle class="dot {}" cx="{}" cy="{}" r="{}"/>').format(colour, across, down, radius))
        right = place.left > across
        end = place.left if right else place.right
        if abs(place.middle - down) > 1:
            leaders.append(_line(across, down, end, place.middle, f"leader {colour}"))
        names.append(_text(end, place.middle + 4, one.name, f"name {colour} {'start' if right else 'end'}"))
    return _svg([axes.frame(x_label, y_label), *leaders, *circles, *names], title, description)


def dots(groups: Sequence[str], series: Sequence[Series], *, x_label: str, title: str, description: str) -> Markup:
    """A block for each group with one line for each series; `y` holds group positions, `x` values between 0 and 1."""
    block = 24 + _DOT_LINE * len(series)
    height = block * len(groups) + 44
    span = WIDTH - 2 * _RIGHT - 8

    def across(value: float) -> float:
        return round(_RIGHT + 4 + min(max(value, 0.0), 1.0) * span, 1)

    body = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        x = across(tick)
        body.append(_line(x, 8, x, height - 34, "grid") + _text(x, height - 20, f"{tick:g}", "tick middle"))
    body.append(_text(WIDTH / 2, height - 5, x_label, "label middle"))
    for position, group in enumerate(groups):
        body.append(_text(_RIGHT + 8, 18 + position * block, group, "name start"))
    for index, one in enumerate(series):
        colour = f"c{index % _NUM_COLOURS}"
        for value, group_position, error in zip(one.x, one.y, one.errors, strict=True):
            y = 28 + group_position * block + _DOT_LINE * index
            if error is not None:
                body.append(_line(across(value - error), y, across(value + error), y, f"whisker {colour}"))
            body.append(
                Markup('<circle class="dot {}" cx="{}" cy="{}" r="{}"/>').format(colour, across(value), y, _DOT - 1)
            )
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
    low, high = min(map(_drawable, values)), max(map(_drawable, values))
    if high - low < 1e-12 + 1e-9 * max(abs(low), abs(high)):
        middle = max(0.5, 1e-3 * abs(low))
        low, high = low - middle, high + middle
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    ticks = [round(index * step, 12) for index in range(first, last + 1)]
    return ticks[0], ticks[-1], ticks


def _drawable(value: float) -> float:
    """The number, within what can be subtracted and divided; 0 where there is none."""
    return min(max(value, -_LARGEST), _LARGEST) if value == value else 0.0


def _thinned(series: Series) -> Series:
    step = math.ceil(len(series.x) / _MOST_POINTS)
    return Series(series.name, series.x[::step], series.y[::step])
