"""The metrics of RWKU (arXiv 2406.10890, section 3.3 and table 5), each a function of texts or of log-probabilities.

Where the paper gives no formula, that of the authors' evaluation code is named; it was read at `jinzhuoran/RWKU`,
commit b8a03b3.
"""

import re
import string
import zlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from srmu.errors import InputError
from srmu.evaluation.membership import min_k_probability

LEAST_LIKELY = 0.2
"""Share of tokens that the membership scores take."""
NO_ANSWER = "NOANSWER"
"""What the authors' code puts for an empty answer."""


def rouge_l_recall(expected: Sequence[str], given: Sequence[str]) -> np.ndarray:
    """ROUGE-L recall of the package `rouge`, as the authors' code has it (arXiv 2406.10890, section 3.3.1).

    The longest common subsequence of words over the number of different words of the expected answer. Words are what
    spaces separate, so case and punctuation count; full stops separate sentences, whose subsequences are united.

    Args:
        expected: The answers of the data.
        given: What the model wrote; an answer without a word counts as `NOANSWER`.

    Returns:
        One entry an answer, 0 to 1.

    Raises:
        InputError: The package is not installed.
    """
    scorer = check_rouge()
    found = []
    for target, answer in zip(expected, given, strict=True):
        written = answer.strip() if answer.strip(" .\n\t\r") else NO_ANSWER
        wanted = target.strip() if target.strip(" .\n\t\r") else NO_ANSWER
        found.append(scorer.get_scores(written, wanted)[0]["rouge-l"]["r"])
    return np.array(found, dtype=np.float64)


def check_rouge() -> Any:
    """The scorer of the package `rouge`.

    Raises:
        InputError: It is not installed.
    """
    try:
        from rouge import Rouge
    except ImportError:
        raise InputError(
            "RWKU's ROUGE needs the package rouge, which is not installed. Install it: pip install 'srmu[eval]'."
        ) from None
    return Rouge(metrics=["rouge-l"])


def loss(log_probabilities: np.ndarray) -> float:
    """LOSS of a text: mean negative log-probability of its tokens (arXiv 2406.10890, section 3.3.1).

    Args:
        log_probabilities: Of each token after the first, natural logarithm, `[tokens]`.

    Returns:
        Nats per token, 0 or more; higher: less likely a member. The paper's tables show it times 100.
    """
    return float(-log_probabilities.astype(np.float64).mean())


def zlib_entropy(log_probabilities: np.ndarray, text: str) -> float:
    """Zlib entropy: the loss over the bytes that the text takes compressed (arXiv 2012.07805, section 5.2).

    Args:
        log_probabilities: As for `loss`.
        text: The text itself.

    Returns:
        Nats per token and byte, 0 or more. The authors' code has it with the sign turned.
    """
    return loss(log_probabilities) / len(zlib.compress(text.encode()))


def min_k_plus(
    log_probabilities: np.ndarray, means: np.ndarray, deviations: np.ndarray, share: float = LEAST_LIKELY
) -> float:
    """Min-K %++: Min-K % of log-probabilities standardised over the vocabulary (arXiv 2404.02936, equation 3).

    Args:
        log_probabilities: As for `loss`, `[tokens]`.
        means: Mean of the log-probability at each position, under the model's own distribution, `[tokens]`.
        deviations: Standard deviation of it, `[tokens]`.
        share: Of the tokens.

    Returns:
        Standard deviations; higher: more likely a member. Where a distribution has no spread, the token counts 0.
    """
    gaps = log_probabilities.astype(np.float64) - means
    spread = deviations.astype(np.float64)
    return min_k_probability(np.divide(gaps, spread, out=np.zeros_like(gaps), where=spread > 0), share)


def exact_match(answers: Sequence[str], given: str) -> float:
    """1 where the answer has the words of one that counts as right, in order (the authors' code for BBH)."""
    words = normalised_words(given)
    return float(any(words == normalised_words(answer) for answer in answers))


def best_f1(answers: Sequence[str], given: str) -> float:
    """Harmonic mean of precision and recall of words, of the answer that fits best (table 5, TriviaQA).

    Args:
        answers: Those that count as right.
        given: What the model wrote.

    Returns:
        0 to 1; of two answers without a word, 1.
    """
    return max(_f1(normalised_words(answer), normalised_words(given)) for answer in answers)


def normalised_words(text: str) -> list[str]:
    """Lower case, without ASCII punctuation and English articles (the authors' code, after SQuAD's)."""
    bare = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", bare).split()


def reasoned_answer(text: str) -> str:
    """What stands between `the answer is` and the next full stop; all of the text where nothing does (BBH)."""
    # The character class is the authors': a bar before the words counts as well.
    found = re.search(r"[t|T]he answer is (.*?)\.", text)
    return (found.group(1) if found else text).strip() or NO_ANSWER


def n_gram_entropy(words: Sequence[str]) -> float:
    """Weighted mean of the entropies of word pairs and triples (arXiv 2406.10890, section 3.3.2; arXiv 2202.05262).

    `(2/3 H2 + 4/3 H3) / 2`, the weights and the mean of the authors' code.

    Args:
        words: Of one text, as NLTK's `word_tokenize` has them.

    Returns:
        Bits, 0 or more; a text that repeats itself has little. The paper's tables show it times 100.
    """
    return (2 / 3 * _entropy(words, 2) + 4 / 3 * _entropy(words, 3)) / 2


def _entropy(words: Sequence[str], length: int) -> float:
    counts = Counter(tuple(words[place : place + length]) for place in range(len(words) - length + 1))
    shares = np.array(list(counts.values()), dtype=np.float64) / max(1, sum(counts.values()))
    return float(-(shares * np.log2(shares)).sum()) if len(shares) else 0.0


def _f1(expected: Sequence[str], given: Sequence[str]) -> float:
    if not expected or not given:
        return float(expected == given)
    common = sum((Counter(expected) & Counter(given)).values())
    # The harmonic mean of common / given and common / expected.
    return 2 * common / (len(given) + len(expected))
