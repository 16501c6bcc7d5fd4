"""Everything that `srmu evaluate` measures on one model, and two models' measurements side by side."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from srmu.evaluation.answers import AnswerScores, score_answers
from srmu.evaluation.completions import complete
from srmu.evaluation.harness import HarnessTasks, TaskScores, run_tasks
from srmu.evaluation.memorization import MemorizationScores, memorization_of_answers, memorization_of_texts
from srmu.evaluation.questions import QuestionScores, score_questions
from srmu.evaluation.results import (
    Comparison,
    compare_questions,
    compare_texts,
    compare_values,
    summarize_questions,
    summarize_texts,
    to_record,
)
from srmu.evaluation.texts import TextScores, share_of_changed_predictions, text_scores
from srmu.inputs.completions import Completion
from srmu.inputs.questions import Question
from srmu.runtime.processes import main_process
from srmu.runtime.progress import Reporter

TEXT_WINDOW = 2048
MOST_NEW_TOKENS = 256
Record = dict[str, Any]


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


@dataclass(frozen=True, kw_only=True)
class ModelScores:
    """Scores of one model, by group name."""

    questions: dict[str, QuestionScores]
    texts: dict[str, TextScores]
    answers: dict[str, tuple[AnswerScores, MemorizationScores]]
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


def result_record(base: ModelScores | None, result: ModelScores) -> Record:
    """JSON values: each group with `result`, and with a base `base` and `change` (after minus before, paired)."""
    before: Any = base or ModelScores(questions={}, texts={}, answers={}, tasks={})
    arrays_before = {name: _answer_arrays(*found) for name, found in before.answers.items()}
    return {
        "questions": {name: _questions(before.questions.get(name), found) for name, found in result.questions.items()},
        "texts": {name: _texts(before.texts.get(name), found) for name, found in result.texts.items()},
        "completions": {
            name: _answers(arrays_before.get(name), _answer_arrays(*found)) for name, found in result.answers.items()
        },
        "tasks": {name: _task(before.tasks.get(name), found) for name, found in result.tasks.items()},
    }


def _questions(base: QuestionScores | None, result: QuestionScores) -> Record:
    record: Record = {"result": to_record(summarize_questions(result))}
    if base is None:
        return record
    record = {"base": to_record(summarize_questions(base))} | record
    record["change"] = _records(compare_questions(base, result))
    record["known"] = _known(base, result)
    return record


def _known(base: QuestionScores, result: QuestionScores) -> Record:
    """The same on the questions that the base answered right: only what was known can be forgotten.

    The base's accuracy there is 1 by selection. A model that guesses again at random what the base had guessed right
    loses some of it too, so a small loss is no proof.
    """
    known = base.correct_norm
    record: Record = {"n": int(known.sum()), "unknown": int((~known).sum())}
    if known.any():
        facts = [fact for fact, is_known in zip(base.facts, known, strict=True) if is_known]
        record["accuracy"] = to_record(compare_values(base.correct_norm[known], result.correct_norm[known], facts))
    return record


def _texts(base: TextScores | None, result: TextScores) -> Record:
    remembered = asdict(memorization_of_texts(result))
    after = to_record(summarize_texts(result)) | _mean_of_each(remembered)
    if base is None:
        return {"result": after}
    remembered_before = asdict(memorization_of_texts(base))
    before = to_record(summarize_texts(base)) | _mean_of_each(remembered_before)
    documents = [str(number) for number, count in enumerate(base.document_tokens) for _ in range(count)]
    hits = [scores.top_ids == scores.target_ids for scores in (base, result)]
    change = {"nll": compare_texts(base, result), "top_accuracy": compare_values(hits[0], hits[1], documents)}
    return {
        "base": before,
        "result": after,
        "change": _records(change | _compare_each(remembered_before, remembered)),
        "predictions_changed": share_of_changed_predictions(base, result),
    }


def _answer_arrays(answers: AnswerScores, remembered: MemorizationScores) -> dict[str, np.ndarray]:
    return asdict(answers) | asdict(remembered)


def _answers(base: dict[str, np.ndarray] | None, result: dict[str, np.ndarray]) -> Record:
    size: Record = {"n": len(next(iter(result.values())))}
    if base is None:
        return {"result": size | _mean_of_each(result)}
    return {
        "base": size | _mean_of_each(base),
        "result": size | _mean_of_each(result),
        "change": _records(_compare_each(base, result)),
    }


def _task(base: TaskScores | None, result: TaskScores) -> Record:
    """The harness's own numbers; the paired standard error only where items average to the harness's value."""

    def own(scores: TaskScores) -> Record:
        return {"n": scores.num_items, "metrics": _finite(scores.metrics), "stderr": _finite(scores.stderr)}

    if base is None:
        return {"result": own(result)}
    change = {}
    for metric, value in result.metrics.items():
        before, items = base.metrics[metric], (base.items.get(metric), result.items.get(metric))
        if items[0] is not None and items[1] is not None and np.isclose(items[1].mean(), value):
            change[metric] = to_record(compare_values(items[0], items[1], [""] * len(items[0])))
        else:
            change[metric] = to_record(Comparison(before, value, value - before, math.nan))
    return {"base": own(base), "result": own(result), "change": change}


def _mean_of_each(arrays: Mapping[str, np.ndarray]) -> dict[str, float]:
    return {name: float(values.mean()) for name, values in arrays.items()}


def _compare_each(before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray]) -> dict[str, Comparison]:
    return {name: compare_values(before[name], after[name], [""] * len(before[name])) for name in before}


def _records(comparisons: Mapping[str, Comparison]) -> Record:
    return {name: to_record(comparison) for name, comparison in comparisons.items()}


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """JSON has no nan: such a value becomes null."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
