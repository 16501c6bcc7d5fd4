"""The settings of a run in six small groups; `settings.py` puts them together.

A field's help text, default and range are written down here and nowhere else: flags of the command line, keys of the
YAML file and the reference are made from them. All names differ, so that a run file needs no groups.
"""

from dataclasses import dataclass
from typing import Any, Literal

from srmu.config.fields import CheckedConfig, at_least, between, option, positive, positive_up_to
from srmu.config.requirements import parse_requirement
from srmu.errors import InputError
from srmu.objective.choices import (
    ActivationStatistic,
    ForgetTokens,
    ImportanceMapName,
    MapScope,
    Method,
    Misdirection,
)

RequestKind = Literal["auto", "facts", "entities", "domain"]
CoefficientUnit = Literal["relative", "absolute"]
LongDocuments = Literal["split", "cut"]
ShortDocuments = Literal["keep", "pack"]
LearningRateSchedule = Literal["constant", "linear"]
Dtype = Literal["auto", "float32", "bfloat16", "float16", "float64"]
Side = Literal["forget", "kept", "reported"]
Tracker = Literal["wandb", "tensorboard", "mlflow", "trackio"]


@dataclass(frozen=True, kw_only=True)
class TopicConfig:
    """One topic of a run: its own texts and, where given, its own steering coefficient and retain weight."""

    name: str
    forget: tuple[str, ...]
    retain: tuple[str, ...] = ()
    steering_coefficient: float | None = None
    retain_weight: float | None = None

    def problems(self) -> list[str]:
        """What is wrong with it, each as a phrase."""
        problems = []
        if not self.forget:
            problems.append(f"topic {self.name!r} without forget texts")
        if self.steering_coefficient is not None and not self.steering_coefficient > 0:
            problems.append(
                f"steering_coefficient={self.steering_coefficient!r} of topic {self.name!r}, which must be above 0"
            )
        if self.retain_weight is not None and not self.retain_weight >= 0:
            problems.append(f"retain_weight={self.retain_weight!r} of topic {self.name!r}, which must be 0 or more")
        return problems


@dataclass(frozen=True, kw_only=True)
class ModelConfig(CheckedConfig):
    """The base model, and how it is loaded."""

    model: str = option("", "Checkpoint directory, or hub id.")
    revision: str | None = option(None, "Hub revision: branch, tag or commit.")
    device: str = option("auto", "auto, cpu, cuda, cuda:1, mps.")
    dtype: Dtype = option("auto", "Compute dtype; auto = as stored; float32 on a CPU without bfloat16 products.")
    trust_remote_code: bool = option(False, "Run model code that comes with the checkpoint.")
    memory_gb: float | Literal["auto"] = option(
        "auto",
        "Memory that may be taken, in GiB; auto = what is free. What does not fit is read from disk layer by layer.",
        positive,
    )
    shard: bool = option(
        False, "Of several processes, each holds a part of the layers below the trained ones; also where it must be."
    )


@dataclass(frozen=True, kw_only=True)
class DataConfig(CheckedConfig):
    """The texts and questions, and how texts become rows of tokens."""

    forget: tuple[str, ...] = option((), "Texts to forget: a file, a folder, or hub:NAME[:CONFIG[:SPLIT]]; repeatable.")
    retain: tuple[str, ...] = option(
        (), "Texts to retain, named the same way; 'self': written by the base model, 'general': shipped paragraphs; "
        "'near': others of the kind and the same names elsewhere, written by the base model; "
        "none = both.",
    )  # fmt: skip
    topics: tuple[TopicConfig, ...] = option((), "Several topics, each with its own texts (in the YAML file only).")
    questions: dict[str, str] = option(
        {},
        "NAME=PATH of a question file, NAME=hub:DATASET or NAME=task:TASK of lm-evaluation-harness; repeatable, or "
        "comma-separated.",
    )
    sides: dict[str, Side] = option(
        {}, "NAME=SIDE of a group of questions whose name does not say it: forget, kept or reported; repeatable."
    )
    text_field: str = option(
        "auto",
        "Field with the text in records, or a template: '{question} {answer}'; auto = recognised by their fields.",
    )
    chat: bool = option(False, "Wrap plain texts and questions in the tokenizer's chat template.")
    max_length: int = option(64, "Longest row in tokens.", positive_up_to(10**8))
    short_documents: ShortDocuments = option(
        "keep", "keep one row per short document, or pack several into a row, so that all rows look the same."
    )
    long_documents: LongDocuments = option(
        "split", "split documents longer than a row, or cut them to their first row."
    )
    num_self_written: int = option(384, "Rows that the base model writes for --retain self.", positive_up_to(10**6))

    def problems(self) -> list[str]:
        """What is wrong with it, each as a phrase."""
        problems = super().problems() + [problem for topic in self.topics for problem in topic.problems()]
        names = [topic.name for topic in self.topics]
        if len(set(names)) != len(names):
            problems.append(f"topics with the same name ({', '.join(names)}); give each its own")
        if self.topics and (self.forget or self.retain):
            problems.append("both topics and forget or retain texts outside them; move those texts into a topic")
        return problems

    @property
    def names_retain(self) -> bool:
        """Whether retain texts are named, for every topic."""
        return all(topic.retain for topic in self.topics) if self.topics else bool(self.retain)


