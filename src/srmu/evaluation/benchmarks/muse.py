"""MUSE on one model (arXiv 2407.06460): what it writes, how likely texts are to it, and the numbers made of both."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srmu.errors import InputError
from srmu.evaluation.benchmarks import muse_metrics as metrics
from srmu.evaluation.benchmarks.muse_data import MuseData, Pairs
from srmu.evaluation.completions import complete
from srmu.evaluation.encoding import encode
from srmu.evaluation.texts import text_scores
from srmu.inputs.generation import max_positions
from srmu.runtime.progress import Reporter

VERBATIM_TOKENS = 128
"""Tokens that a beginning is continued by; the authors' default."""
ANSWER_TOKENS = 32
"""Most tokens of a written answer; the authors' default."""
_SAMPLE_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class MuseScores:
    """All that MUSE measures on one model without a second one."""

    verbatim_memorization: float
    """Per cent, 0 to 100."""
    knowledge_memorization: float
    """Of the forget texts, per cent."""
    utility: float
    """The same of the retain texts."""
    auc: float
    """Of Min-40 % Prob, 0 to 1; what privacy leakage is made of."""


def score_muse(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: MuseData,
    *,
    batch_rows: int = 32,
    reporter: Reporter,
) -> MuseScores:
    """Measure one model.

    Args:
        model: In eval mode.
        tokenizer: Its padding side and pad token play no part.
        data: One corpus.
        batch_rows: Texts that are continued together, those of like length.
        reporter: Hears of progress.

    Raises:
        InputError: The model's log-probabilities are not finite, or it has too few positions.
    """
    if (room := max_positions(model)) <= VERBATIM_TOKENS:
        raise InputError(
            f"MUSE continues texts by {VERBATIM_TOKENS} tokens, and the model has {room} positions in all. Use a "
            "longer model."
        )
    auc = score_membership(model, tokenizer, data, reporter=reporter)
    verbatim = _verbatim(model, tokenizer, data.verbatim, batch_rows, reporter)
    forget = score_knowledge(
        model, tokenizer, data.forget, data.forget_examples,
        title="MUSE: forget questions", batch_rows=batch_rows, reporter=reporter,
    )  # fmt: skip
    retain = score_knowledge(
        model, tokenizer, data.retain, data.retain_examples,
        title="MUSE: retain questions", batch_rows=batch_rows, reporter=reporter,
    )  # fmt: skip
    return MuseScores(verbatim_memorization=verbatim, knowledge_memorization=forget, utility=retain, auc=auc)


def score_membership(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: MuseData, *, reporter: Reporter
) -> float:
    """AUC of Min-40 % Prob, unseen texts against forget texts; all that is needed of the retrained model.

    A text longer than the model's positions is cut there.

    Raises:
        InputError: A text has one token only, or its log-probabilities are not finite.
    """
    window = max_positions(model)
    texts = (*data.members, *data.holdout)
    rows = [encode(tokenizer, text)[:window] for text in texts]
    if short := [text for text, row in zip(texts, rows, strict=True) if len(row) < 2]:
        raise InputError(
            f"The text {short[0][:60]!r} has a single token, so nothing predicts it. Restore MUSE's files."
        )
    with reporter.task("MUSE: likelihood of texts") as progress:
        scores = text_scores(model, tokenizer, rows, window=window, progress=progress)
    if not np.isfinite(scores.token_nll).all():
        raise InputError(
            "The model gives some tokens of MUSE's texts no finite probability, so privacy leakage is not defined. "
            "Check its weights, or compute with --dtype float32."
        )
    by_text = np.split(-scores.token_nll, np.cumsum(scores.document_tokens)[:-1])
    return metrics.membership_auc(by_text[: len(data.members)], by_text[len(data.members) :])


def score_knowledge(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    asked: Pairs,
    examples: Pairs,
    *,
    title: str,
    batch_rows: int = 32,
    reporter: Reporter,
) -> float:
    """Mean ROUGE-L F1 of answers after the examples, per cent: knowledge memorisation, or utility on retain texts."""
    with reporter.task(title) as progress:
        written = complete(
            model, tokenizer, question_prompts(asked, examples),
            max_new_tokens=ANSWER_TOKENS, batch_rows=batch_rows, progress=progress,
        )  # fmt: skip
    return metrics.rouge_l_f1(asked.expected, [metrics.answer_part(text) for text in written])


def question_prompts(asked: Pairs, examples: Pairs) -> list[str]:
    """Each question behind all examples; as in the authors' code it ends with the space before the answer."""
    pairs = zip(examples.asked, examples.expected, strict=True)
    before = "".join(f"Question: {question}\nAnswer: {answer}\n\n" for question, answer in pairs)
    return [f"{before}Question: {question}\nAnswer: " for question in asked.asked]


def first_tokens(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[str]:
    """As much of each text as a continuation has; a beginning token counts, as in the authors' code."""
    return [
        str(tokenizer.decode(encode(tokenizer, text)[:VERBATIM_TOKENS], skip_special_tokens=True)) for text in texts
    ]


def estimate_seconds(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: MuseData, *, batch_rows: int = 32
) -> tuple[float, float]:
    """Seconds that reading texts will take and that writing can take at most, from a small sample of each."""
    texts = (*data.members, *data.holdout)
    sample = max(texts[:16], key=len)
    started = time.perf_counter()
    text_scores(model, tokenizer, [encode(tokenizer, sample)[: max_positions(model)]], window=max_positions(model))
    reading = (time.perf_counter() - started) / len(sample) * sum(map(len, texts))
    writing = 0.0
    for prompts, new_tokens in (
        (list(data.verbatim.asked), VERBATIM_TOKENS),
        (question_prompts(data.forget, data.forget_examples), ANSWER_TOKENS),
        (question_prompts(data.retain, data.retain_examples), ANSWER_TOKENS),
    ):
        rows = prompts[:batch_rows]
        first = _seconds(model, tokenizer, rows, 1)
        step = max(0.0, _seconds(model, tokenizer, rows, 1 + _SAMPLE_STEPS) - first) / _SAMPLE_STEPS
        writing += (first + step * new_tokens) * len(prompts) / len(rows)
    return reading, writing


def _seconds(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: list[str], new_tokens: int) -> float:
    started = time.perf_counter()
    complete(model, tokenizer, prompts, max_new_tokens=new_tokens, batch_rows=len(prompts))
    return time.perf_counter() - started


def _verbatim(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, texts: Pairs, batch_rows: int, reporter: Reporter
) -> float:
    with reporter.task("MUSE: continuing texts") as progress:
        written = complete(
            model, tokenizer, texts.asked, max_new_tokens=VERBATIM_TOKENS, batch_rows=batch_rows, progress=progress
        )
    return metrics.rouge_l_f1(first_tokens(tokenizer, texts.expected), written)
