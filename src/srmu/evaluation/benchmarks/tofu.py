"""TOFU on one model (arXiv 2401.06121): its losses, what it writes, and the numbers made of both."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.evaluation.benchmarks import tofu_metrics as metrics
from srmu.evaluation.benchmarks.tofu_data import SET_NAMES, SetName, TofuData, TofuQuestion
from srmu.evaluation.benchmarks.tofu_formats import score_formats
from srmu.evaluation.benchmarks.tofu_losses import BATCH_TOKENS, answer_losses
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt, encode_answer, prompt_text
from srmu.evaluation.completions import complete
from srmu.evaluation.memorization import exact_memorization, extraction_strength
from srmu.evaluation.prefix_trees import Pair
from srmu.evaluation.texts import text_scores
from srmu.inputs.generation import max_positions
from srmu.results.benchmarks.tofu import TofuSetResult
from srmu.runtime.progress import Reporter

_CHOICE_SETS = ("real_authors", "world_facts")
"""Their probability is the right answer's share among those offered."""
_SAMPLE_STEPS = 4
# Retrained Llama 2 gives retained answers 0.99 and forgotten ones 0.15; a model of another split knows both.
_KNOWN_ALIKE = 0.75


@dataclass(frozen=True, kw_only=True)
class SetScores:
    """One set's questions, each with its losses (nats per token, float64) and ROUGE-L recall (0 to 1)."""

    answer: np.ndarray
    """`[questions]`."""
    right: np.ndarray
    """`[questions]`."""
    wrong: np.ndarray
    """`[questions, answers]`."""
    rouge_l_recall: np.ndarray
    """`[questions]`."""


@dataclass(frozen=True, kw_only=True)
class TofuScores:
    """All that TOFU measures on one model without a second one."""

    sets: Mapping[SetName, SetScores]
    extraction_strength: float
    """Mean over the forgotten answers, 0 to 1."""
    exact_memorization: float
    """Mean over the forgotten answers, 0 to 1."""
    formats: Mapping[str, float]
    """Forgotten questions in other forms, 0 to 1."""

    @property
    def truth_ratios(self) -> np.ndarray:
        """`R_truth` of each forgotten question: what forget quality compares."""
        forget = self.sets["forget"]
        return metrics.truth_ratio(forget.right, forget.wrong)


@dataclass(frozen=True, kw_only=True)
class GoldScores:
    """A model that was retrained without the forget set."""

    truth_ratios: np.ndarray
    """`R_truth` of each forgotten question, `[questions]`, float64."""
    forget_probability: float
    """Mean length-normalised probability of forgotten answers, 0 to 1."""
    retain_probability: float
    """The same of retained answers."""
    formats: Mapping[str, float]
    """Forgotten questions in other forms, 0 to 1."""

    @property
    def knows_forgotten(self) -> bool:
        """Whether forgotten answers are nearly as probable as retained ones: no gold standard should be so."""
        return self.forget_probability > _KNOWN_ALIKE * self.retain_probability


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Seconds on one model."""

    scoring: float
    writing: float
    """At most."""
    depth: float
    """Of the unlearning depth score, where it is asked for."""


def score_tofu(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TofuData,
    *,
    prompt: TofuPrompt,
    max_new_tokens: int = 200,
    batch_rows: int = 32,
    reporter: Reporter,
) -> TofuScores:
    """Measure one model on the four sets.

    Args:
        model: In eval mode.
        tokenizer: Its padding side and pad token play no part.
        data: Of one split.
        prompt: How questions are put.
        max_new_tokens: Most tokens of a written answer; 200 in OpenUnlearning.
        batch_rows: Answers that are written together.
        reporter: Hears of progress.

    Raises:
        InputError: An answer does not fit the model, or the model's losses are not finite.
    """
    losses = score_losses(model, tokenizer, data, prompt=prompt, reporter=reporter)
    forgotten = [encode_answer(tokenizer, prompt, entry.question, entry.answer) for entry in data.sets["forget"]]
    right = _first_choices(model, tokenizer, forgotten)
    formats = score_formats(model, tokenizer, data.sets["forget"], prompt=prompt, reporter=reporter)
    written = _write(model, tokenizer, data, prompt, max_new_tokens, batch_rows, reporter)
    return TofuScores(
        sets={
            name: SetScores(
                answer=losses[name][:, 0],
                right=losses[name][:, 1],
                wrong=losses[name][:, 2:],
                rouge_l_recall=metrics.rouge_l_recall([entry.answer for entry in data.sets[name]], written[name]),
            )
            for name in SET_NAMES
        },
        extraction_strength=float(np.mean([extraction_strength(row) for row in right])),
        exact_memorization=float(np.mean([exact_memorization(row) for row in right])),
        formats=formats,
    )


def score_losses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TofuData,
    *,
    prompt: TofuPrompt,
    reporter: Reporter,
) -> dict[SetName, np.ndarray]:
    """Losses of all answers of all sets, `[questions, 2 + wrong]` each: the answer, the right one, the wrong ones.

    In nats per token, float64; everything but ROUGE-L recall is made of them.

    Raises:
        InputError: An answer does not fit the model, or the model's losses are not finite.
    """
    with reporter.task("TOFU: scoring answers") as progress:
        losses = {name: _zeros(data.sets[name]) for name in SET_NAMES}
        pairs = [pair for name in SET_NAMES for entry in data.sets[name] for pair in _pairs(tokenizer, prompt, entry)]
        flat = answer_losses(model, pairs, progress=progress)
    start = 0
    for name in SET_NAMES:
        size = losses[name].size
        losses[name] = flat[start : start + size].reshape(losses[name].shape)
        start += size
    return losses


def score_gold(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TofuData,
    *,
    prompt: TofuPrompt,
    reporter: Reporter,
) -> GoldScores:
    """What is needed of a gold standard: truth ratios, other forms, and whether it knows retained answers alone.

    Raises:
        InputError: An answer does not fit the model, or the model's losses are not finite.
    """
    forget = [_pairs(tokenizer, prompt, question) for question in data.sets["forget"]]
    retain = [encode_answer(tokenizer, prompt, entry.question, entry.answer) for entry in data.sets["retain"]]
    with reporter.task("TOFU: the gold standard") as progress:
        flat = answer_losses(model, [*(pair for group in forget for pair in group), *retain], progress=progress)
    losses = flat[: -len(retain)].reshape(len(forget), -1)
    return GoldScores(
        truth_ratios=metrics.truth_ratio(losses[:, 1], losses[:, 2:]),
        forget_probability=float(metrics.probability(losses[:, 0]).mean()),
        retain_probability=float(metrics.probability(flat[-len(retain) :]).mean()),
        formats=score_formats(model, tokenizer, data.sets["forget"], prompt=prompt, reporter=reporter),
    )


def set_result(name: SetName, scores: SetScores) -> TofuSetResult:
    """A set's three numbers, each the mean over its questions."""
    ratios = metrics.truth_ratio(scores.right, scores.wrong)
    probabilities = metrics.probability(scores.answer)
    if name in _CHOICE_SETS:
        probabilities = metrics.choice_probability(scores.answer, scores.wrong)
    ratio = metrics.truth_ratio_of_forgotten if name == "forget" else metrics.truth_ratio_of_known
    return TofuSetResult(
        n=len(ratios),
        probability=float(probabilities.mean()),
        rouge_l_recall=float(scores.rouge_l_recall.mean()),
        truth_ratio=ratio(ratios),
    )


