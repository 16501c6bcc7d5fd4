"""Everything in `results.json`: what a run measured, what `srmu evaluate` and `srmu attack` added later.

`result` is the unlearned model, `base` the model it was made from, `change` their paired difference. Nothing here holds
a text. A number that is not defined is none (null in JSON).
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from srmu.config.groups import Side
from srmu.results.attack_records import AttackRecord
from srmu.results.audit_records import Audit
from srmu.results.fluency_records import Fluency
from srmu.results.run_files import RESULTS_FILE
from srmu.results.schema import load, to_json
from srmu.results.sides import side_of

RESULTS_FORMAT = 2


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
    """How `srmu evaluate` measured a group, since groups of several calls stand side by side.

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
    """A group of questions; without a base only `result`. `source` and `settings` are those of `srmu evaluate`."""

    base: QuestionSummary | None = None
    result: QuestionSummary
    change: QuestionChange | None = None
    known: Known | None = None
    source: Source | None = None
    settings: EvaluateSettings | None = None

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


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `srmu evaluate` measured, by name of the group or task."""

    questions: Mapping[str, QuestionGroup] = field(default_factory=dict)
    texts: Mapping[str, TextGroup] = field(default_factory=dict)
    completions: Mapping[str, AnswerGroup] = field(default_factory=dict)
    tasks: Mapping[str, TaskGroup] = field(default_factory=dict)

    def kinds(self) -> Mapping[str, Mapping[str, "Group"]]:
        """The groups by kind, in the order of the fields."""
        return {
            "questions": self.questions, "texts": self.texts, "completions": self.completions, "tasks": self.tasks,
        }  # fmt: skip

    def merged(self, later: "Evaluation") -> "Evaluation":
        """With the groups of a later call; one that was measured again replaces the former."""
        return Evaluation(
            questions={**self.questions, **later.questions},
            texts={**self.texts, **later.texts},
            completions={**self.completions, **later.completions},
            tasks={**self.tasks, **later.tasks},
        )


Group = QuestionGroup | TextGroup | AnswerGroup | TaskGroup


@dataclass(frozen=True, kw_only=True)
class EvaluationReport(Evaluation):
    """What `srmu evaluate` returns.

    Attributes:
        model: The checkpoint that was measured.
        base: The checkpoint beside it; none = it was measured alone.
    """

    model: str
    base: str | None


@dataclass(frozen=True)
class Answer:
    """A prompt with what each model wrote; shown, and stored only where the user asks for it.

    Attributes:
        prompt: As given.
        result: Of the model, or of the run's result.
        base: Of the base; none = it was not asked.
    """

    prompt: str
    result: str
    base: str | None = None


@dataclass(frozen=True, kw_only=True)
class Results:
    """What was measured on a run.

    Attributes:
        format: Of the file.
        sides: The side of every group, as the run took it: `forget`, `kept` or `reported`.
        questions: Groups of questions that the run asked before and after, by name.
        texts: Held-out texts that the run measured before and after, by side and topic.
        evaluate: What `srmu evaluate` added.
        attacks: What `srmu attack` added, by name of the attack.
        audit: What the run took that nobody asked about.
        fluency: Of answers to forget prompts, by model: `base`, `result`.
    """

    format: int = RESULTS_FORMAT
    sides: Mapping[str, Side] = field(default_factory=dict)
    questions: Mapping[str, QuestionGroup] = field(default_factory=dict)
    texts: Mapping[str, TextGroup] = field(default_factory=dict)
    evaluate: Evaluation = field(default_factory=Evaluation)
    attacks: Mapping[str, AttackRecord] = field(default_factory=dict)
    audit: Audit | None = None
    fluency: Mapping[str, Fluency] = field(default_factory=dict)

    def side_of(self, group: str) -> Side:
        """The side of a group, as the run took it."""
        return side_of(group, self.sides)

    @property
    def all_questions(self) -> dict[str, QuestionGroup]:
        """Groups that the run asked, and those that `srmu evaluate` added under other names."""
        return {**self.evaluate.questions, **self.questions}

    @property
    def all_texts(self) -> dict[str, TextGroup]:
        """Groups that the run measured, and those that `srmu evaluate` added under other names."""
        return {**self.evaluate.texts, **self.texts}

    @property
    def measured(self) -> bool:
        """Whether the run itself measured anything."""
        return bool(self.questions or self.texts)


def read_results(run_dir: str | Path) -> Results:
    """Read what was measured on a run; empty where nothing was.

    Raises:
        InputError: The file is damaged or of another format.
    """
    file = Path(run_dir) / RESULTS_FILE
    if not file.is_file():
        return Results()
    return load(Results, file, version=RESULTS_FORMAT)


def write_results(run_dir: str | Path, results: Results) -> None:
    """Write the results of a run; a file that is there is replaced whole."""
    from srmu.runtime.files import write_json_atomic

    write_json_atomic(Path(run_dir) / RESULTS_FILE, to_json(results))


def measures_of(summary: QuestionSummary | TextSummary | AnswerSummary) -> dict[str, float | None]:
    """The numbers of one model on one group, by measure, counts and standard errors among them."""
    return {each.name: getattr(summary, each.name) for each in dataclasses.fields(summary)}


def defined(value: float) -> float | None:
    """A number, or none where it is not finite."""
    return float(value) if math.isfinite(value) else None