@dataclass(frozen=True, kw_only=True)
class SearchConfig(CheckedConfig):
    """Whether settings are chosen by trials within the run."""

    search: bool = option(
        False,
        "Choose layer, retain weight, coefficient and rate in a few trials, from the texts alone. A single setting's "
        "'auto' is a formula, without trials.",
    )
    request: RequestKind = option(
        "auto",
        "facts = some facts about things of which other facts must stay, with the settings of --preset erase. For "
        "--search: entities = others of the same kind must stay; domain = all of the kind must be forgotten, also what "
        "no text says; auto = by the texts' overlap.",
    )

    def problems(self) -> list[str]:
        """What is wrong with it, each as a phrase."""
        if self.request == "facts" and self.search:
            return ["request='facts' with search; this kind has settings of its own, so leave --search out"]
        if self.request in ("entities", "domain") and not self.search:
            return [f"request={self.request!r} without search; add --search, or leave it out"]
        return []


@dataclass(frozen=True, kw_only=True)
class TargetConfig(CheckedConfig):
    """What the hidden states of forget texts are driven to, and at which layer."""

    method: Method = option("srmu", "The target: rmu, adaptive-rmu, srmu, erasure or counterfactual.")
    layer: int | Literal["auto"] = option(
        "auto",
        "Tapped layer l, counted from 0; auto = a sixth of the depth, of erasure and counterfactual three tenths.",
        at_least(0),
    )
    steering_coefficient: float = option(
        3.0, "Length of the target: times the mean frozen norm (relative), or raw c (absolute).", positive
    )
    coefficient_unit: CoefficientUnit = option("relative", "Unit of the steering coefficient.")
    importance_map: ImportanceMapName = option("difference", "Importance map of srmu.")
    statistic: ActivationStatistic = option("abs", "Mean activation of a feature: of |h| (abs), rms, or h (signed).")
    map_scope: MapScope = option("dynamic", "Statistics of the map: each batch, a running mean, or the whole corpus.")
    map_epsilon: float = option(1e-6, "Epsilon of the ratio and product maps.", at_least(0))
    difference_lambda: float = option(1.0, "Lambda of the difference map.", at_least(0))
    running_decay: float = option(0.9, "Weight of the past in the running map statistics, per step.", between(0, 1))
    misdirection: Misdirection = option("signs", "Misdirection vector V of srmu.")
    per_token_signs: float = option(
        0.0,
        "With misdirection signs: share of V's features in which each forget token has signs of its own; 0 = one V for "
        "all tokens.",
        between(0, 1, closed=True),
    )
    erased_axes: int = option(
        0,
        "Of erasure: number of directions that are removed, those in which specific forget tokens differ most; 0 = all "
        "that differs from their mean.",
        at_least(0),
    )
    overshoot: float = option(
        0.4,
        "Of counterfactual and of the repair: how much further than the state of the exchanged texts the target lies, "
        "as a share of the way there.",
        at_least(0),
    )
    repair: bool = option(
        False,
        "After rmu, adaptive-rmu or srmu: train the layers above towards what the model makes of the same texts about "
        "something else, so that it answers more like one that never knew.",
    )
    repair_layer: int | Literal["auto"] = option(
        "auto", "Tapped layer of the repair, above that of the target; auto = three tenths of the depth.", at_least(0)
    )
    forget_tokens: ForgetTokens = option(
        "specific", "Drive away all forget tokens equally (all), or each as far as the retain texts lack it (specific)."
    )
    skip_sinks: bool = option(True, "Leave attention-sink positions out of loss, norms and map.")
    sink_norm_ratio: float = option(
        4.0, "A position whose norm exceeds this times its row's median is a sink.", positive
    )

    def problems(self) -> list[str]:
        """What is wrong with it, each as a phrase."""
        problems = super().problems()
        if self.per_token_signs > 0 and not (self.method == "srmu" and self.misdirection == "signs"):
            problems.append(
                f"per_token_signs={self.per_token_signs!r} with method {self.method} and misdirection "
                f"{self.misdirection}; tokens have signs of their own in srmu with signs alone, so leave it out"
            )
        if self.repair and self.method in ("erasure", "counterfactual"):
            problems.append(
                f"repair=True with method={self.method!r}, after which the model still answers in language; leave "
                "repair out"
            )
        if self.repair_layer != "auto" and not self.repair:
            problems.append(f"repair_layer={self.repair_layer!r} without repair; add --repair, or leave it out")
        if self.method == "counterfactual" and self.forget_tokens == "all":
            problems.append(
                "method='counterfactual' with forget_tokens='all'; it exchanges what is specific, so leave "
                "forget_tokens out"
            )
        return problems


