"""Which rows go through a model together: padding costs, and so does every batch."""

import math
from collections import Counter
from collections.abc import Iterable


def batch_lengths(lengths: Iterable[int], *, batch_tokens: int, batch_cost: int) -> list[int]:
    """The lengths that rows are padded to, chosen so that padding and batches together cost least.

    Args:
        lengths: Of the rows, in tokens.
        batch_tokens: Most tokens of a batch, padding included, where a row is not longer.
        batch_cost: What a batch costs besides its tokens, in tokens.

    Returns:
        In ascending order; each row belongs to the first that is long enough.
    """
    counted = sorted(Counter(lengths).items())
    # Least cost of all rows up to a length, and the lengths chosen for it.
    best: list[tuple[int, list[int]]] = [(0, [])]
    for end, (length, _) in enumerate(counted, 1):
        options, rows = [], 0
        for start in reversed(range(end)):
            rows += counted[start][1]
            batches = math.ceil(rows / max(1, batch_tokens // length))
            cost, chosen = best[start]
            options.append((cost + rows * length + batches * batch_cost, [*chosen, length]))
        best.append(min(options))
    return best[-1][1]
