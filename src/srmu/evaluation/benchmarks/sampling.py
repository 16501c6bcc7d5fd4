"""Which questions a limit leaves."""

from collections import Counter
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def first_of_each(items: Sequence[T], groups: Sequence[str], limit: int | None) -> tuple[T, ...]:
    """At most `limit` items, in their order: the first of every group, then the second of every group, and so on.

    The first items of a file alone would all be of its first group, as of MMLU's first subject.

    Args:
        items: In the order of the data.
        groups: Of each item.
        limit: None = all.
    """
    seen: Counter[str] = Counter()
    ranks = []
    for group in groups:
        ranks.append(seen[group])
        seen[group] += 1
    taken = sorted(range(len(items)), key=ranks.__getitem__)[:limit]
    return tuple(items[place] for place in sorted(taken))
