"""Everything about a run that can be checked before anything is computed or written."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from srmu.config.groups import TopicConfig
from srmu.config.settings import RETAIN_WEIGHT, RETAIN_WEIGHT_ALONE, RETAIN_WEIGHT_NEAR, UnlearnConfig
from srmu.config.sources import GENERAL, SELF, WRITTEN, inline_text
from srmu.errors import InputError
from srmu.evaluation.loading import check_tokenizer_fits, load_tokenizer
from srmu.inputs.corpora import Corpus
from srmu.inputs.packing import pack_documents
from srmu.inputs.questions import Question, read_questions
from srmu.inputs.rows import TokenRows, split_rows, tokenize_rows
from srmu.inputs.sides import check_sides as check_texts_apart
from srmu.inputs.sources import read_apart, read_together
from srmu.job.matrices import choose_matrices, resolved
from srmu.objective.choices import Method
from srmu.runtime.devices import choose_device
from srmu.runtime.files import list_files
from srmu.runtime.precision import choose_dtype
from srmu.runtime.processes import world_size
from srmu.solver.frozen import SMALL_BATCH
from srmu.surgery.checkpoint import Checkpoint, open_checkpoint, resolve_model
from srmu.surgery.model_class import whole_skeleton
from srmu.surgery.truncate import whole_config

HELDOUT_AT_MOST = 64
# For metrics, manifest and what the file system itself takes.
_SPARE_BYTES = 1 << 24


@dataclass(frozen=True)
class TopicTexts:
    """The texts of one topic, as read.

    Attributes:
        name: Of the topic.
        forget: Texts to forget.
        retain: One corpus a retain source.
        written: Retain sources that the base model writes itself: `self`, `near`.
        steering_coefficient: Of the target.
        retain_weight: Alpha.
    """

    name: str
    forget: Corpus
    retain: tuple[Corpus, ...]
    written: tuple[str, ...]
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
        config: The settings, with layers resolved.
        checkpoint: The base, opened.
        tokenizer: Of the base, or the one that was given.
        num_layers: Depth of the base.
        layer_id: Tapped layer.
        repair_layer: Tapped layer of the repair, above it; none = nothing is repaired.
        parameter_names: Trained layer -> names, within it, of the trained matrices; those above `layer_id` are the
            repair's.
        num_trained: Trained entries in all.
        vocab_size: Rows of the embedding.
        topics: Texts of each topic.
        questions: Question file by group name.
        device: Where to compute.
        dtype: Compute dtype.
        foreign_tokenizer: Whether the tokenizer was given as an object, which no later process has.
    """

    config: UnlearnConfig
    checkpoint: Checkpoint
    tokenizer: Any
    num_layers: int
    layer_id: int
    repair_layer: int | None
    parameter_names: dict[int, tuple[str, ...]]
    num_trained: int
    vocab_size: int
    topics: tuple[TopicTexts, ...]
    questions: dict[str, list[Question]]
    device: torch.device
    dtype: torch.dtype
    foreign_tokenizer: bool = False

    def rows(self, corpus: Corpus, *, answers_only: bool = False) -> SplitRows:
        """Token rows of a corpus, some held out; with `answers_only`, of questions only their answers count."""
        data, config = self.config.data, self.config
        if data.short_documents == "pack":
            corpus = pack_documents(corpus, self.tokenizer, data.max_length)
        rows = tokenize_rows(
            corpus,
            self.tokenizer,
            max_length=data.max_length,
            long_documents=data.long_documents,
            chat=data.chat,
            vocab_size=self.vocab_size,
            answers_only=answers_only,
        )
        return SplitRows(*split_rows(rows, config.output.eval_fraction, HELDOUT_AT_MOST, config.training.seed))

    @property
    def depth(self) -> int:
        """Layers that the training runs."""
        return 1 + (self.layer_id if self.repair_layer is None else self.repair_layer)

    @property
    def batch_tokens(self) -> int | None:
        """Tokens that go through layers at once; none = what suits the device."""
        return None if self.config.model.memory_gb == "auto" else SMALL_BATCH

    @property
    def resumable(self) -> bool:
        """Whether a later process finds everything again: no text is written in the config, unless states are kept."""
        data = self.config.data
        sides = [data.forget, data.retain, *(side for topic in data.topics for side in (topic.forget, topic.retain))]
        inline = any(inline_text(source) is not None for sources in sides for source in sources)
        return not self.foreign_tokenizer and (self.config.output.save_every > 0 or not inline)

    @property
    def disk_bytes(self) -> int:
        """Most that the run directory will hold: the checkpoint, the delta, and states while it trains."""
        base = self.checkpoint.path
        copied = sum((base / name).stat().st_size for name in list_files(base)[1])
        # A state holds the masters and AdamW's two moments in float32, and replaces the last one when it is whole.
        states = 2 * 12 * self.num_trained if self.config.output.save_every else 0
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
    model, data = config.model, config.data
    if not data.forget and not data.topics:
        raise InputError("Texts to forget were not given. Name them with --forget PATH.")
    if model.shard and world_size() == 1:
        raise InputError("shard=True divides layers over processes, and there is one. Start several, or leave it out.")
    path = resolve_model(model.model, model.revision)
    checkpoint = open_checkpoint(path)
    whole = whole_config(checkpoint, trust_remote_code=model.trust_remote_code)
    # What is measured, attacked and loaded by others.
    whole_skeleton(whole, trust_remote_code=model.trust_remote_code)
    num_layers = whole.get_text_config(decoder=True).num_hidden_layers
    chosen = choose_matrices(checkpoint, config, num_layers)
    device = choose_device(model.device)
    own_tokenizer = load_tokenizer(path, trust_remote_code=model.trust_remote_code) if tokenizer is None else tokenizer
    check_tokenizer_fits(own_tokenizer, chosen.skeleton.vocab_size)
    topics = read_topics(config)
    plan = Plan(
        config=config.replace(
            **resolved(chosen),
            retain_weight=config.training.retain_weight if data.topics else topics[0].retain_weight,
        ),
        checkpoint=checkpoint,
        tokenizer=own_tokenizer,
        num_layers=num_layers,
        layer_id=chosen.layer_id,
        repair_layer=chosen.repair_layer,
        parameter_names=chosen.parameter_names,
        num_trained=chosen.num_trained,
        vocab_size=chosen.skeleton.vocab_size,
        topics=topics,
        questions={name: read_questions(file) for name, file in data.questions.items()},
        device=device,
        dtype=choose_dtype(model.dtype, device, checkpoint.dtypes),
        foreign_tokenizer=tokenizer is not None,
    )
    if out is not None:
        _check_place(plan, out)
    return plan


