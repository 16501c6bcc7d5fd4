"""MUSE's formulas in float64, written from the paper (arXiv 2407.06460, section 3)."""

import re
from collections.abc import Sequence

import torch

from evaluation.benchmarks.tofu_oracle import common_words


def f1(expected: str, given: str) -> float:
    """ROUGE-L F1 of two texts that share a word."""
    recall = common_words(expected, given)
    precision = recall * len(words(expected)) / len(words(given))
    return 2 * precision * recall / (precision + recall)


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def min_k(log_probabilities: Sequence[float], share: float) -> float:
    kept = sorted(log_probabilities)[: max(1, int(len(log_probabilities) * share))]
    return sum(kept) / len(kept)


def auc(unseen: Sequence[float], forgotten: Sequence[float]) -> float:
    """Share of pairs in which the unseen text is the more likely one; a tie is half a pair."""
    won = sum((one > two) + 0.5 * (one == two) for one in unseen for two in forgotten)
    return won / (len(unseen) * len(forgotten))


def leakage(unlearned: float, retrained: float) -> float:
    return (unlearned - retrained) / retrained * 100


def token_log_probabilities(model, ids: Sequence[int]) -> list[float]:
    """Of each token but the first, from one plain forward pass in float64."""
    with torch.no_grad():
        logits = model.double()(input_ids=torch.tensor([ids])).logits[0].double()
    rows = logits.log_softmax(-1)
    return [float(rows[place - 1, ids[place]]) for place in range(1, len(ids))]


def greedy(model, ids: Sequence[int], most: int, end: int) -> list[int]:
    """One token after another, without a cache."""
    written: list[int] = []
    while len(written) < most:
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([[*ids, *written]])).logits[0, -1].argmax())
        if token == end:
            break
        written.append(token)
    return written
