"""Which documents a model was trained on, as far as their log-probabilities tell."""

import numpy as np


def min_k_probability(log_probabilities: np.ndarray, share: float) -> float:
    """Mean log-probability of a document's least likely tokens (Min-K % Prob, arXiv 2310.16789, section 3).

    Args:
        log_probabilities: Of each predicted token of the document, natural logarithm, at least one.
        share: Of the tokens, 0 to 1; rounded down to whole tokens as in the authors' code, but one at least.

    Returns:
        Nats per token, 0 or below; near 0: even the least likely tokens were expected.
    """
    least = max(1, int(share * len(log_probabilities)))
    return float(np.sort(log_probabilities.astype(np.float64))[:least].mean())


def area_under_roc(members: np.ndarray, others: np.ndarray) -> float:
    """Probability that a member scores above another document; ties count half."""
    above = (members[:, None] > others[None]).mean() + 0.5 * (members[:, None] == others[None]).mean()
    return float(above)
