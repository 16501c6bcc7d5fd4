"""RWKU's formulas in float64, written from the papers: 2406.10890, 2310.16789 (Min-K %), 2404.02936 (Min-K %++)."""

import math
import zlib
from collections.abc import Sequence

import torch


def distributions(model, token_ids: Sequence[int]) -> list[list[float]]:
    """The probability of every token of the vocabulary at each place after the first, from one plain pass."""
    with torch.no_grad():
        logits = model.double()(input_ids=torch.tensor([list(token_ids)])).logits[0].double()
    return logits.softmax(-1)[:-1].tolist()


def loss(probabilities: Sequence[float]) -> float:
    return -math.fsum(map(math.log, probabilities)) / len(probabilities)


def zlib_entropy(probabilities: Sequence[float], text: str) -> float:
    return loss(probabilities) / len(zlib.compress(text.encode("utf-8")))


def min_k(probabilities: Sequence[float], share: float) -> float:
    least = sorted(map(math.log, probabilities))[: max(1, math.floor(len(probabilities) * share))]
    return math.fsum(least) / len(least)


def min_k_plus(rows: Sequence[Sequence[float]], targets: Sequence[int], share: float) -> float:
    standardised = []
    for row, target in zip(rows, targets, strict=True):
        mean = math.fsum(p * math.log(p) for p in row)
        variance = math.fsum(p * math.log(p) ** 2 for p in row) - mean**2
        standardised.append((math.log(row[target]) - mean) / math.sqrt(variance))
    least = sorted(standardised)[: max(1, math.floor(len(standardised) * share))]
    return math.fsum(least) / len(least)


def rouge_recall(expected: str, given: str) -> float:
    """Of sentences that need no union: the longest common subsequence over the different words of the expected text."""
    one, two = expected.split(), given.split()

    def longest(first: int, second: int) -> int:
        if first == len(one) or second == len(two):
            return 0
        if one[first] == two[second]:
            return 1 + longest(first + 1, second + 1)
        return max(longest(first + 1, second), longest(first, second + 1))

    return longest(0, 0) / len(set(one))


def entropy(items: Sequence[object]) -> float:
    shares = [items.count(item) / len(items) for item in set(items)]
    return -math.fsum(share * math.log2(share) for share in shares)


def fluency(words: Sequence[str]) -> float:
    pairs = [tuple(words[place : place + 2]) for place in range(len(words) - 1)]
    triples = [tuple(words[place : place + 3]) for place in range(len(words) - 2)]
    return (2 / 3 * entropy(pairs) + 4 / 3 * entropy(triples)) / 2


def f1(expected: Sequence[str], given: Sequence[str]) -> float:
    common = sum(min(expected.count(word), given.count(word)) for word in set(expected))
    if not common:
        return 0.0
    precision, recall = common / len(given), common / len(expected)
    return 2 * precision * recall / (precision + recall)
