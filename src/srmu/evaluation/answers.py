"""Free answers against expected ones: exact match and ROUGE-L."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srmu.evaluation.rouge import rouge_l_scorer


@dataclass(frozen=True, kw_only=True)
class AnswerScores:
    """One entry per answer; float64, 0 to 1."""

    exact_match: np.ndarray
    """1 where the answer, as many lines of it as were expected, is the expected one apart from case and punctuation."""
    rouge_l_recall: np.ndarray
    """Longest common subsequence over the expected words; what TOFU (arXiv 2401.06121) reports."""
    rouge_l_f1: np.ndarray
    """Its harmonic mean with the precision; what MUSE (arXiv 2407.06460) reports."""


class _Words:
    """Tokens for rouge-score: equal to its own on ASCII, while its own drops every other letter."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text).lower())


def check_rouge() -> Any:
    """The ROUGE-L scorer of the package rouge-score, without stemming.

    Raises:
        InputError: It is not installed.
    """
    return rouge_l_scorer(tokenizer=_Words())


def score_answers(expected: Sequence[str], given: Sequence[str]) -> AnswerScores:
    """Compare each given answer with the expected one.

    Raises:
        InputError: rouge-score is not installed.
    """
    scorer = check_rouge()
    rouge = [scorer.score(target, answer)["rougeL"] for target, answer in zip(expected, given, strict=True)]
    return AnswerScores(
        exact_match=np.array([float(_matches(target, answer)) for target, answer in zip(expected, given, strict=True)]),
        rouge_l_recall=np.array([score.recall for score in rouge]),
        rouge_l_f1=np.array([score.fmeasure for score in rouge]),
    )


def _matches(expected: str, given: str) -> bool:
    words = _Words()
    # Base models go on after the answer; a line break ends it.
    lines = given.strip().split("\n")[: expected.strip().count("\n") + 1]
    return words.tokenize("\n".join(lines)) == words.tokenize(expected)
