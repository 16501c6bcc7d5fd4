"""Which settings `srmu tune` searches, and over which range: all in one place."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srmu.config.settings import UnlearnConfig
from srmu.errors import InputError, nearest_hint
from srmu.job.plan import Plan

Value = int | float | str
"""Of one setting in the space."""

AUTO_RATE = "learning_rate"
"""Searched as a factor on the automatic rate of each matrix's mean, since rates differ with a model's width."""


@dataclass(frozen=True)
class Key:
    """The range of one setting: numbers from `low` to `high`, in steps or logarithmic, or one of `choices`.

    Attributes:
        low: Smallest value.
        high: Largest value, itself included.
        step: Of whole numbers; 0 = any real number.
        log: Whether factors rather than differences are equal.
        choices: Instead of numbers.
    """

    low: float = 0
    high: float = 0
    step: int = 0
    log: bool = False
    choices: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            return ", ".join(self.choices)
        steps = f" in steps of {self.step}" if self.step > 1 else ""
        return f"{self.low:g} to {self.high:g}{steps}{' (logarithmic)' if self.log else ''}"


SPACE: dict[str, Key] = {
    "layer": Key(0.08, 0.5, step=1),
    "retain_weight": Key(10, 1000, log=True),
    "steering_coefficient": Key(1, 8, log=True),
    AUTO_RATE: Key(0.25, 4, log=True),
    "steps": Key(80, 480, step=40),
    "importance_map": Key(choices=("difference", "ratio", "product")),
}
"""Ranges by setting; of `layer` as shares of the model's depth, of `learning_rate` as factors on the automatic rate."""


def search_space(plan: Plan, keys: Sequence[str] = ()) -> dict[str, Key]:
    """The ranges for one model and method.

    Args:
        plan: Decides the depth, and whether there is an importance map.
        keys: Settings to search; none = all that the method has.

    Raises:
        InputError: If a key is not in the space, or plays no part in the method.
    """
    known = [key for key in SPACE if key != "importance_map" or plan.config.target.method == "srmu"]
    for key in keys:
        if key not in known:
            raise InputError(
                f"{key!r} was to be searched, and is no key of the search space for {plan.config.target.method!r}."
                f"{nearest_hint(key, known)} Known: {', '.join(known)}."
            )
    space = {key: SPACE[key] for key in (keys or known)}
    if "layer" in space:
        low, high = (round(share * plan.num_layers) - 1 for share in (SPACE["layer"].low, SPACE["layer"].high))
        # Three layers are trained, and at least one lies above them to be asked.
        low = min(max(low, 2), plan.num_layers - 1)
        space["layer"] = Key(low, min(max(high, low + 1), plan.num_layers - 1), step=1)
    return space


def suggest(trial: Any, space: Mapping[str, Key]) -> dict[str, Value]:
    """Values of an Optuna trial."""
    values: dict[str, Value] = {}
    for name, key in space.items():
        if key.choices:
            values[name] = trial.suggest_categorical(name, key.choices)
        elif key.step:
            values[name] = trial.suggest_int(name, int(key.low), int(key.high), step=key.step)
        else:
            values[name] = trial.suggest_float(name, key.low, key.high, log=key.log)
    return values


def to_settings(values: Mapping[str, Value], automatic_rate: float) -> dict[str, Value]:
    """Settings of `UnlearnConfig`, floats to three digits: what is tried is what the YAML says."""
    settings = {name: float(f"{value:.3g}") if isinstance(value, float) else value for name, value in values.items()}
    if AUTO_RATE in settings:
        settings[AUTO_RATE] = float(f"{float(settings[AUTO_RATE]) * automatic_rate:.3g}")
    return settings


def given_values(config: UnlearnConfig, space: Mapping[str, Key], automatic_rate: float) -> dict[str, Value]:
    """Where the settings given stand in the space, for the first trial; what lies outside goes to the nearest end."""
    values: dict[str, Value] = {}
    for name, key in space.items():
        value = config.get(name)
        if name == AUTO_RATE:
            value = 1.0 if value == "auto" else value / automatic_rate
        if key.choices:
            values[name] = value if value in key.choices else key.choices[0]
            continue
        value = min(max(value, key.low), key.high)
        values[name] = int(key.low + round((value - key.low) / key.step) * key.step) if key.step else float(value)
    return values
