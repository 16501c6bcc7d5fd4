"""Records of one group of questions, texts or prompts, or of one task: each model's numbers and their difference.

`result` is the unlearned model, `base` the model it was made from. A number that is not defined is none.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """A mean of the base and of the result on the same items.

    Attributes:
        before: Of the base.
        after: Of the result.
        difference: After minus before.
        stderr: Standard error of `difference`, paired item by item; questions on one fact, and tokens of one document,
            count as dependent. None for a single item.
    """

    before: float | None
    after: float | None
    difference: float | None
    stderr: float | None


@dataclass(frozen=True)
class QuestionSummary:
    """A group of multiple-choice questions under one model.

    Attributes:
        n: Questions.
        accuracy: Share of right answers, by length-normalised likelihood.
        stderr: Of `accuracy`, questions taken as independent.
        accuracy_raw: Share of right answers, by plain likelihood.
        nll: Nats per token of the right answers.
        stderr_by_fact: Of `accuracy`, questions on one fact taken as dependent.
    """

    n: int
    accuracy: float | None
    stderr: float | None
    accuracy_raw: float | None
    nll: float | None
    stderr_by_fact: float | None = None


@dataclass(frozen=True)
class QuestionChange:
    """Paired differences of a group of questions, by measure; see `QuestionSummary`."""

    accuracy: Change
    accuracy_raw: Change
    nll: Change


@dataclass(frozen=True)
class Known:
    """The same on the questions that the base answered right: only what was known can be forgotten.

    The base's accuracy there is 1 by selection. A model that guesses again at random what the base had guessed right
    loses some of it too, so a small loss is no proof.

    Attributes:
        n: Questions that the base answered right.
        unknown: Questions that it did not.
        accuracy: Of the former; none where there is none.
    """

    n: int
    unknown: int
    accuracy: Change | None = None


@dataclass(frozen=True)
class TextSummary:
    """A group of texts under one model.

    Attributes:
        num_tokens: Predicted tokens.
        nll: Nats per token.
        perplexity: `exp(nll)`.
        top_accuracy: Share of tokens that are the model's first choice.
        extraction_strength: Share of a text that greedy decoding writes by itself to its end; mean over texts.
        exact_memorization: Share of a text's tokens that are the model's first choice; mean over texts.
    """

    num_tokens: int
    nll: float | None
    perplexity: float | None
    top_accuracy: float | None
    extraction_strength: float | None = None
    exact_memorization: float | None = None


@dataclass(frozen=True)
class TextChange:
    """Paired differences of a group of texts, by measure; see `TextSummary`."""

    nll: Change
    top_accuracy: Change | None = None
    extraction_strength: Change | None = None
    exact_memorization: Change | None = None


@dataclass(frozen=True)
class AnswerSummary:
    """A group of prompts whose answers were written by one model and compared with expected ones; means over prompts.

    Attributes:
        n: Prompts.
        exact_match: Share of answers that are the expected one.
        rouge_l_recall: Longest common subsequence of words, over the expected words.
        rouge_l_f1: Harmonic mean of that and of the same over the written words.
        extraction_strength: As in `TextSummary`, of the expected answers.
        exact_memorization: As in `TextSummary`, of the expected answers.
    """

    n: int
    exact_match: float | None
    rouge_l_recall: float | None
    rouge_l_f1: float | None
    extraction_strength: float | None
    exact_memorization: float | None


@dataclass(frozen=True)
class AnswerChange:
    """Paired differences of a group of prompts, by measure; see `AnswerSummary`."""

    exact_match: Change
    rouge_l_recall: Change
    rouge_l_f1: Change
    extraction_strength: Change
    exact_memorization: Change


@dataclass(frozen=True)
class TaskSummary:
    """A task of lm-evaluation-harness under one model; names and numbers are the harness's own.

    Attributes:
        n: Documents.
        metrics: By name and filter, such as `acc,none`.
        stderr: Standard error of each metric; none where the harness gives none.
    """

    n: int
    metrics: Mapping[str, float | None]
    stderr: Mapping[str, float | None]


@dataclass(frozen=True)
class Source:
    """Where the items of a group came from.

    Attributes:
        name: File name without its folder, or hub data set.
        sha256: Hash of the file; none where it is no single file.
    """

    name: str
    sha256: str | None = None


@dataclass(frozen=True)
class EvaluateSettings:
    """How `srmu evaluate` measured a group, since groups of several calls are shown together.

    Attributes:
        chat: Asked in the chat template.
        limit: Most items of the group; none = all.
        device: As asked for.
        dtype: As asked for.
    """

    chat: bool
    limit: int | None
    device: str
    dtype: str


@dataclass(frozen=True, kw_only=True)
class QuestionGroup:
    """A group of questions; without a base only `result`. `source` and `settings` are those of `srmu evaluate`.

    Attributes:
        base: Of the base.
        result: Of the result.
        change: Their difference.
        known: The same on what the base knows.
        source: Where the questions came from.
        settings: How they were asked.
        machine_made: Questions of the group that srmu made from texts (`srmu questions`); none = there are none.
    """

    base: QuestionSummary | None = None
    result: QuestionSummary
    change: QuestionChange | None = None
    known: Known | None = None
    source: Source | None = None
    settings: EvaluateSettings | None = None
    machine_made: int | None = None

    def label(self, name: str) -> str:
        """The group's name for tables and pages, with a mark where questions were made by srmu."""
        return marked_name(name, self.machine_made, self.result.n)

    def changes(self) -> dict[str, Change]:
        """The difference that tables show: the accuracy's."""
        return {} if self.change is None else {"accuracy": self.change.accuracy}


