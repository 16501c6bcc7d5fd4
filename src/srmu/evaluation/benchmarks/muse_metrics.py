"""The metrics of MUSE (Shi et al., arXiv 2407.06460), each a function of words or log-probabilities alone.

In per cent, as the paper's tables have them. Where paper and code leave something open, it is as in the authors' code
(`swj0419/muse_bench` at `fcd6651`).
"""

from collections.abc import Sequence

import numpy as np

from srmu.evaluation.membership import area_under_roc, min_k_probability
from srmu.evaluation.rouge import rouge_l_scorer

LEAST_LIKELY = 0.4
"""Share of tokens in Min-K %: the `Min-40%` that the authors publish."""
_ENDS = ("\n\n", "\nQuestion", "Question:")


def rouge_l_f1(expected: Sequence[str], given: Sequence[str]) -> float:
    """Mean ROUGE-L F1, of verbatim and of knowledge memorisation (arXiv 2407.06460, section 3: VerbMem and KnowMem).

    Of each pair the harmonic mean of the longest common subsequence over the words of either text. Words are those of
    the package rouge-score without a stemmer, as in the authors' code: ASCII letters and digits, lower case.

    Args:
        expected: How the texts go on, or the answers.
        given: What the model wrote.

    Returns:
        Per cent, 0 to 100.

    Raises:
        InputError: rouge-score is not installed.
    """
    scorer = rouge_l_scorer()
    pairs = zip(expected, given, strict=True)
    return 100 * float(np.mean([scorer.score(target, answer)["rougeL"].fmeasure for target, answer in pairs]))


def membership_auc(forget: Sequence[np.ndarray], holdout: Sequence[np.ndarray]) -> float:
    """How well Min-40 % Prob tells unseen texts from forget texts: AUC in arXiv 2407.06460, section 3 (PrivLeak).

    Args:
        forget: Log-probabilities of the predicted tokens of each forget text, nats.
        holdout: The same of texts that no model has seen.

    Returns:
        0 to 1: the probability that an unseen text is more likely to the model than a forget text, the direction of the
        authors' code. 0: every forget text is better known than every unseen one; 0.5: nothing separates them.
    """
    scores = [np.array([min_k_probability(text, LEAST_LIKELY) for text in texts]) for texts in (holdout, forget)]
    return area_under_roc(*scores)


def privacy_leakage(auc: float, gold_auc: float) -> float | None:
    """PrivLeak: how far the AUC is from the retrained model's (arXiv 2407.06460, section 3).

    `(AUC(unlearned) - AUC(retrained)) / AUC(retrained)`, with AUC as `membership_auc` has it.

    Args:
        auc: Of the model that was made to forget.
        gold_auc: Of the model retrained without the forget texts.

    Returns:
        Per cent. 0: as the retrained model; below: forget texts are still better known (-100 is the worst); above: they
        are conspicuously unknown. None where the retrained model's AUC is 0, for it is then not defined.
    """
    return None if gold_auc == 0 else 100 * (auc - gold_auc) / gold_auc


def answer_part(written: str) -> str:
    """What counts as the answer of a text that may go on with questions of its own, as in the authors' code."""
    for end in _ENDS:
        written = written.split(end)[0]
    return written
