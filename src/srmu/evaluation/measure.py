"""Before and after: what a whole model makes of held-out texts, questions and prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srmu.config.groups import Side
from srmu.evaluation.audit.audit import AuditItems
from srmu.evaluation.completions import complete
from srmu.evaluation.questions import QuestionScores, score_questions
from srmu.evaluation.results import question_group, text_group
from srmu.evaluation.texts import TextScores, text_scores
from srmu.inputs.questions import Question
from srmu.inputs.rows import TokenRows
from srmu.results.audit_records import Audit
from srmu.results.records import Results
from srmu.results.sides import NOTHING_DECLARED, sides_of
from srmu.runtime.progress import Reporter


@dataclass(frozen=True)
class Measurement:
    """Scores of one model.

    Attributes:
        texts: By group.
        questions: By group.
        answers: Greedy completions of the prompts.
        nll: Of the base: nats per token that it gives its own answers; empty = they are not judged.
        language: Of the base: nats per token up to which an answer to these prompts is language.
        known: Of the base: what the audit will ask the result for; none = there is no audit.
        audit: Of the result: what it lost of that.
    """

    texts: dict[str, TextScores]
    questions: dict[str, QuestionScores]
    answers: list[str]
    nll: tuple[float, ...] = ()
    language: tuple[float, ...] = ()
    known: AuditItems | None = None
    audit: Audit | None = None


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


def compare(before: Measurement, after: Measurement, sides: Mapping[str, Side] = NOTHING_DECLARED) -> Results:
    """Both measurements and their differences; the models' answers are left out on purpose.

    Args:
        before: Of the base.
        after: Of the result.
        sides: Of groups, as the user declared them.
    """
    return Results(
        sides=sides_of([*before.questions, *before.texts], sides),
        questions={name: question_group(found, after.questions[name]) for name, found in before.questions.items()},
        texts={name: text_group(found, after.texts[name]) for name, found in before.texts.items()},
        audit=after.audit,
    )
