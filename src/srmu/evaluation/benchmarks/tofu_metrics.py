"""The metrics of TOFU (Maini et al., arXiv 2401.06121), each a function of losses or words alone.

A loss is an answer's mean negative log-probability in nats per token, given the question; the end token counts. A model
that is to be judged enters through its losses only, so that everything here can be checked by hand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from srmu.errors import InputError
from srmu.evaluation.rouge import rouge_l_scorer


@dataclass(frozen=True, kw_only=True)
class KolmogorovSmirnov:
    """A two-sample test of whether two models' truth ratios have one distribution."""

    p_value: float
    """0 to 1; what TOFU calls forget quality."""
    log10_p_value: float
    """Its decimal logarithm, 0 or below."""
    statistic: float
    """Largest distance of the two empirical distributions, 0 to 1."""


def probability(losses: np.ndarray) -> np.ndarray:
    """Length-normalised probability of each answer, `P(a|q)^(1/|a|)` (arXiv 2401.06121, section 2.2).

    Args:
        losses: Nats per token, `[questions]`.

    Returns:
        `[questions]`, 0 to 1.
    """
    return np.asarray(np.exp(-losses.astype(np.float64)))


def choice_probability(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """The right answer's share of the probability of all answers offered (arXiv 2401.06121, section 2.2).

    The probabilities are length-normalised, as in the authors' code; the paper writes them without.

    Args:
        right: Losses of the right answers, nats per token, `[questions]`.
        wrong: Losses of the wrong ones, `[questions, answers]`.

    Returns:
        `[questions]`, 0 to 1. Computed from differences of losses, so it is defined however improbable all of them are.
    """
    gaps = right.astype(np.float64)[:, None] - wrong.astype(np.float64)
    with np.errstate(over="ignore"):  # an infinite sum is a share of 0
        return np.asarray(1 / (1 + np.exp(gaps).sum(axis=1)))


def truth_ratio(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """How probable false answers are beside a true one: `R_truth` (arXiv 2401.06121, equation 1).

    The numerator is the geometric mean over the wrong answers, `exp` of minus their mean loss: so do the authors' code
    and OpenUnlearning, and so were all published numbers made. The paper's equation has the arithmetic mean.

    Args:
        right: Losses of the true answers (paraphrased, where the data have a paraphrase), nats per token,
            `[questions]`.
        wrong: Losses of the perturbed answers, `[questions, answers]`.

    Returns:
        `[questions]`, 0 or more: 1 where the model cannot distinguish truth from falsehood, near 0 where it knows.
    """
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(right.astype(np.float64) - wrong.astype(np.float64).mean(axis=1)))


def truth_ratio_of_known(ratios: np.ndarray) -> float:
    """Mean of `max(0, 1 - R_truth)`: the score of sets that are to be kept (arXiv 2401.06121, section 2.2).

    Args:
        ratios: `R_truth`, `[questions]`.

    Returns:
        0 to 1; 1: false answers have no probability beside the true ones.
    """
    return float(np.maximum(0, 1 - ratios).mean())


def truth_ratio_of_forgotten(ratios: np.ndarray) -> float:
    """Mean of `min(R_truth, 1 / R_truth)`: the score of the forget set, as the authors' code has it.

    Args:
        ratios: `R_truth`, `[questions]`.

    Returns:
        0 to 1; 1: true and false answers are equally probable throughout.
    """
    with np.errstate(divide="ignore"):
        return float(np.minimum(ratios, 1 / ratios).mean())


def model_utility(scores: Sequence[float]) -> float:
    """Harmonic mean of probability, ROUGE-L recall and truth ratio on three sets (arXiv 2401.06121, section 2.2).

    Args:
        scores: Nine numbers, 0 to 1: of retained authors, real authors and world facts.

    Returns:
        0 to 1; 0 as soon as one of the nine is 0.

    Raises:
        ValueError: If there are not nine.
    """
    if len(scores) != 9:
        raise ValueError(f"model utility is the mean of nine scores, and {len(scores)} were given")
    return 0.0 if min(scores) <= 0 else len(scores) / math.fsum(1 / score for score in scores)


def forget_quality(result: np.ndarray, gold: np.ndarray) -> KolmogorovSmirnov:
    """Whether a model's truth ratios could be a retrained one's (arXiv 2401.06121, section 2.2).

    Args:
        result: `R_truth` of each forgotten question, of the model that was made to forget, `[questions]`.
        gold: The same of the model that was retrained without them, `[questions]`.

    Returns:
        The two-sided two-sample test; SciPy's choice of exact or asymptotic p value, as all published numbers.

    Raises:
        InputError: SciPy is not installed.
    """
    try:
        from scipy.stats import ks_2samp
    except ImportError:
        raise InputError(
            "Forget quality needs the package scipy, which is not installed. Install it: pip install 'srmu[eval]'."
        ) from None
    found = ks_2samp(result, gold)
    p_value = float(found.pvalue)
    # The smallest p value of 400 questions is 1e-239; of more, it may not be representable.
    return KolmogorovSmirnov(
        p_value=p_value,
        log10_p_value=math.log10(max(p_value, 5e-324)),
        statistic=float(found.statistic),
    )


def rouge_l_recall(expected: Sequence[str], given: Sequence[str]) -> np.ndarray:
    """Longest common subsequence over the words of the expected answer (arXiv 2401.06121, section 2.2).

    Words are those of the package rouge-score with Porter's stemmer, as in the authors' code: ASCII letters and digits,
    lower case.

    Args:
        expected: The answers of the data.
        given: What the model wrote.

    Returns:
        One entry an answer, 0 to 1.

    Raises:
        InputError: rouge-score is not installed.
    """
    scorer = rouge_l_scorer(stemmer=True)
    pairs = zip(expected, given, strict=True)
    return np.array([scorer.score(target, answer.strip())["rougeL"].recall for target, answer in pairs])


def check_packages(*, gold: bool) -> None:
    """Say before anything is computed which package is missing.

    Args:
        gold: Whether forget quality will be asked for.

    Raises:
        InputError: rouge-score, or SciPy where it is needed, is not installed.
    """
    rouge_l_scorer(stemmer=True)
    if gold:
        forget_quality(np.zeros(1), np.zeros(1))
