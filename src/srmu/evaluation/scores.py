"""Everything that `srmu evaluate` measures on one model, and two models' measurements side by side."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from srmu.evaluation.answers import AnswerScores, score_answers
from srmu.evaluation.completions import complete
from srmu.evaluation.harness import TaskScores, run_tasks
from srmu.evaluation.memorization import MemorizationScores, memorization_of_answers
from srmu.evaluation.questions import QuestionScores, score_questions
from srmu.evaluation.results import compare_each, compare_values, means, question_group, text_group
from srmu.evaluation.texts import TextScores, text_scores
from srmu.inputs.completions import Completion
from srmu.inputs.harness_tasks import HarnessTasks
from srmu.inputs.questions import Question
from srmu.results.groups import AnswerChange, AnswerGroup, AnswerSummary, Change, TaskGroup, TaskSummary, defined
from srmu.results.records import Evaluation
from srmu.runtime.processes import main_process
from srmu.runtime.progress import Reporter

TEXT_WINDOW = 2048
MOST_NEW_TOKENS = 256


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is to be measured, by group name.

    Attributes:
        questions: Multiple choice.
        texts: For loss, first choices and memorisation.
        completions: Prompts with expected answers.
        tasks: Of lm-evaluation-harness; none = none.
        limit: Most documents of a harness task.
        chat: Ask in the chat template.
    """

    questions: Mapping[str, Sequence[Question]] = field(default_factory=dict)
    texts: Mapping[str, Sequence[str]] = field(default_factory=dict)
    completions: Mapping[str, Sequence[Completion]] = field(default_factory=dict)
    tasks: HarnessTasks | None = None
    limit: int | None = None
    chat: bool = False


Answers = tuple[AnswerScores, MemorizationScores]


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """Scores of one model, by group name."""

    questions: dict[str, QuestionScores]
    texts: dict[str, TextScores]
    answers: dict[str, Answers]
    tasks: dict[str, TaskScores]


def score_model(model: Any, tokenizer: Any, work: Workload, *, title: str, reporter: Reporter) -> ModelScores:
    """Measure one model, with a bar for every group."""
    questions, texts, answers = {}, {}, {}
    for name, asked in work.questions.items():
        with reporter.task(f"{title}: questions {name}") as progress:
            questions[name] = score_questions(model, tokenizer, asked, chat=work.chat, progress=progress)
    for name, group in work.texts.items():
        with reporter.task(f"{title}: texts {name}") as progress:
            texts[name] = text_scores(model, tokenizer, group, window=TEXT_WINDOW, progress=progress)
    for name, pairs in work.completions.items():
        with reporter.task(f"{title}: completions {name}") as progress:
            lengths = [len(tokenizer.encode(pair.answer, add_special_tokens=False)) for pair in pairs]
            given = complete(
                model,
                tokenizer,
                [pair.prompt for pair in pairs],
                max_new_tokens=min(max(lengths) + 8, MOST_NEW_TOKENS),
                chat=work.chat,
                progress=progress,
            )
            remembered = memorization_of_answers(model, tokenizer, pairs, chat=work.chat)
            answers[name] = (score_answers([pair.answer for pair in pairs], given), remembered)
    tasks = {}
    # The harness knows nothing of ranks that share a model's work: one runs it whole.
    if work.tasks is not None and main_process():
        with reporter.task(f"{title}: harness tasks") as progress:
            tasks = run_tasks(model, tokenizer, work.tasks, limit=work.limit, chat=work.chat)
            progress(1, 1)
    return ModelScores(questions=questions, texts=texts, answers=answers, tasks=tasks)


def evaluation_of(base: ModelScores | None, result: ModelScores) -> Evaluation:
    """Scores as records: each group's result, and beside a base their paired difference."""
    before = base or ModelScores(questions={}, texts={}, answers={}, tasks={})
    return Evaluation(
        questions={name: question_group(before.questions.get(name), found) for name, found in result.questions.items()},
        texts={name: text_group(before.texts.get(name), found) for name, found in result.texts.items()},
        completions={name: _answer_group(before.answers.get(name), found) for name, found in result.answers.items()},
        tasks={name: _task_group(before.tasks.get(name), found) for name, found in result.tasks.items()},
    )


def _answer_group(base: Answers | None, result: Answers) -> AnswerGroup:
    after = _arrays(result)
    if base is None:
        return AnswerGroup(result=_answer_summary(after))
    before = _arrays(base)
    return AnswerGroup(
        base=_answer_summary(before),
        result=_answer_summary(after),
        change=AnswerChange(**compare_each(before, after)),
    )


def _arrays(found: Answers) -> dict[str, np.ndarray]:
    answers, remembered = found
    return asdict(answers) | asdict(remembered)


def _answer_summary(arrays: Mapping[str, np.ndarray]) -> AnswerSummary:
    return AnswerSummary(n=len(next(iter(arrays.values()))), **means(arrays))


def _task_group(base: TaskScores | None, result: TaskScores) -> TaskGroup:
    """The harness's own numbers; the paired standard error only where items average to the harness's value."""
    if base is None:
        return TaskGroup(result=_task_summary(result))
    change = {}
    for metric, value in result.metrics.items():
        before, items = base.metrics[metric], (base.items.get(metric), result.items.get(metric))
        if items[0] is not None and items[1] is not None and np.isclose(items[1].mean(), value):
            change[metric] = compare_values(items[0], items[1], [""] * len(items[0]))
        else:
            change[metric] = Change(defined(before), defined(value), defined(value - before), None)
    return TaskGroup(base=_task_summary(base), result=_task_summary(result), change=change)


def _task_summary(scores: TaskScores) -> TaskSummary:
    metrics, errors = (
        {name: defined(value) for name, value in found.items()} for found in (scores.metrics, scores.stderr)
    )
    return TaskSummary(scores.num_items, metrics, errors)
