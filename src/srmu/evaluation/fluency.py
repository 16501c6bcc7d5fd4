"""Whether what a model answers is still language: repetition, script, and how likely the base finds it."""

import math
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srmu.evaluation.encoding import encode, wrap_in_chat
from srmu.evaluation.prefix_trees import continuation_log_likelihoods
from srmu.evaluation.results import compare_values
from srmu.inputs.judged_texts import distinct_share
from srmu.results.fluency_records import Fluency, FluencyGroup

BATCH_TOKENS = 4096
OTHERS = 3
"""Answers to so many other prompts show what language costs the base after a prompt that they do not answer."""


def script_share(prompt: str, answer: str) -> float:
    """Share of an answer's letters that are of a script which the prompt has; 1 for an answer without letters."""
    known = {_script(letter) for letter in prompt if letter.isalpha()}
    letters = [_script(letter) for letter in answer if letter.isalpha()]
    return sum(script in known for script in letters) / len(letters) if letters and known else 1.0


def base_nll(
    base: Any, tokenizer: Any, prompts: Sequence[str], answers: Sequence[str], *, chat: bool = False
) -> list[float]:
    """Nats per token that the base gives each answer after its prompt; nan for an empty answer.

    Args:
        base: In eval mode.
        tokenizer: Its tokenizer.
        prompts: What was asked.
        answers: Of any model.
        chat: Whether they were asked in the tokenizer's chat template.
    """
    pairs, places = [], []
    for place, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        # By itself, as it was written: the words of some prompts and answers would grow together.
        if answer.strip() and (token_ids := _tokens(tokenizer, answer)):
            pairs.append((encode(tokenizer, wrap_in_chat(tokenizer, prompt) if chat else prompt), token_ids))
            places.append(place)
    found = [math.nan] * len(answers)
    if pairs:
        sums = continuation_log_likelihoods(base, pairs, batch_tokens=BATCH_TOKENS)
        for place, total, (_, continuation) in zip(places, sums, pairs, strict=True):
            found[place] = float(-total / len(continuation))
    return found


def language_nll(
    base: Any,
    tokenizer: Any,
    prompts: Sequence[str],
    answers: Sequence[str],
    own: Sequence[float],
    *,
    chat: bool = False,
) -> list[float]:
    """Nats per token up to which an answer to each prompt is language, whether or not it is right; nan as in `own`.

    A model that forgot says something else, and what is not the answer the base finds less likely however well it is
    put. So the bound is not what the base's own answer costs it, but what its answers to other prompts cost it after
    this one: the same language, about something else. Noise costs it several times that.

    Args:
        base: In eval mode.
        tokenizer: Its tokenizer.
        prompts: What was asked.
        answers: The base's.
        own: Of these, from `base_nll`.
        chat: As for `base_nll`.
    """
    turned = [[*answers[by:], *answers[:by]] for by in range(1, min(OTHERS, len(answers) - 1) + 1)]
    others = [base_nll(base, tokenizer, prompts, texts, chat=chat) for texts in turned]
    found = []
    for place, usual in enumerate(own):
        finite = [nll[place] for nll in others if not math.isnan(nll[place])]
        found.append(max(usual, float(np.mean(finite))) if finite and not math.isnan(usual) else usual)
    return found


@dataclass(frozen=True)
class Answers:
    """A model's greedy completions of some prompts.

    Attributes:
        prompts: What was asked.
        texts: What it answered.
        nll: Of each answer, from `base_nll`.
    """

    prompts: Sequence[str]
    texts: Sequence[str]
    nll: Sequence[float]


def fluency(
    tokenizer: Any, prompts: Sequence[str], answers: Sequence[str], nll: Sequence[float], reference: Sequence[float]
) -> Fluency:
    """How much of language is left in answers: means over prompts of what `fluency_scores` multiplies.

    Args:
        tokenizer: Of the model.
        prompts: What was asked.
        answers: Greedy completions of a model.
        nll: Of these, from `base_nll`.
        reference: Nats per token that cost an answer nothing, from `language_nll`.
    """
    finite = [value for value in nll if not math.isnan(value)]
    return Fluency(
        n=len(prompts),
        score=float(fluency_scores(tokenizer, prompts, answers, nll, reference).mean()),
        distinct=float(np.mean([distinct_share(_tokens(tokenizer, answer)) for answer in answers])),
        script=float(np.mean(list(map(script_share, prompts, answers)))),
        base_nll=float(np.mean(finite)) if finite else None,
    )


def fluency_scores(
    tokenizer: Any, prompts: Sequence[str], answers: Sequence[str], nll: Sequence[float], reference: Sequence[float]
) -> np.ndarray:
    """One score an answer, from 0 to 1; arguments as in `fluency`.

    It is the product of `distinct_share`, `script_share`, and the exponential of minus the nats per token by which the
    base finds the answer less likely than language is after this prompt (1 where it is no less likely). An empty answer
    scores 0, unless the base's was empty too.
    """
    scores = []
    for prompt, answer, own, usual in zip(prompts, answers, nll, reference, strict=True):
        if math.isnan(own):
            scores.append(1.0 if math.isnan(usual) else 0.0)
            continue
        excess = 0.0 if math.isnan(usual) else max(0.0, own - usual)
        language = distinct_share(_tokens(tokenizer, answer)) * script_share(prompt, answer)
        scores.append(language * math.exp(-excess))
    return np.array(scores)


def compare_fluency(tokenizer: Any, base: Answers, result: Answers, reference: Sequence[float]) -> FluencyGroup:
    """Base and result on the same prompts, at least one; `reference` as in `fluency`."""
    arguments = [(side.prompts, side.texts, side.nll, reference) for side in (base, result)]
    before, after = (fluency_scores(tokenizer, *given) for given in arguments)
    return FluencyGroup(
        base=fluency(tokenizer, *arguments[0]),
        result=fluency(tokenizer, *arguments[1]),
        change=compare_values(before, after, [""] * len(before)),
    )


def _tokens(tokenizer: Any, answer: str) -> list[int]:
    return list(tokenizer.encode(answer, add_special_tokens=False))


def _script(letter: str) -> str:
    """`LATIN`, `CYRILLIC`, `CJK`, ...: the first word of the letter's name."""
    return unicodedata.name(letter, "UNKNOWN").split()[0].split("-")[0]
