"""One setting: its default, help text and range in a dataclass field; and the check that all groups share."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any

from srmu.errors import InputError

Range = Callable[[float], str]
"""Gives what a number must be, as in "above 0", where it is not; else nothing."""


class ConfigError(InputError):
    """Everything that is wrong with a configuration, in one message."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The configuration has " + _join(problems))
        self.problems = problems


def option(default: Any, help: str, range: Range | None = None) -> Any:
    """A field with its help text; mutable defaults are copied for each instance.

    Args:
        default: Its value where none is given.
        help: One sentence, the only one about it.
        range: What a number must be; words such as `auto` are not checked.
    """
    metadata = {"help": help, "range": range}
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def positive(value: float) -> str:
    """A `Range`."""
    return "" if value > 0 else "above 0"


def positive_up_to(most: int) -> Range:
    """A `Range` of counts; beyond its end a run would fill the memory with row numbers, or never end."""
    return lambda value: positive(value) or ("" if value <= most else f"at most {most:,}")


def at_least(least: float) -> Range:
    """A `Range` from a number on."""
    return lambda value: "" if value >= least else f"{least} or more"


def between(low: float, high: float, *, closed: bool = False) -> Range:
    """A `Range` of two ends; the upper one belongs to it where it is closed."""
    if closed:
        return lambda value: "" if low <= value <= high else f"from {low} to {high}"
    return lambda value: "" if low <= value < high else f"at least {low} and below {high}"


@dataclass(frozen=True, kw_only=True)
class CheckedConfig:
    """A group of settings that checks itself; a group that exists is in order."""

    def __post_init__(self) -> None:
        if problems := self.problems():
            raise ConfigError(problems)

    def problems(self) -> list[str]:
        """What is wrong with it, each as a phrase."""
        found = []
        for each in fields(self):
            value, allowed = getattr(self, each.name), each.metadata["range"]
            if allowed is not None and not isinstance(value, str) and (must := allowed(value)):
                found.append(f"{each.name}={value!r}, which must be {must}")
        return found


def _join(problems: list[str]) -> str:
    def sentence(text: str) -> str:
        return text if text.endswith(("?", ".")) else text + "."

    if len(problems) == 1:
        return sentence(problems[0])
    return sentence(f"{len(problems)} problems: " + "; ".join(problem.rstrip(".") for problem in problems))
