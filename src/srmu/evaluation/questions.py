"""Multiple-choice questions, scored by the likelihood of the answer text as lm-evaluation-harness scores them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.errors import InputError, nearest_hint
from srmu.evaluation.encoding import encode_pairs, wrap_in_chat
from srmu.evaluation.prefix_trees import Progress, continuation_log_likelihoods
from srmu.inputs.jsonl import parse_object


@dataclass(frozen=True, kw_only=True)
class Question:
    """One multiple-choice question.

    The continuation that is scored for a choice is a space followed by the choice.
    """

    prompt: str
    """Text before the answer, without a trailing space."""
    choices: tuple[str, ...]
    """Answer texts, distinct."""
    answer: int
    """Position of the right answer in `choices`, from 0."""
    fact: str = ""
    """Key of the fact that is asked, `relation:subject`; empty if unknown."""


@dataclass(frozen=True, kw_only=True)
class QuestionScores:
    """What a model answered, question by question; all arrays have one entry a question."""

    log_likelihoods: tuple[tuple[float, ...], ...]
    """Natural logarithm of each choice's probability, as often as the question has choices."""
    correct_norm: np.ndarray
    """Bool: the right answer has the highest log-likelihood a character."""
    correct_raw: np.ndarray
    """Bool: the right answer has the highest log-likelihood."""
    answer_nll: np.ndarray
    """Minus log-likelihood of the right answer, nats a token."""
    facts: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of questions."""
        return len(self.facts)

    @property
    def accuracy(self) -> float:
        """Share answered right, length-normalised (`acc_norm`)."""
        return float(self.correct_norm.mean())

    @property
    def accuracy_raw(self) -> float:
        """Share answered right by plain log-likelihood (`acc`)."""
        return float(self.correct_raw.mean())

    @property
    def stderr(self) -> float:
        """Standard error of `accuracy`, questions taken as independent; nan for a single question."""
        return clustered_stderr(self.correct_norm, ("",) * self.n)

    @property
    def stderr_by_fact(self) -> float:
        """Standard error of `accuracy` where questions on one fact are not independent."""
        return clustered_stderr(self.correct_norm, self.facts)

    @property
    def nll(self) -> float:
        """Mean over questions of the right answer's nats a token."""
        return float(self.answer_nll.mean())


def score_questions(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    questions: Sequence[Question],
    *,
    batch_tokens: int = 4096,
    progress: Progress | None = None,
    chat: bool = False,
) -> QuestionScores:
    """Score every choice of every question by its log-likelihood after the prompt.

    Equals the `multiple_choice` tasks of lm-evaluation-harness: the delimiter is a space, or nothing in chat form;
    `accuracy` is its `acc_norm`, `accuracy_raw` its `acc`. What prompts have in common is computed once.

    Args:
        model: In eval mode.
        tokenizer: Its padding side and pad token play no part.
        questions: At least one.
        batch_tokens: Most tokens in one forward pass.
        progress: Called with choices done and choices in all.
        chat: Ask in the tokenizer's chat template.

    Raises:
        InputError: If there is no question, no chat template, or an answer without a token of its own.
    """
    if not questions:
        raise InputError("There are no questions to score. Give at least one.")
    pairs = []
    for question in questions:
        prompt = wrap_in_chat(tokenizer, question.prompt) if chat else question.prompt
        delimiter = "" if chat else " "
        pairs += encode_pairs(tokenizer, prompt, [delimiter + choice for choice in question.choices])
    return score_pairs(model, questions, pairs, batch_tokens=batch_tokens, progress=progress)


