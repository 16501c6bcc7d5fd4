"""Where the names of points go in a plot, so that none covers another name or a point."""

from collections.abc import Sequence
from typing import NamedTuple

_GAP = 8.0
_POINT = 7.0
_MOST_LINES = 12


class Place(NamedTuple):
    """The left and right end of a name and the middle of its line, in the plot's unit, counted downwards."""

    left: float
    right: float
    middle: float


def place_labels(
    points: Sequence[tuple[float, float]],
    widths: Sequence[float],
    *,
    width: float,
    height: float,
    line: float = 13.0,
) -> list[Place]:
    """Put each name right or left of its point, or some lines further up or down where that is taken.

    Args:
        points: Across and down, from the upper left corner.
        widths: Of the names.
        width: Of the area that the names must stay in.
        height: Its height, in the same units.
        line: Height of a name.

    Returns:
        A place for each point, in order.
    """
    taken: list[Place] = []
    for (across, down), length in zip(points, widths, strict=True):
        places = [
            Place(left, left + length, down + sign * step * line)
            for step in range(_MOST_LINES)
            for sign in ((1,) if step == 0 else (-1, 1))
            for left in (across + _GAP, across - _GAP - length)
        ]
        inside = [
            place
            for place in places
            if place.left >= 0 and place.right <= width and line / 2 <= place.middle <= height - line / 2
        ]
        free = [
            place
            for place in inside
            if not any(_overlap(place, other, line) for other in taken)
            and not any(_covers(place, point, line) for point in points)
        ]
        taken.append((free or inside or places)[0])
    return taken


def _overlap(one: Place, other: Place, line: float) -> bool:
    return bool(one.left < other.right and other.left < one.right and abs(one.middle - other.middle) < line)


def _covers(place: Place, point: tuple[float, float], line: float) -> bool:
    across, down = point
    beside = place.left - _POINT < across < place.right + _POINT
    return bool(beside and abs(down - place.middle) < line / 2 + _POINT - 2)
