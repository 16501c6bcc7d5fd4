"""The configuration of a run: its groups of settings, their flat form (flags, YAML, Python), and presets.

Every key of the YAML file is also a flag of `srmu unlearn`. Flags win over the file, that over a preset's values.
"""

import dataclasses
import reprlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from srmu.config.coerce import coerce
from srmu.config.fields import ConfigError
from srmu.config.groups import (
    GROUPS,
    DataConfig,
    ModelConfig,
    OutputConfig,
    SearchConfig,
    TargetConfig,
    TrainingConfig,
)
from srmu.config.presets import PRESETS, REQUESTS
from srmu.config.renamed import RENAMED
from srmu.errors import InputError, nearest_hint
from srmu.objective.choices import Method

GROUP_OF = {each.name: name for name, group in GROUPS.items() for each in fields(group)}
"""Setting -> its group, in the order of `--help` and of the saved file."""
FIELDS = {each.name: each for group in GROUPS.values() for each in fields(group)}
"""Setting -> its dataclass field, with default and help text."""
TYPES = {name: hint for group in GROUPS.values() for name, hint in typing.get_type_hints(group).items()}
"""Setting -> the type of its value."""
PRESET_HELP = "A named group of settings: default, robust (holds better), paper, ...; docs/background/papers.md."

# What auto means. Where no text near the forget texts must stay apart from them, a high weight only slows forgetting.
RETAIN_WEIGHT, RETAIN_WEIGHT_ALONE = 400.0, 40.0
# Of methods whose targets are near.
RETAIN_WEIGHT_NEAR: dict[Method, float] = {"erasure": 5.0, "counterfactual": 10.0}

_RETAIN_OF = {"entities": "others of the same kind", "facts": "what else must stay of the same things"}


@dataclass(frozen=True, kw_only=True)
class UnlearnConfig:
    """What one run does.

    `make_config` builds it from settings without groups and applies presets; here `preset` is only a label.

    Attributes:
        model: The base model.
        data: Texts and questions.
        preset: Name of the preset that was applied.
        search: Whether settings are chosen by trials.
        target: What hidden states are driven to.
        training: What is trained, and how.
        output: What is measured and left behind.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    preset: str = "default"
    search: SearchConfig = field(default_factory=SearchConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    output: OutputConfig = field(default_factory=OutputConfig)

    def __post_init__(self) -> None:
        if self.search.request in _RETAIN_OF and not self.data.names_retain:
            kept = _RETAIN_OF[self.search.request]
            raise ConfigError(
                [f"request={self.search.request!r} without retain texts; name texts about {kept} as --retain"]
            )

    def get(self, name: str) -> Any:
        """The value of a setting, whatever its group."""
        return self.preset if name == "preset" else getattr(getattr(self, GROUP_OF[name]), name)

    def replace(self, **settings: Any) -> "UnlearnConfig":
        """The same with other values, which are taken as given; `preset` is only a label.

        Raises:
            InputError: If a value is out of range.
        """
        groups: dict[str, Any] = {"preset": settings.pop("preset", self.preset)}
        for name in GROUPS:
            changed = {key: value for key, value in settings.items() if GROUP_OF[key] == name}
            groups[name] = dataclasses.replace(getattr(self, name), **changed)
        return UnlearnConfig(**groups)


def make_config(settings: Mapping[str, Any], *, file_settings: Mapping[str, Any] | None = None) -> UnlearnConfig:
    """Build a config from flags over a file over the preset that they name, or that their kind of request has.

    Args:
        settings: Keys given as flags or arguments; they win.
        file_settings: Keys of a YAML file.

    Raises:
        InputError: Naming every unknown or renamed key, wrong type, unknown choice and value out of range at once.
    """
    given = {**(file_settings or {}), **settings}
    preset = str(given.pop("preset", "default"))
    problems = []
    if preset not in PRESETS:
        hint = nearest_hint(preset, list(PRESETS))
        problems.append(f"an unknown preset {preset!r}; known: {', '.join(PRESETS)}.{hint}")
        preset = "default"
    kind = str(given.get("request", "auto"))
    if kind in REQUESTS and preset == "default":
        preset = REQUESTS[kind]
    values: dict[str, dict[str, Any]] = {name: {} for name in GROUPS}
    for key, value in {**PRESETS[preset], **given}.items():
        if key not in FIELDS:
            problems.append(_unknown(str(key)))
            continue
        try:
            values[GROUP_OF[key]][key] = coerce(value, TYPES[key])
        except ValueError as error:
            # Abridged: a few lines of YAML can name themselves into more text than memory holds.
            problems.append(f"{key}={reprlib.repr(value)}: {error}")
    groups = {}
    for name, group in GROUPS.items():
        try:
            groups[name] = group(**values[name])
        except ConfigError as error:
            problems += error.problems
    if not problems:
        return UnlearnConfig(preset=preset, **groups)
    raise ConfigError(problems)


def _unknown(key: str) -> str:
    if key in RENAMED:
        return f"a key {key!r} that was renamed to {RENAMED[key]!r}"
    return f"an unknown key {key!r}.{nearest_hint(key, list(FIELDS))}"


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a run's YAML file into a plain mapping; data paths stay relative to the working directory."""
    import yaml

    if Path(path).exists() and not Path(path).is_file():
        raise InputError(f"Configuration file {str(path)!r} is a pipe, a device or a folder. Give a YAML file.")
    try:
        loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"Configuration file {str(path)!r} does not exist. Check the path.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"Configuration file {str(path)!r} is not readable YAML: {reason}. Correct that place."
        ) from None
    except OSError as error:
        raise InputError(f"Configuration file {str(path)!r} cannot be read: {error.strerror}.") from None
    if not isinstance(loaded, dict):
        raise InputError(f"Configuration file {str(path)!r} holds {type(loaded).__name__}, not keys with values.")
    return {str(key).replace("-", "_"): value for key, value in loaded.items()}


def flatten(config: UnlearnConfig) -> dict[str, Any]:
    """All settings by name without their groups, values as they are; the preset, their label, is among them."""
    return {"preset": config.preset} | {name: config.get(name) for name in FIELDS}


def to_dict(config: UnlearnConfig) -> dict[str, Any]:
    """All settings by name without their groups, as plain JSON or YAML values."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return dict(value) if isinstance(value, dict) else value

    return {name: plain(value) for name, value in flatten(config).items()}


def parse_memory(value: Any) -> float | Literal["auto"]:
    """GiB, or `auto`.

    Raises:
        InputError: If it is neither.
    """
    try:
        limit: float | Literal["auto"] = coerce(value, float | Literal["auto"])
    except ValueError:
        limit = 0.0
    if limit != "auto" and not limit > 0:
        raise InputError(f"memory_gb={value!r} was asked for. Give GiB above 0, or 'auto'.")
    return limit
