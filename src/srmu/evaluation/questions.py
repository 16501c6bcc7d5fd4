"""Multiple-choice questions, scored by the likelihood of the answer text as lm-evaluation-harness scores them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.errors import InputError
from srmu.evaluation.encoding import encode_pairs, wrap_in_chat
from srmu.evaluation.prefix_trees import Progress, continuation_log_likelihoods
from srmu.inputs.questions import Question


@dataclass(frozen=True, kw_only=True)
class QuestionScores:
    """What a model answered, question by question; all arrays have one entry per question."""

    log_likelihoods: tuple[tuple[float, ...], ...]
    """Natural logarithm of each choice's probability, as often as the question has choices."""
    correct_norm: np.ndarray
    """Bool: a right answer has the highest log-likelihood per character."""
    correct_raw: np.ndarray
    """Bool: a right answer has the highest log-likelihood."""
    answer_nll: np.ndarray
    """Minus log-likelihood of the (first) right answer, nats per token."""
    facts: tuple[str, ...]
    num_machine_made: int = 0
    """Questions that srmu made itself."""

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
        """Mean over questions of the right answer's nats per token."""
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
            [np.argmax(v / c) in _right(q) for v, c, q in zip(by_question, characters, questions, strict=True)]
        ),
        correct_raw=np.array([np.argmax(v) in _right(q) for v, q in zip(by_question, questions, strict=True)]),
        answer_nll=np.array([-sums[right] / len(pairs[right][1]) for right in rights]),
        facts=tuple(question.fact for question in questions),
        num_machine_made=sum(question.machine_made for question in questions),
    )


def _right(question: Question) -> tuple[int, ...]:
    return (question.answer, *question.also_right)


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
