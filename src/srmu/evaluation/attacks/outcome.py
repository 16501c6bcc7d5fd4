"""What became of an attack, and how much it brought back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["result", "skipped", "not applicable", "error"]

LEAST_BASE_SHARE = 0.8
"""An attack counts only where the base keeps this share of its accuracy under it: else it destroyed what it seeks."""

_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One attack's record in `results.json`.

    Attributes:
        status: `result` has numbers; `skipped` could be done and was not; `not applicable` cannot be done on this
            input; `error` raised, and says nothing about the model.
        detail: Why there is no result, or what to know about it; never a text of the data.
        numbers: `chance`, `forget_before`, `forget_after`, `base_before`, `base_after` and `recovery` on the forget
            side; `utility` (the result before the attack over the base) and `utility_after` (after it), each of the
            kept group that fares worst; `kept`; and what is the attack's own.
    """

    status: Status
    detail: str = ""
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_record(self) -> dict[str, Any]:
        """JSON values; a number that is not defined becomes null."""
        return {"status": self.status, "detail": self.detail or None, **finite(dict(self.numbers))}


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


def worst_utility(after: Mapping[str, float], base: Mapping[str, float]) -> float:
    """The smallest ratio over the kept groups; nan where there is none that the base knows anything of."""
    ratios = [value / base[name] for name, value in after.items() if base.get(name)]
    return min(ratios, default=math.nan)


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean; nan of nothing."""
    return sum(values) / len(values) if values else math.nan


def finite(value: Any) -> Any:
    """The value with every number that is not defined replaced by None, since JSON has no such number."""
    if isinstance(value, dict):
        return {key: finite(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
