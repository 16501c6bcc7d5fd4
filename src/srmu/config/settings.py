"""The configuration of a run: one frozen dataclass with its defaults, YAML form and validation.

Every key of the YAML file is also a flag of `srmu unlearn`; the help text stands once, in the field's
metadata. Precedence, lowest first: field defaults, preset, YAML file, flags.
"""

import dataclasses
import reprlib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from srmu.config.coerce import coerce
from srmu.config.presets import PRESETS
from srmu.config.requirements import parse_requirement
from srmu.errors import InputError, nearest_hint
from srmu.objective.choices import (
    ActivationStatistic,
    ForgetTokens,
    ImportanceMapName,
    MapScope,
    Method,
    Misdirection,
)

RequestKind = Literal["auto", "entities", "domain"]
CoefficientUnit = Literal["relative", "absolute"]
LongDocuments = Literal["split", "cut"]
LearningRateSchedule = Literal["constant", "linear"]
Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64"]
Tracker = Literal["wandb", "tensorboard", "mlflow"]


def option(default: Any, help: str) -> Any:
    """A field with its help text; mutable defaults are copied for each instance."""
    if isinstance(default, dict):
        return field(default_factory=lambda: dict(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


@dataclass(frozen=True, kw_only=True)
class TopicConfig:
    """One topic of a run: its own texts and, where given, its own steering coefficient and retain weight."""

    name: str
    forget: tuple[str, ...]
    retain: tuple[str, ...] = ()
    steering_coefficient: float | None = None
    retain_weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class UnlearnConfig:
    """What one run does. The field order is the order of `--help` and of the saved file.

    The constructor takes every value as given: `preset` is only a label here. `make_config` applies presets
    and turns text and YAML values into the fields' types.
    """

    # Model
    model: str = option("", "Checkpoint directory, or hub id.")
    revision: str | None = option(None, "Hub revision: branch, tag or commit.")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps.")
    dtype: Dtype = option("auto", "Compute dtype; auto = as stored; float32 on a CPU without bfloat16 products.")
    trust_remote_code: bool = option(False, "Run model code that comes with the checkpoint.")
    memory_gb: float | Literal["auto"] = option(
        "auto",
        "Memory that may be taken, in GiB; auto = what is free. What does not fit is read from disk layer by layer.",
    )
    shard: bool = option(
        False, "Of several processes, each holds a part of the layers below the trained ones; also where it must be."
    )
    # Data
    forget: tuple[str, ...] = option((), "Texts to forget: a file, a folder, or hub:NAME[:CONFIG[:SPLIT]]; repeatable.")
    retain: tuple[str, ...] = option(
        (), "Texts to retain, likewise; 'self': written by the base model, 'general': shipped paragraphs; none = both."
    )
    topics: tuple[TopicConfig, ...] = option((), "Several topics, each with its own texts (in the YAML file only).")
    questions: dict[str, str] = option({}, "NAME=PATH of a question file (JSONL); repeatable, or comma-separated.")
    text_field: str = option(
        "text", "Field with the text in records, or a template: 'Question: {question}\\nAnswer: {answer}'."
    )
    chat: bool = option(False, "Wrap plain texts and questions in the tokenizer's chat template.")
    max_length: int = option(64, "Longest row in tokens.")
    long_documents: LongDocuments = option(
        "split", "split documents longer than a row, or cut them to their first row."
    )
    num_self_written: int = option(384, "Rows that the base model writes for --retain self.")
    # Method
    preset: str = option(
        "default", "A named group of settings: default, robust (holds better), paper, ...; docs/papers.md."
    )
    auto: bool = option(
        False, "Choose layer, retain weight, coefficient and rate in a few trials, from the texts alone."
    )
    request: RequestKind = option(
        "auto",
        "For --auto: entities = others of the same kind must stay; domain = all of the kind must go, also what no text "
        "tells; auto = by the texts' overlap.",
    )
    method: Method = option("srmu", "The target: rmu, adaptive-rmu or srmu.")
    importance_map: ImportanceMapName = option("difference", "Importance map of srmu.")
    statistic: ActivationStatistic = option("abs", "Mean activation of a feature: of |h| (abs), rms, or h (signed).")
    map_scope: MapScope = option("dynamic", "Statistics of the map: each batch, a running mean, or the whole corpus.")
    map_epsilon: float = option(1e-6, "Epsilon of the ratio and product maps.")
    difference_lambda: float = option(1.0, "Lambda of the difference map.")
    running_decay: float = option(0.9, "Weight of the past in the running map statistics, per step.")
    misdirection: Misdirection = option("signs", "Misdirection vector V of srmu.")
    per_token_signs: float = option(
        0.0,
        "With misdirection signs: share of V's features in which each forget token has signs of its own; 0 = one V for "
        "all tokens.",
    )
    steering_coefficient: float = option(
        3.0, "Length of the target: times the mean frozen norm (relative), or raw c (absolute)."
    )
    coefficient_unit: CoefficientUnit = option("relative", "Unit of the steering coefficient.")
    retain_weight: float | Literal["auto"] = option(
        "auto", "Weight alpha of the retain loss; auto = 400, or 40 where no retain texts are given."
    )
    forget_tokens: ForgetTokens = option(
        "specific", "Drive away all forget tokens alike (all), or each as far as the retain texts lack it (specific)."
    )
    skip_sinks: bool = option(True, "Leave attention-sink positions out of loss, norms and map.")
    sink_norm_ratio: float = option(4.0, "A position whose norm exceeds this times its row's median is a sink.")
    # Trained matrices
    layer: int | Literal["auto"] = option("auto", "Tapped layer l, counted from 0; auto = a sixth of the depth.")
    trained_layers: tuple[int, ...] = option((), "Layers whose matrices are trained; none given = l-2, l-1, l.")
    target_roles: tuple[str, ...] = option(("mlp_down",), "Roles of the trained matrices within a layer.")
    target_modules: tuple[str, ...] = option(
        (), "Names of the trained matrices within a layer, for families without roles."
    )
    # Training
    learning_rate: float | Literal["auto"] = option(
        "auto", "AdamW's learning rate on the float32 masters; auto = in proportion to each matrix."
    )
    learning_rate_schedule: LearningRateSchedule = option("constant", "constant, or linear down to zero at the end.")
    steps: int | Literal["auto"] = option(
        "auto", "Optimizer steps; auto = until the forget loss has fallen and falls no longer, at most 1600."
    )
    weight_averaging: float = option(
        0.3, "Share of the steps, the last ones, over which the matrices are averaged; 0 = the last step's."
    )
    forget_batch_size: int = option(4, "Forget rows in a step.")
    retain_batch_size: int = option(12, "Retain rows in a step.")
    seed: int = option(0, "Seed of V, of the data order and of self-written texts.")
    cache_gb: float = option(2.0, "Memory for frozen activations of rows that are read again, in GiB; 0 = none.")
    save_every: int = option(0, "Steps between resumable states; 0 = none.")
    track: Tracker | None = option(None, "Send each step's metrics to wandb, tensorboard or mlflow; none = to no one.")
    # Output
    out: str | None = option(None, "Run directory; none = a new one under runs/.")
    overwrite: bool = option(False, "Replace an existing run directory.")
    eval: bool = option(True, "Measure before and after.")
    eval_fraction: float = option(
        0.1, "Share of the texts kept out of training for that; 0 = none, for short lists of facts."
    )
    require: tuple[str, ...] = option(
        (), "What must hold of the results, such as 'forget<=0.30'; see srmu gate; repeatable."
    )

    def __post_init__(self) -> None:
        problems = _problems(self)
        if problems:
            raise _ConfigError(problems)


class _ConfigError(InputError):
    """Everything that is wrong with a configuration, in one message."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("The configuration has " + _join(problems))
        self.problems = problems


# What auto means. Where no text near the forget texts must be told from them, a high weight only slows forgetting.
RETAIN_WEIGHT, RETAIN_WEIGHT_ALONE = 400.0, 40.0


def make_config(settings: Mapping[str, Any], *, file_settings: Mapping[str, Any] | None = None) -> UnlearnConfig:
    """Build a config from flags over a file over the preset that they name.

    Args:
        settings: Keys given as flags or arguments; they win.
        file_settings: Keys of a YAML file.

    Raises:
        InputError: Naming every unknown key, wrong type, unknown choice and value out of range at once.
    """
    given = {**(file_settings or {}), **settings}
    preset = str(given.pop("preset", "default"))
    problems = []
    if preset not in PRESETS:
        hint = nearest_hint(preset, list(PRESETS))
        problems.append(f"an unknown preset {preset!r}; known: {', '.join(PRESETS)}.{hint}")
        preset = "default"
    known = {f.name: f for f in fields(UnlearnConfig)}
    hints = typing.get_type_hints(UnlearnConfig)
    values: dict[str, Any] = {"preset": preset}
    for key, value in {**PRESETS[preset], **given}.items():
        if key not in known:
            problems.append(f"an unknown key {key!r}.{nearest_hint(str(key), list(known))}")
            continue
        try:
            values[key] = coerce(value, hints[key])
        except ValueError as error:
            # Abridged: a few lines of YAML can name themselves into more text than memory holds.
            problems.append(f"{key}={reprlib.repr(value)}: {error}")
    try:
        config = UnlearnConfig(**values)
    except _ConfigError as error:
        problems += error.problems
    if problems:
        raise _ConfigError(problems)
    return config


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read a run's YAML file into a plain mapping; data paths stay relative to the working directory."""
    import yaml

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


def to_dict(config: UnlearnConfig) -> dict[str, Any]:
    """The config as plain JSON or YAML values, in field order."""

    def plain(value: Any) -> Any:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
        if isinstance(value, tuple):
            return [plain(item) for item in value]
        return dict(value) if isinstance(value, dict) else value

    return {f.name: plain(getattr(config, f.name)) for f in fields(config)}


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


# Beyond them a run would fill the memory with row numbers, or never end.
_MOST = {
    "forget_batch_size": 10**6, "retain_batch_size": 10**6, "num_self_written": 10**6, "max_length": 10**8,
    "steps": 10**8,
}  # fmt: skip


def _problems(config: UnlearnConfig) -> list[str]:
    """Values out of range, each as a phrase."""
    positive = (
        "max_length",
        "num_self_written",
        "sink_norm_ratio",
        "steering_coefficient",
        "forget_batch_size",
        "retain_batch_size",
    )
    not_negative = (
        "map_epsilon",
        "difference_lambda",
        "seed",
        "cache_gb",
        "save_every",
    )
    problems = [
        f"{name}={getattr(config, name)!r}, which must be above 0" for name in positive if not getattr(config, name) > 0
    ]
    problems += [
        f"{name}={getattr(config, name)!r}, which must be 0 or more"
        for name in not_negative
        if not getattr(config, name) >= 0
    ]
    problems += [
        f"{name}={getattr(config, name)!r}, which must be 0 or more"
        for name in ("learning_rate", "retain_weight")
        if getattr(config, name) != "auto" and not getattr(config, name) >= 0
    ]
    problems += [
        f"{name}={getattr(config, name)!r}, which must be at most {most:,}"
        for name, most in _MOST.items()
        if getattr(config, name) != "auto" and getattr(config, name) > most
    ]
    if config.steps != "auto" and not config.steps > 0:
        problems.append(f"steps={config.steps!r}, which must be above 0")
    if not 0 <= config.running_decay < 1:
        problems.append(f"running_decay={config.running_decay!r}, which must be at least 0 and below 1")
    if config.memory_gb != "auto" and not config.memory_gb > 0:
        problems.append(f"memory_gb={config.memory_gb!r}, which must be above 0")
    if config.seed >= 2**63:
        problems.append(f"seed={config.seed!r}, which must be below 2^63")
    if isinstance(config.layer, int) and config.layer < 0:
        problems.append(f"layer={config.layer!r}, which must be 0 or more")
    for topic in config.topics:
        problems += _topic_problems(topic)
    for text in config.require:
        try:
            parse_requirement(text)
        except InputError as error:
            problems.append(str(error))
    for name in ("weight_averaging", "per_token_signs"):
        if not 0 <= (value := getattr(config, name)) <= 1:
            problems.append(f"{name}={value!r}, which must be from 0 to 1")
    if config.per_token_signs > 0 and not (config.method == "srmu" and config.misdirection == "signs"):
        problems.append(
            f"per_token_signs={config.per_token_signs!r} with method {config.method} and misdirection "
            f"{config.misdirection}; "
            "tokens have signs of their own in srmu with signs alone, so leave it out"
        )
    if not 0 <= config.eval_fraction < 1:
        problems.append(f"eval_fraction={config.eval_fraction!r}, which must be at least 0 and below 1")
    problems += _auto_problems(config)
    names = [topic.name for topic in config.topics]
    if len(set(names)) != len(names):
        problems.append(f"topics with the same name ({', '.join(names)}); give each its own")
    if config.topics and (config.forget or config.retain):
        problems.append("both topics and forget or retain texts outside them; move those texts into a topic")
    return problems


def _auto_problems(config: UnlearnConfig) -> list[str]:
    problems = []
    if config.request != "auto" and not config.auto:
        problems.append(f"request={config.request!r} without auto; add --auto, or leave it out")
    told = all(topic.retain for topic in config.topics) if config.topics else bool(config.retain)
    if config.request == "entities" and not told:
        problems.append("request='entities' without retain texts; name texts about others of the same kind as --retain")
    return problems


def _topic_problems(topic: TopicConfig) -> list[str]:
    problems = []
    if not topic.forget:
        problems.append(f"topic {topic.name!r} without forget texts")
    if topic.steering_coefficient is not None and not topic.steering_coefficient > 0:
        problems.append(
            f"steering_coefficient={topic.steering_coefficient!r} of topic {topic.name!r}, which must be above 0"
        )
    if topic.retain_weight is not None and not topic.retain_weight >= 0:
        problems.append(f"retain_weight={topic.retain_weight!r} of topic {topic.name!r}, which must be 0 or more")
    return problems


def _join(problems: list[str]) -> str:
    def sentence(text: str) -> str:
        return text if text.endswith(("?", ".")) else text + "."

    if len(problems) == 1:
        return sentence(problems[0])
    return sentence(f"{len(problems)} problems: " + "; ".join(problem.rstrip(".") for problem in problems))
