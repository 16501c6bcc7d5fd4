"""The scorer of the package rouge-score, which is optional."""

from typing import Any

from srmu.errors import InputError


def rouge_l_scorer(*, stemmer: bool = False, tokenizer: Any = None) -> Any:
    """A scorer whose `score(expected, given)["rougeL"]` has precision, recall and fmeasure, 0 to 1.

    Args:
        stemmer: Porter's, on words of more than three letters.
        tokenizer: Words; None = the package's own, ASCII letters and digits in lower case.

    Raises:
        InputError: rouge-score is not installed.
    """
    try:
        from rouge_score import rouge_scorer
    except ImportError:
        raise InputError(
            "ROUGE needs the package rouge-score, which is not installed. Install it: pip install 'srmu[eval]'."
        ) from None
    return rouge_scorer.RougeScorer(["rougeL"], use_stemmer=stemmer, tokenizer=tokenizer)
