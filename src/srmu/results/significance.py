"""What counts as significant, for every table, page and sentence."""

import math

from srmu.results.groups import Change

STANDARD_ERRORS = 1.96
MARK = "*"
MARK_MEANING = (
    f"{MARK} differs from the base by more than about two standard errors of the difference, taken question by "
    "question (for texts, document by document): by chance alone such a mark appears about once in twenty. "
    "No mark also where the standard error is not known (a single question or document)."
)


def is_significant(change: Change) -> bool:
    """Whether a difference is beyond 1.96 of its own standard errors, which are paired; unknown ones never are."""
    if change.difference is None or change.stderr is None:
        return False
    return abs(change.difference) > STANDARD_ERRORS * change.stderr


def binomial_tail(successes: int, trials: int, chance: float) -> float:
    """Probability of so many successes or more by chance alone (upper tail of the binomial distribution)."""
    return math.fsum(
        math.comb(trials, count) * chance**count * (1 - chance) ** (trials - count)
        for count in range(successes, trials + 1)
    )
