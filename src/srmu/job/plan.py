"""Everything about a run that can be checked before anything is computed or written."""

import dataclasses
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from srmu.config.settings import RETAIN_WEIGHT, RETAIN_WEIGHT_ALONE, UnlearnConfig
from srmu.errors import InputError
from srmu.evaluation.loading import load_tokenizer
from srmu.evaluation.questions import Question, read_questions
from srmu.inputs.corpora import Corpus, corpus_from_strings, read_corpus
from srmu.inputs.general import general_paragraphs
from srmu.inputs.readers import HUB_PREFIX
from srmu.inputs.rows import TokenRows, split_rows, tokenize_rows
from srmu.runtime.devices import choose_device
from srmu.runtime.files import list_files
from srmu.runtime.precision import choose_dtype
from srmu.runtime.processes import world_size
from srmu.surgery.checkpoint import Checkpoint, open_checkpoint, resolve_model
from srmu.surgery.layers import resolve_layers, select_matrices
from srmu.surgery.truncate import Skeleton, build_skeleton, text_config

SELF, GENERAL = "self", "general"
HELDOUT_AT_MOST = 64
# For metrics, manifest and what the file system itself takes.
_SPARE_BYTES = 1 << 24
# What names a file rather than being a text, when strings come through the Python API.
_TEXT_SUFFIXES = (".txt", ".json", ".jsonl", ".parquet", ".gz")


@dataclass(frozen=True)
class TopicTexts:
    """The texts of one topic, as read.

    Attributes:
        name: Of the topic.
        forget: Texts to forget.
        retain: One corpus a retain source.
        writes_self: Whether the base model writes a retain source of its own.
        steering_coefficient: Of the target.
        retain_weight: Alpha.
    """

    name: str
    forget: Corpus
    retain: tuple[Corpus, ...]
    writes_self: bool
    steering_coefficient: float
    retain_weight: float


@dataclass(frozen=True)
class SplitRows:
    """Rows to train on, and rows held out for the table before and after."""

    train: TokenRows
    heldout: TokenRows


@dataclass(frozen=True)
class Plan:
    """A run whose inputs are known to be good.

    Attributes:
        config: The settings, with `layer` and `trained_layers` resolved.
        checkpoint: The base, opened.
        tokenizer: Of the base, or the one that was given.
        num_layers: Depth of the base.
        layer_id: Tapped layer.
        parameter_names: Trained layer -> names, within it, of the trained matrices.
        num_trained: Trained entries in all.
        vocab_size: Rows of the embedding.
        topics: Texts of each topic.
        questions: Question file by group name.
        device: Where to compute.
        dtype: Compute dtype.
    """

    config: UnlearnConfig
    checkpoint: Checkpoint
    tokenizer: Any
    num_layers: int
    layer_id: int
    parameter_names: dict[int, tuple[str, ...]]
    num_trained: int
    vocab_size: int
    topics: tuple[TopicTexts, ...]
    questions: dict[str, list[Question]]
    device: torch.device
    dtype: torch.dtype

    def rows(self, corpus: Corpus) -> SplitRows:
        """Token rows of a corpus, some held out."""
        config = self.config
        rows = tokenize_rows(
            corpus,
            self.tokenizer,
            max_length=config.max_length,
            long_documents=config.long_documents,
            chat=config.chat,
            vocab_size=self.vocab_size,
        )
        return SplitRows(*split_rows(rows, config.eval_fraction, HELDOUT_AT_MOST, config.seed))

    @property
    def disk_bytes(self) -> int:
        """Most that the run directory will hold: the checkpoint, the delta, and states while it trains."""
        base = self.checkpoint.path
        copied = sum((base / name).stat().st_size for name in list_files(base)[1])
        # A state holds the masters and AdamW's two moments in float32, and replaces the last one when it is whole.
        states = 2 * 12 * self.num_trained if self.config.save_every else 0
        return copied + 4 * self.num_trained + states + _SPARE_BYTES


