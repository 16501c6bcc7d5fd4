"""Before and after: what a whole model makes of held-out texts, questions and prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srmu.evaluation.completions import complete
from srmu.evaluation.questions import QuestionScores, score_questions
from srmu.evaluation.results import compare_questions, compare_texts, summarize_questions, summarize_texts, to_record
from srmu.evaluation.texts import TextScores, share_of_changed_predictions, text_scores
from srmu.inputs.questions import Question
from srmu.inputs.rows import TokenRows
from srmu.runtime.progress import Reporter


@dataclass(frozen=True)
class Measurement:
    """Scores of one model.

    Attributes:
        texts: By group.
        questions: By group.
        answers: Greedy completions of the prompts.
    """

    texts: dict[str, TextScores]
    questions: dict[str, QuestionScores]
    answers: list[str]


def measure(
    model: Any,
    tokenizer: Any,
    *,
    texts: Mapping[str, TokenRows],
    questions: Mapping[str, Sequence[Question]],
    prompts: Sequence[str] = (),
    chat: bool = False,
    reporter: Reporter,
    title: str,
) -> Measurement:
    """Score one model on everything; groups without rows are left out."""
    groups = {name: rows for name, rows in texts.items() if len(rows)}
    parts = len(groups) + len(questions) + bool(prompts)
    with reporter.task(title) as progress:
        progress(0, parts)
        text_results, question_results = {}, {}
        for name, rows in groups.items():
            text_results[name] = text_scores(model, tokenizer, [row.tolist() for row in rows.token_ids])
            progress(len(text_results), parts)
        for name, asked in questions.items():
            question_results[name] = score_questions(model, tokenizer, asked, chat=chat)
            progress(len(text_results) + len(question_results), parts)
        answers = complete(model, tokenizer, prompts, chat=chat) if prompts else []
        progress(parts, parts)
    return Measurement(text_results, question_results, answers)


def compare(before: Measurement, after: Measurement) -> dict[str, Any]:
    """Both measurements and their differences, as they stand in `results.json`; answers are left out on purpose."""
    return {
        "texts": {
            name: {
                "base": to_record(summarize_texts(before.texts[name])),
                "result": to_record(summarize_texts(after.texts[name])),
                "nll": to_record(compare_texts(before.texts[name], after.texts[name])),
                "predictions_changed": share_of_changed_predictions(before.texts[name], after.texts[name]),
            }
            for name in before.texts
        },
        "questions": {
            name: {
                "base": to_record(summarize_questions(before.questions[name])),
                "result": to_record(summarize_questions(after.questions[name])),
                "change": {
                    key: to_record(value)
                    for key, value in compare_questions(before.questions[name], after.questions[name]).items()
                },
            }
            for name in before.questions
        },
    }
