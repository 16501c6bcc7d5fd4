"""Whether what a model answers is still language: repetition, script, and how likely the base finds it."""

import math
import unicodedata
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from srmu.evaluation.encoding import encode, encode_pairs
from srmu.evaluation.prefix_trees import continuation_log_likelihoods
from srmu.results.fluency_records import Fluency

BATCH_TOKENS = 4096


def distinct_share(token_ids: Sequence[int]) -> float:
    """Share of an answer's pairs of neighbouring tokens that occur in it once; 1 where there are fewer than two."""
    pairs = list(pairwise(token_ids))
    return len(set(pairs)) / len(pairs) if pairs else 1.0


def script_share(prompt: str, answer: str) -> float:
    """Share of an answer's letters that are of a script which the prompt has; 1 for an answer without letters."""
    known = {_script(letter) for letter in prompt if letter.isalpha()}
    letters = [_script(letter) for letter in answer if letter.isalpha()]
    return sum(script in known for script in letters) / len(letters) if letters and known else 1.0


def base_nll(base: Any, tokenizer: Any, prompts: Sequence[str], answers: Sequence[str]) -> list[float]:
    """Nats per token that the base gives each answer after its prompt; nan for an empty answer."""
    pairs, places = [], []
    for place, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
        if answer.strip():
            pairs += encode_pairs(tokenizer, prompt, [answer])
            places.append(place)
    found = [math.nan] * len(answers)
    if pairs:
        sums = continuation_log_likelihoods(base, pairs, batch_tokens=BATCH_TOKENS)
        for place, total, (_, continuation) in zip(places, sums, pairs, strict=True):
            found[place] = float(-total / len(continuation))
    return found


def fluency(
    tokenizer: Any, prompts: Sequence[str], answers: Sequence[str], nll: Sequence[float], reference: Sequence[float]
) -> Fluency:
    """How much of language is left in answers.

    The score of an answer is the product of `distinct_share`, `script_share`, and the exponential of minus the nats
    per token by which the base finds it less likely than its own answer (1 where it is no less likely). An empty answer
    scores 0, unless the base's was empty too.

    Args:
        tokenizer: Of the model.
        prompts: What was asked.
        answers: Greedy completions of a model.
        nll: Of these, from `base_nll`.
        reference: Of the base's own answers, from `base_nll`.
    """
    scores, distinct, script = [], [], []
    for prompt, answer, own, usual in zip(prompts, answers, nll, reference, strict=True):
        distinct.append(distinct_share(encode(tokenizer, answer)))
        script.append(script_share(prompt, answer))
        if math.isnan(own):
            scores.append(1.0 if math.isnan(usual) else 0.0)
            continue
        excess = 0.0 if math.isnan(usual) else max(0.0, own - usual)
        scores.append(distinct[-1] * script[-1] * math.exp(-excess))
    finite = [value for value in nll if not math.isnan(value)]
    return Fluency(
        n=len(prompts),
        score=float(np.mean(scores)),
        distinct=float(np.mean(distinct)),
        script=float(np.mean(script)),
        base_nll=float(np.mean(finite)) if finite else None,
    )


def _script(letter: str) -> str:
    """`LATIN`, `CYRILLIC`, `CJK`, ...: the first word of the letter's name."""
    return unicodedata.name(letter, "UNKNOWN").split()[0].split("-")[0]