def resolve_retain_weight(weight: float | Literal["auto"], retain: Sequence[str], method: Method) -> float:
    """Alpha for a topic with these retain sources; none = those that are used where none is given."""
    if weight == "auto" and method in RETAIN_WEIGHT_NEAR:
        return RETAIN_WEIGHT_NEAR[method]
    if weight == "auto":
        return RETAIN_WEIGHT if retain else RETAIN_WEIGHT_ALONE
    return weight


def read_topics(config: UnlearnConfig) -> tuple[TopicTexts, ...]:
    """The texts of every topic; of a run without topics those of its only one, which is named `forget`.

    Raises:
        InputError: If a source is missing, unreadable or without any text.
    """
    data = config.data
    topics = data.topics or (TopicConfig(name="forget", forget=data.forget, retain=data.retain),)
    return tuple(_read_topic(topic, config) for topic in topics)


def _read_topic(topic: TopicConfig, config: UnlearnConfig) -> TopicTexts:
    if wrong := [source for source in WRITTEN if source in topic.forget]:
        raise InputError(
            f"--forget {wrong[0]} is not possible: the model writes retain texts only. Name the texts to forget."
        )
    # Alone, each is too narrow: the model's own texts do not hold its reading, the paragraphs not its memory.
    retain, text_field = topic.retain or (SELF, GENERAL), config.data.text_field
    coefficient, weight = topic.steering_coefficient, topic.retain_weight
    forget_corpus = read_together(topic.forget, text_field=text_field, role="forget")
    retain_corpora = read_apart(retain, text_field=text_field, role="retain")
    check_texts_apart(forget_corpus, retain_corpora)
    return TopicTexts(
        name=topic.name,
        forget=forget_corpus,
        retain=retain_corpora,
        written=tuple(source for source in WRITTEN if source in retain),
        steering_coefficient=config.target.steering_coefficient if coefficient is None else coefficient,
        retain_weight=resolve_retain_weight(config.training.retain_weight, topic.retain, config.target.method)
        if weight is None
        else weight,
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
