"""One acceptance criterion as the user writes it; the grammar and what becomes of it: `results/gate.py`."""

import re
from dataclasses import dataclass

from srmu.errors import InputError

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
# The expression below takes time in the square of the length.
_LONGEST = 300
_REQUIREMENT = re.compile(
    rf"\s*(?P<metric>[^<>=*]*[^<>=*\s])\s*(?P<comparator><=|>=|<|>)\s*(?:(?P<number>{_NUMBER})\s*(?P<times>\*\s*base)?|(?P<base>base))\s*"
)


@dataclass(frozen=True)
class Requirement:
    """One criterion.

    Attributes:
        text: As the user wrote it.
        metric: What is compared.
        comparator: A key of `_COMPARATORS`.
        number: The bound, or the factor of the base's value.
        relative: Whether `number` is a factor of the base's value.
    """

    text: str
    metric: str
    comparator: str
    number: float
    relative: bool


def parse_requirement(text: str) -> Requirement:
    """Read one requirement.

    Raises:
        InputError: If it does not follow the grammar above.
    """
    match = _REQUIREMENT.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or not match["metric"].isprintable():
        raise InputError(
            f"Requirement {text[:_LONGEST]!r} is not understood. Write METRIC<=NUMBER or METRIC>=FACTOR*base, "
            "for example forget<=0.30 or entangled>=0.98*base."
        )
    return Requirement(
        text=text.strip(),
        metric=match["metric"].strip(),
        comparator=match["comparator"],
        number=float(match["number"] or 1.0),
        relative=bool(match["times"] or match["base"]),
    )
