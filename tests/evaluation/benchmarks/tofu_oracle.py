"""TOFU's formulas in float64, one question at a time, written from the paper (arXiv 2401.06121, section 2.2)."""

import math
import re
from collections.abc import Sequence

import torch


def normalised_probability(token_probabilities: Sequence[float]) -> float:
    """`P(a|q)^(1/|a|)` from the probability of each of the answer's tokens."""
    return math.prod(token_probabilities) ** (1 / len(token_probabilities))


def truth_ratio(right: float, wrong: Sequence[float]) -> float:
    """Equation 1 with the geometric mean of the authors' code; arguments are normalised probabilities."""
    return math.prod(wrong) ** (1 / len(wrong)) / right


def choice(right: float, wrong: Sequence[float]) -> float:
    return right / (right + sum(wrong))


def harmonic_mean(scores: Sequence[float]) -> float:
    return 1 / (sum(1 / score for score in scores) / len(scores))


def common_words(expected: str, given: str) -> float:
    """ROUGE-L recall by trying every subsequence's length: for words that Porter's stemmer leaves alone."""
    one, two = (re.findall(r"[a-z0-9]+", text.lower()) for text in (expected, given))

    def longest(first: int, second: int) -> int:
        if first == len(one) or second == len(two):
            return 0
        if one[first] == two[second]:
            return 1 + longest(first + 1, second + 1)
        return max(longest(first + 1, second), longest(first, second + 1))

    return longest(0, 0) / len(one)


def largest_gap(first: Sequence[float], second: Sequence[float]) -> float:
    """The Kolmogorov-Smirnov statistic: the largest distance of two empirical distributions."""

    def share(values: Sequence[float], limit: float) -> float:
        return sum(value <= limit for value in values) / len(values)

    return max(abs(share(first, limit) - share(second, limit)) for limit in (*first, *second))


def answer_probabilities(model, prompt_ids: Sequence[int], answer_ids: Sequence[int]) -> list[float]:
    """Of each token of the answer, from one plain forward pass in float64."""
    ids = [*prompt_ids, *answer_ids]
    with torch.no_grad():
        logits = model.double()(input_ids=torch.tensor([ids])).logits[0].double()
    probabilities = logits.softmax(-1)
    return [float(probabilities[place - 1, ids[place]]) for place in range(len(prompt_ids), len(ids))]