def score_pairs(
    model: PreTrainedModel,
    questions: Sequence[Question],
    pairs: Sequence[tuple[list[int], list[int]]],
    *,
    batch_tokens: int = 4096,
    progress: Progress | None = None,
) -> QuestionScores:
    """`score_questions` of questions that are token ids already.

    Args:
        model: In eval mode.
        questions: At least one.
        pairs: Context and continuation of every choice of every question, in order.
        batch_tokens: Most tokens in one forward pass.
        progress: Called with choices done and choices in all.
    """
    sums = continuation_log_likelihoods(model, pairs, batch_tokens=batch_tokens, progress=progress)
    ends = np.cumsum([len(question.choices) for question in questions])
    by_question = np.split(sums, ends[:-1])
    rights = [end - len(q.choices) + q.answer for end, q in zip(ends, questions, strict=True)]
    characters = [np.array([len(choice) for choice in question.choices]) for question in questions]
    return QuestionScores(
        log_likelihoods=tuple(tuple(map(float, values)) for values in by_question),
        correct_norm=np.array(
            [np.argmax(v / c) == q.answer for v, c, q in zip(by_question, characters, questions, strict=True)]
        ),
        correct_raw=np.array([np.argmax(v) == q.answer for v, q in zip(by_question, questions, strict=True)]),
        answer_nll=np.array([-sums[right] / len(pairs[right][1]) for right in rights]),
        facts=tuple(question.fact for question in questions),
    )


def clustered_stderr(values: np.ndarray, clusters: Sequence[str]) -> float:
    """Standard error of a mean whose values hang together within a cluster; an empty key is a cluster of its own.

    Without repeated keys this is the sample standard deviation by the root of n. It is nan for a single cluster.
    """
    deviations = np.asarray(values, dtype=np.float64) - np.mean(values)
    sums: dict[Any, float] = {}
    for number, (key, deviation) in enumerate(zip(clusters, deviations, strict=True)):
        sums[key or number] = sums.get(key or number, 0.0) + float(deviation)
    if len(sums) < 2:
        return math.nan
    spread = sum(total**2 for total in sums.values()) * len(sums) / (len(sums) - 1)
    return math.sqrt(spread) / len(deviations)


def read_questions(path: str | Path) -> list[Question]:
    """Read questions from JSONL with `question` (or `prompt`), `choices`, `answer` and, if known, `fact`.

    Raises:
        InputError: Naming the file and the line: missing or empty file, malformed JSON, a missing field, fewer than two
            choices, choices that are not different texts, an answer that is not the number of a choice.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise InputError(f"Question file {str(path)!r} does not exist. Check the path.") from None
    except UnicodeDecodeError:
        raise InputError(f"Question file {str(path)!r} is not UTF-8 text. Give a JSONL file.") from None
    except OSError as error:
        raise InputError(f"Question file {str(path)!r} cannot be read: {error.strerror}. Give a JSONL file.") from None
    questions = [
        _parse_question(line, f"{str(path)!r}, line {number}") for number, line in enumerate(lines, 1) if line.strip()
    ]
    if not questions:
        raise InputError(f"Question file {str(path)!r} holds no question. Give one JSON object a line.")
    return questions


def _parse_question(line: str, place: str) -> Question:
    record = parse_object(line, place)
    prompt = record["question"] if "question" in record else _field(record, "prompt", place, asked="question")
    choices, answer = _field(record, "choices", place), _field(record, "answer", place)
    if not isinstance(prompt, str):
        raise InputError(f"{place}: the question is {type(prompt).__name__}, not text. Correct that line.")
    if not isinstance(choices, list) or not all(isinstance(choice, str) and choice for choice in choices):
        raise InputError(f"{place}: 'choices' must be a list of texts, found {choices!r}. Correct that line.")
    if len(set(choices)) < max(2, len(choices)):
        raise InputError(f"{place}: 'choices' must be two or more different texts, found {choices!r}.")
    if not isinstance(answer, int) or isinstance(answer, bool) or not 0 <= answer < len(choices):
        raise InputError(
            f"{place}: 'answer' must be the number of a choice, 0 to {len(choices) - 1}; found {answer!r}."
        )
    return Question(prompt=prompt, choices=tuple(choices), answer=answer, fact=str(record.get("fact") or ""))


def _field(record: dict[str, Any], key: str, place: str, *, asked: str | None = None) -> Any:
    if key in record:
        return record[key]
    asked = asked or key
    found = ", ".join(record) or "none"
    raise InputError(f"{place}: field {asked!r} is missing; fields found: {found}.{nearest_hint(asked, list(record))}")
