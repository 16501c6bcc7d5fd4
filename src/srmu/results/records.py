"""Everything in `results.json`: what a run measured, what `srmu evaluate`, `benchmark` and `attack` added later.

`result` is the unlearned model, `base` the model it was made from, `change` their paired difference. Nothing here holds
a text. A number that is not defined is none (null in JSON).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from srmu.config.groups import Side
from srmu.results.attack_records import AttackRecord
from srmu.results.audit_records import Audit
from srmu.results.benchmarks.records import Benchmarks
from srmu.results.digests import read_listed, replace_listed
from srmu.results.fluency_records import FluencyGroup
from srmu.results.groups import AnswerGroup, Group, QuestionGroup, TaskGroup, TextGroup
from srmu.results.run_files import RESULTS_FILE
from srmu.results.schema import parse, to_json
from srmu.results.sides import side_of
from srmu.runtime.files import json_bytes, locked_directory, write_json_atomic

RESULTS_FORMAT = 2


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What `srmu evaluate` measured, by name of the group or task."""

    questions: Mapping[str, QuestionGroup] = field(default_factory=dict)
    texts: Mapping[str, TextGroup] = field(default_factory=dict)
    completions: Mapping[str, AnswerGroup] = field(default_factory=dict)
    tasks: Mapping[str, TaskGroup] = field(default_factory=dict)

    def kinds(self) -> Mapping[str, Mapping[str, Group]]:
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
        benchmarks: What `srmu benchmark` added.
        attacks: What `srmu attack` added, by name of the attack.
        audit: What the run took that nobody asked about.
        fluency: Whether answers to forget prompts are still language.
    """

    format: int = RESULTS_FORMAT
    sides: Mapping[str, Side] = field(default_factory=dict)
    questions: Mapping[str, QuestionGroup] = field(default_factory=dict)
    texts: Mapping[str, TextGroup] = field(default_factory=dict)
    evaluate: Evaluation = field(default_factory=Evaluation)
    benchmarks: Benchmarks = field(default_factory=Benchmarks)
    attacks: Mapping[str, AttackRecord] = field(default_factory=dict)
    audit: Audit | None = None
    fluency: FluencyGroup | None = None

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
    """Read what was measured on a finished run; empty where nothing was.

    Raises:
        InputError: The file is damaged or of another format, or it is not the one that the run's `SHA256SUMS` lists.
    """
    content = read_listed(Path(run_dir), RESULTS_FILE)
    if content is None:
        return Results()
    return parse(Results, content, Path(run_dir) / RESULTS_FILE, version=RESULTS_FORMAT)


def write_results(run_dir: str | Path, results: Results) -> None:
    """Write the results of a run that is not finished yet."""
    write_json_atomic(Path(run_dir) / RESULTS_FILE, to_json(results))


def add_results(run_dir: Path, add: Callable[[Results], Results]) -> None:
    """Add to what was measured on a finished run, and list the new file; one process at a time.

    Args:
        run_dir: The run.
        add: Makes the new results of those that are there.

    Raises:
        InputError: As `read_results`.
    """
    with locked_directory(run_dir):
        replace_listed(run_dir, RESULTS_FILE, json_bytes(to_json(add(read_results(run_dir)))))