def estimate_seconds(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TofuData,
    *,
    prompt: TofuPrompt,
    max_new_tokens: int,
    batch_rows: int = 32,
) -> Estimate:
    """How long everything will take, from a small sample of scoring and of writing."""
    questions = [question for name in SET_NAMES for question in data.sets[name]]
    # The longest of the first: a rate that errs towards too slow.
    sample = max(questions[:16], key=lambda question: len(question.answer))
    pairs = _pairs(tokenizer, prompt, sample)
    started = time.perf_counter()
    answer_losses(model, pairs)
    per_letter = (time.perf_counter() - started) / _letters(sample)
    once = sum(len(question.question) + len(question.answer) for question in data.sets["forget"])
    # Three other forms, and one with all choices.
    letters = sum(map(_letters, questions)) + 3 * once + sum(map(_letters, data.sets["forget"]))
    texts = [prompt_text(tokenizer, prompt, question.question) for question in questions[:batch_rows]]
    started = time.perf_counter()
    complete(model, tokenizer, texts, max_new_tokens=min(_SAMPLE_STEPS, max_new_tokens), batch_rows=batch_rows)
    per_step = (time.perf_counter() - started) / _SAMPLE_STEPS / len(texts)
    passes = 3 + 2 * model.config.get_text_config().num_hidden_layers
    return Estimate(
        scoring=per_letter * letters,
        writing=per_step * max_new_tokens * len(questions),
        depth=per_letter * passes * once,
    )


def _letters(question: TofuQuestion) -> int:
    return len(question.question) + len(question.answer) + len(question.right) + sum(map(len, question.wrong))


def _zeros(questions: tuple[TofuQuestion, ...]) -> np.ndarray:
    return np.zeros((len(questions), 2 + len(questions[0].wrong)))


def _pairs(tokenizer: PreTrainedTokenizerBase, prompt: TofuPrompt, question: TofuQuestion) -> list[Pair]:
    """The answer, the right one of the truth ratio, and the wrong ones."""
    answers = (question.answer, question.right, *question.wrong)
    return [encode_answer(tokenizer, prompt, question.question, answer) for answer in answers]


def _first_choices(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: list[Pair]) -> list[np.ndarray]:
    """For each answer, bool by token: whether it is the model's first choice; the end token does not count."""
    window = max_positions(model)
    ends = tokenizer.eos_token_id
    trimmed = [(asked, answer[:-1] if answer[-1] == ends and len(answer) > 1 else answer) for asked, answer in pairs]
    rows = [(asked + answer)[-window:] for asked, answer in trimmed]
    scores = text_scores(model, tokenizer, rows, window=window, batch_tokens=BATCH_TOKENS)
    by_row = np.split(scores.top_ids == scores.target_ids, np.cumsum(scores.document_tokens)[:-1])
    return [right[-len(answer) :] for right, (_, answer) in zip(by_row, trimmed, strict=True)]


def _write(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TofuData,
    prompt: TofuPrompt,
    max_new_tokens: int,
    batch_rows: int,
    reporter: Reporter,
) -> dict[SetName, list[str]]:
    """The model's greedy answer to each question of each set."""
    questions = [(name, question.question) for name in SET_NAMES for question in data.sets[name]]
    with reporter.task("TOFU: writing answers") as progress:
        texts: Any = complete(
            model,
            tokenizer,
            [prompt_text(tokenizer, prompt, question) for _, question in questions],
            max_new_tokens=max_new_tokens,
            batch_rows=batch_rows,
            progress=progress,
        )
    written: dict[SetName, list[str]] = {name: [] for name in SET_NAMES}
    for (name, _), text in zip(questions, texts, strict=True):
        written[name].append(text)
    return written
