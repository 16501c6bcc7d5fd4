"""Which of the texts that a base wrote are worth using: no repetition, no duplicates, and none that it finds unlikely.

A small model that samples writes much nonsense, and nonsense as a retain text does harm. The model itself tells it: of
sentences that SmolLM2-135M began as forget texts on African capitals begin, the likelier half by nats per token named a
real place twice as often as the other half (21 of 95 and 10 of 95; docs/log, 2026-11-26).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from srmu.inputs.overlap import word_list

LEAST_DISTINCT = 0.7
"""Share of an addition's pairs of neighbouring tokens that must occur in it once."""
FORGET_WORDS, EMPTY, REPEATED, DUPLICATE, UNLIKELY = (
    "words of the forget texts", "nothing said", "repeating itself", "said before", "unlikely to the model itself",
)  # fmt: skip


@dataclass(frozen=True)
class WrittenText:
    """What a model wrote.

    Attributes:
        beginning: What was given.
        added: What the model said after it.
        added_ids: The tokens of that.
        nats: The model's nats per token of them; 0 without any.
    """

    beginning: str
    added: str
    added_ids: tuple[int, ...]
    nats: float

    @property
    def text(self) -> str:
        """The whole."""
        return (self.beginning + self.added).strip()


@dataclass(frozen=True)
class Judgement:
    """How many texts were made, and what became of them.

    Attributes:
        made: Texts that were written.
        kept: Texts that are used.
        dropped: Reason -> texts.
    """

    made: int
    kept: int
    dropped: Mapping[str, int]

    def describe(self) -> str:
        """One sentence."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.dropped.items() if count)
        return f"The base model wrote {self.made} texts, {self.kept} are used" + (
            f"; dropped: {reasons}." if reasons else "."
        )


def distinct_share(token_ids: Sequence[int]) -> float:
    """Share of a text's pairs of neighbouring tokens that occur in it once; 1 where there are fewer than two."""
    pairs = list(pairwise(token_ids))
    return len(set(pairs)) / len(pairs) if pairs else 1.0


def keep_sensible(written: Sequence[WrittenText], dropped: Counter[str]) -> list[str]:
    """The texts that are worth using, in their order.

    Args:
        written: Of one sort, so that their nats can be compared: what is likelier than half of the others stays.
        dropped: Gets the others' reasons.
    """
    seen: set[tuple[str, ...]] = set()
    left = []
    for one in written:
        words = tuple(word_list(one.text))
        if not one.added.strip():
            dropped[EMPTY] += 1
        elif distinct_share(one.added_ids) < LEAST_DISTINCT:
            dropped[REPEATED] += 1
        elif words in seen:
            dropped[DUPLICATE] += 1
        else:
            left.append(one)
        seen.add(words)
    usual = median(one.nats for one in left) if left else 0.0
    kept = [one.text for one in left if one.nats <= usual]
    dropped[UNLIKELY] += len(left) - len(kept)
    return kept
