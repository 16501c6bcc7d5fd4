"""How much an attack brought back, when it counts, and why there may be no result."""

import math
from collections.abc import Mapping

LEAST_BASE_SHARE = 0.8
"""An attack counts only where the base keeps this share of its accuracy under it: else it destroyed what it seeks."""

_ROUNDING = 1e-9


class NotApplicable(Exception):
    """This input does not allow the attack; the message says what is needed and holds no text of the data."""


class Skipped(Exception):
    """The attack could be made and is not; the message says why and holds no text of the data."""


def recovery(after: float, base_after: float, chance: float) -> float:
    """(after - chance) / (base after - chance): what came back, of what the same attack leaves in the base.

    Returns:
        0 where nothing came back, 1 where as much is known as by the attacked base; nan where the base is at chance
        itself, so that nothing can be said.
    """
    return (after - chance) / (base_after - chance) if base_after - chance > _ROUNDING else math.nan


def counts(base_before: float, base_after: float, chance: float) -> bool:
    """Whether the attack left enough in the base for a verdict: 80 % of its accuracy, and more than chance."""
    return base_after >= LEAST_BASE_SHARE * base_before - _ROUNDING and base_after > chance


def worst_utility(after: Mapping[str, float], base: Mapping[str, float]) -> float | None:
    """The smallest ratio over the kept groups; none where there is no group that the base knows anything of."""
    ratios = [value / base[name] for name, value in after.items() if base.get(name)]
    return min(ratios, default=None)


def defined(value: float | None) -> float | None:
    """The number, or none where it is not finite."""
    return value if value is not None and math.isfinite(value) else None