def make_plan(config: UnlearnConfig, tokenizer: Any = None, *, out: Path | None = None) -> Plan:
    """Resolve and check the model, the layers, the matrices, the texts, the questions and the place of the output.

    Args:
        config: The settings.
        tokenizer: Instead of the checkpoint's own.
        out: Run directory, which need not exist; none = its place is not checked.

    Raises:
        InputError: For the first thing that is wrong, in one sentence.
    """
    if not config.forget and not config.topics:
        raise InputError("Texts to forget were not given. Name them with --forget PATH.")
    if config.shard and world_size() == 1:
        raise InputError("shard=True divides layers over processes, and there is one. Start several, or leave it out.")
    path = resolve_model(config.model, config.revision)
    checkpoint = open_checkpoint(path)
    model_config = text_config(checkpoint, trust_remote_code=config.trust_remote_code)
    num_layers = model_config.num_hidden_layers
    layer_id, parameter_names, num_trained, skeleton = choose_matrices(checkpoint, config, num_layers)
    device = choose_device(config.device)
    if tokenizer is None:
        tokenizer = load_tokenizer(path, trust_remote_code=config.trust_remote_code)
    _check_tokenizer(tokenizer, skeleton.vocab_size)
    topics = _read_topics(config)
    plan = Plan(
        config=dataclasses.replace(
            config,
            layer=layer_id,
            trained_layers=tuple(parameter_names),
            retain_weight=config.retain_weight if config.topics else topics[0].retain_weight,
        ),
        checkpoint=checkpoint,
        tokenizer=tokenizer,
        num_layers=num_layers,
        layer_id=layer_id,
        parameter_names=parameter_names,
        num_trained=num_trained,
        vocab_size=skeleton.vocab_size,
        topics=topics,
        questions={name: read_questions(file) for name, file in config.questions.items()},
        device=device,
        dtype=choose_dtype(config.dtype, device, checkpoint.dtypes),
    )
    if out is not None:
        _check_place(plan, out)
    return plan


def choose_matrices(
    checkpoint: Checkpoint, config: UnlearnConfig, num_layers: int
) -> tuple[int, dict[int, tuple[str, ...]], int, Skeleton]:
    """The tapped layer, the trained matrices by layer, their entries, and the model without weights."""
    layer_id, trained_ids = resolve_layers(config.layer, config.trained_layers, num_layers)
    skeleton = build_skeleton(checkpoint, layer_id + 1, trust_remote_code=config.trust_remote_code)
    parameter_names: dict[int, tuple[str, ...]] = {}
    num_trained = 0
    for index in trained_ids:
        layer = skeleton.layers[index]
        names = select_matrices(layer, roles=config.target_roles, modules=config.target_modules, family=skeleton.family)
        parameter_names[index] = tuple(names)
        num_trained += sum(layer.get_parameter(name).numel() for name in names)
    return layer_id, parameter_names, num_trained, skeleton


def refuse_strings(config: UnlearnConfig) -> None:
    """Where texts come as files only, a path that does not exist must not pass as a text.

    Raises:
        InputError: If something that is to be read as texts names no file, folder or hub data set.
    """
    for role, text in given_strings(config):
        raise InputError(
            f"{role} texts {text[:80]!r} do not exist. Check the path; a hub data set is written {HUB_PREFIX}NAME."
        )


def given_strings(config: UnlearnConfig) -> list[tuple[str, str]]:
    """(role, text) of what stands in the config itself instead of in a file that it names."""
    sides = [("Forget", config.forget), ("Retain", config.retain)]
    sides += [side for topic in config.topics for side in (("Forget", topic.forget), ("Retain", topic.retain))]
    return [(role, source) for role, sources in sides for source in sources if not is_source(source)]


def resolve_retain_weight(weight: float | Literal["auto"], retain: Sequence[str]) -> float:
    """Alpha for a topic with these retain sources; none = those that stand in where none is given."""
    if weight == "auto":
        return RETAIN_WEIGHT if retain else RETAIN_WEIGHT_ALONE
    return weight