@dataclass(frozen=True, kw_only=True)
class TrainingConfig(CheckedConfig):
    """Which matrices are trained, how, and for how long."""

    trained_layers: tuple[int, ...] = option(
        (), "Layers whose matrices are trained; none given = as many as --num-trained-layers says, l the last."
    )
    num_trained_layers: int | Literal["auto"] = option(
        "auto", "Where no layers are given; auto = 3, and 6 in families that normalise what an MLP adds.", positive
    )
    target_roles: tuple[str, ...] = option(("mlp_down",), "Roles of the trained matrices within a layer.")
    target_modules: tuple[str, ...] = option(
        (), "Names of the trained matrices within a layer, for families without roles."
    )
    retain_weight: float | Literal["auto"] = option(
        "auto",
        "Weight alpha of the retain loss; auto = 400, or 40 where no retain texts are given; of erasure 5, of "
        "counterfactual 10.",
        at_least(0),
    )
    remaining_loss: float = option(
        0.0,
        "Share of the first forget loss that is to remain: the retain weight follows the loss to get there; 0 = the "
        "weight stays as it is.",
        between(0, 1),
    )
    learning_rate: float | Literal["auto"] = option(
        "auto", "AdamW's learning rate on the float32 masters; auto = in proportion to each matrix.", at_least(0)
    )
    learning_rate_schedule: LearningRateSchedule = option("constant", "constant, or linear down to zero at the end.")
    steps: int | Literal["auto"] = option(
        "auto",
        "Optimizer steps; auto = until the forget loss has fallen and levelled off, at most 1600; with "
        "--remaining-loss 300.",
        positive_up_to(10**8),
    )
    weight_averaging: float = option(
        0.3,
        "Share of the steps, the last ones, over which the matrices are averaged; 0 = the last step's.",
        between(0, 1, closed=True),
    )
    change_scale: float = option(
        1.0,
        "Share of the change that is kept: the result lies between the base and what was trained; 1 = all of it.",
        between(0, 1, closed=True),
    )
    forget_batch_size: int = option(4, "Forget rows per step.", positive_up_to(10**6))
    retain_batch_size: int = option(12, "Retain rows per step.", positive_up_to(10**6))
    seed: int = option(0, "Seed of V, of the data order and of self-written texts.", at_least(0))
    cache_gb: float = option(
        2.0, "Memory for frozen activations of rows that are read again, in GiB; 0 = none.", at_least(0)
    )

    def problems(self) -> list[str]:
        """What is wrong with it, each as a phrase."""
        problems = super().problems()
        if self.seed >= 2**63:
            problems.append(f"seed={self.seed!r}, which must be below 2^63")
        return problems


@dataclass(frozen=True, kw_only=True)
class OutputConfig(CheckedConfig):
    """What a run leaves behind, and what is measured."""

    out: str | None = option(None, "Run directory; none = a new one under runs/, and in Python none at all.")
    overwrite: bool = option(False, "Replace an existing run directory.")
    eval: bool = option(True, "Measure before and after.")
    audit: bool = option(
        True, "Audit what nobody asked about: shipped facts, the forget texts' names, texts that the base wrote."
    )
    eval_fraction: float = option(
        0.1, "Share of the texts kept out of training for that; 0 = none, for short lists of facts.", between(0, 1)
    )
    require: tuple[str, ...] = option(
        (), "What must hold of the results, such as 'forget<=0.30'; see srmu gate; repeatable."
    )
    track: Tracker | None = option(
        None, "Send each step's metrics to wandb, tensorboard, mlflow or trackio; none = to no one."
    )
    save_every: int = option(0, "Steps between resumable states; 0 = none.", at_least(0))

    def problems(self) -> list[str]:
        """What is wrong with it, each as a phrase."""
        problems = super().problems()
        for text in self.require:
            try:
                parse_requirement(text)
            except InputError as error:
                problems.append(str(error))
        return problems


GROUPS: dict[str, Any] = {
    "model": ModelConfig,
    "data": DataConfig,
    "search": SearchConfig,
    "target": TargetConfig,
    "training": TrainingConfig,
    "output": OutputConfig,
}
"""By the attribute of `UnlearnConfig`, in the order of `--help` and of the saved file."""