@dataclass(frozen=True, kw_only=True)
class TextGroup:
    """A group of texts; without a base only `result`. `source` and `settings` are those of `srmu evaluate`.

    Attributes:
        base: Of the base.
        result: Of the result.
        change: Their difference.
        predictions_changed: Share of tokens at which the two models' first choices differ.
        moved: How far the tokens' hidden states moved at the tapped layer, relative to their frozen norm.
        source: Where the texts came from.
        settings: How they were measured.
    """

    base: TextSummary | None = None
    result: TextSummary
    change: TextChange | None = None
    predictions_changed: float | None = None
    moved: float | None = None
    source: Source | None = None
    settings: EvaluateSettings | None = None

    def changes(self) -> dict[str, Change]:
        """The difference that tables show: the loss's."""
        return {} if self.change is None else {"nll": self.change.nll}


@dataclass(frozen=True, kw_only=True)
class AnswerGroup:
    """A group of prompts with expected answers; without a base only `result`."""

    base: AnswerSummary | None = None
    result: AnswerSummary
    change: AnswerChange | None = None
    source: Source | None = None
    settings: EvaluateSettings | None = None

    def changes(self) -> dict[str, Change]:
        """The differences that tables show: all."""
        if self.change is None:
            return {}
        return {each.name: getattr(self.change, each.name) for each in dataclasses.fields(self.change)}


@dataclass(frozen=True, kw_only=True)
class TaskGroup:
    """A task of lm-evaluation-harness; without a base only `result`."""

    base: TaskSummary | None = None
    result: TaskSummary
    change: Mapping[str, Change] | None = None
    settings: EvaluateSettings | None = None

    def changes(self) -> dict[str, Change]:
        """The differences that tables show: those of all metrics."""
        return dict(self.change or {})


Group = QuestionGroup | TextGroup | AnswerGroup | TaskGroup


def marked_name(name: str, machine_made: int | None, total: int) -> str:
    """A group's name, with a mark where some or all of its questions were made by srmu."""
    if not machine_made:
        return name
    return f"{name} ({'' if machine_made == total else f'{machine_made} of {total} '}machine-made)"


def measures_of(summary: QuestionSummary | TextSummary | AnswerSummary) -> dict[str, float | None]:
    """The numbers of one model on one group, by measure, counts and standard errors among them."""
    return {each.name: getattr(summary, each.name) for each in dataclasses.fields(summary)}


def defined(value: float) -> float | None:
    """A number, or none where it is not finite."""
    return float(value) if math.isfinite(value) else None