def _read_topics(config: UnlearnConfig) -> tuple[TopicTexts, ...]:
    if not config.topics:
        weight = resolve_retain_weight(config.retain_weight, config.retain)
        return (_read_topic("forget", config.forget, config.retain, config.steering_coefficient, weight, config),)
    return tuple(
        _read_topic(
            topic.name,
            topic.forget,
            topic.retain,
            config.steering_coefficient if topic.steering_coefficient is None else topic.steering_coefficient,
            resolve_retain_weight(config.retain_weight, topic.retain)
            if topic.retain_weight is None
            else topic.retain_weight,
            config,
        )
        for topic in config.topics
    )


def _read_topic(
    name: str,
    forget: Sequence[str],
    retain: Sequence[str],
    steering_coefficient: float,
    retain_weight: float,
    config: UnlearnConfig,
) -> TopicTexts:
    if SELF in forget:
        raise InputError("--forget self is not possible: the model writes retain texts only. Name the texts to forget.")
    # Alone, each is too narrow: the model's own texts do not hold its reading, the paragraphs not its memory.
    retain = retain or (SELF, GENERAL)
    return TopicTexts(
        name=name,
        forget=_read_all(forget, config.text_field, "forget"),
        retain=_read_each([source for source in retain if source != SELF], config.text_field),
        writes_self=SELF in retain,
        steering_coefficient=steering_coefficient,
        retain_weight=retain_weight,
    )


def _read_all(sources: Sequence[str], text_field: str, role: str) -> Corpus:
    """Files, or strings given through the Python API, as one corpus."""
    if all(is_source(source) for source in sources):
        return read_corpus(sources, text_field=text_field, role=role)
    return corpus_from_strings(list(sources), role)


def _read_each(sources: Sequence[str], text_field: str) -> tuple[Corpus, ...]:
    """Each file a source of its own; strings together are one."""
    strings = [source for source in sources if not is_source(source)]
    corpora = [
        _general() if source == GENERAL else read_corpus([source], text_field=text_field, role="retain")
        for source in sources
        if is_source(source)
    ]
    return (*corpora, corpus_from_strings(strings, "retain")) if strings else tuple(corpora)


def _general() -> Corpus:
    return dataclasses.replace(corpus_from_strings(general_paragraphs(), "retain"), source=GENERAL)


def is_source(text: str) -> bool:
    """Whether a string names texts (a path, a hub data set) rather than being one."""
    if text.startswith(HUB_PREFIX) or text in (SELF, GENERAL):
        return True
    if len(text) > 1024 or "\n" in text:
        return False
    # os.path answers no where pathlib raises, as for a long sentence.
    return os.path.exists(text) or not any(character.isspace() for character in text) or text.endswith(_TEXT_SUFFIXES)


def _check_tokenizer(tokenizer: Any, vocab_size: int) -> None:
    largest = max(tokenizer.get_vocab().values())
    if largest >= vocab_size:
        raise InputError(
            f"The tokenizer does not fit the model: its largest token id is {largest}, the model has embeddings for "
            f"ids up to {vocab_size - 1}. Use the tokenizer that came with the model."
        )


def _check_place(plan: Plan, out: Path) -> None:
    """Refuse an output that lies in the base, holds it, or does not fit on the disk."""
    place, base = out.resolve(), plan.checkpoint.path.resolve()
    if place.is_relative_to(base):
        raise InputError(f"Output {str(out)!r} lies inside the checkpoint {str(base)!r}. Choose another --out.")
    if base.is_relative_to(place):
        raise InputError(f"Output {str(out)!r} holds the checkpoint {str(base)!r} itself. Choose another --out.")
    parent = next(folder for folder in (place, *place.parents) if folder.is_dir())
    # A run that is replaced stays until the new one is whole.
    free = shutil.disk_usage(parent).free
    if free < plan.disk_bytes:
        raise InputError(
            f"The disk of {str(parent)!r} has {free / 1e9:.2f} GB free, and the run needs "
            f"{plan.disk_bytes / 1e9:.2f} GB. Free some space or choose another --out."
        )
