"""Documents that are nearly the same on both sides, found by MinHash (Broder 1997) through the library datasketch."""

from collections.abc import Sequence

from srmu.errors import InputError
from srmu.inputs.overlap import word_list
from srmu.results.overlap_records import NearDuplicate

SHINGLE_WORDS = 3
_PERMUTATIONS = 128
# Candidates are checked exactly, so a missed pair costs more than a wrong candidate.
_MISSED_TO_FALSE = (0.1, 0.9)


def near_duplicates(
    forget_texts: Sequence[str], retain_texts: Sequence[str], *, threshold: float = 0.7
) -> tuple[NearDuplicate, ...]:
    """Find each forget document's nearest retain document, where their similarity reaches the threshold.

    MinHash signatures and banding propose pairs, the exact Jaccard index of the shingles decides. A pair just above the
    threshold is missed with a probability of a few percent, a pair of equal documents never.

    Args:
        forget_texts: One string per document.
        retain_texts: One string per document.
        threshold: Least similarity, above 0, at most 1.

    Raises:
        InputError: datasketch is not installed.
    """
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError:
        raise InputError(
            "Near-duplicates need the package datasketch, which is not installed. Install it: pip install 'srmu[eval]'."
        ) from None

    def signature(shingles: frozenset[str]) -> MinHash:
        result = MinHash(num_perm=_PERMUTATIONS, seed=1)
        result.update_batch([shingle.encode("utf-8", "surrogatepass") for shingle in sorted(shingles)])
        return result

    retain = [_shingles(text) for text in retain_texts]
    index = MinHashLSH(threshold=threshold, num_perm=_PERMUTATIONS, weights=_MISSED_TO_FALSE)
    for position, shingles in enumerate(retain):
        if shingles:
            index.insert(position, signature(shingles))
    found = []
    for position, shingles in enumerate(map(_shingles, forget_texts)):
        candidates = sorted(index.query(signature(shingles))) if shingles else []
        scored = [(_jaccard(shingles, retain[candidate]), -candidate) for candidate in candidates]
        if scored and max(scored)[0] >= threshold:
            similarity, negative = max(scored)
            found.append(NearDuplicate(position, -negative, similarity))
    return tuple(found)


def most_alike(texts: Sequence[str]) -> list[float]:
    """Of each text the similarity to the one of the others that is most like it, 0 to 1; in quadratic time."""
    sets = [_shingles(text) for text in texts]
    best = [0.0] * len(sets)
    for one in range(len(sets)):
        for other in range(one):
            if sets[one] and sets[other]:
                similarity = _jaccard(sets[one], sets[other])
                best[one], best[other] = max(best[one], similarity), max(best[other], similarity)
    return best


def _shingles(text: str) -> frozenset[str]:
    """Every three successive words; all words of a shorter text as one."""
    words = word_list(text)
    if not words:
        return frozenset()
    starts = range(max(1, len(words) - SHINGLE_WORDS + 1))
    return frozenset(" ".join(words[start : start + SHINGLE_WORDS]) for start in starts)


def _jaccard(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / len(one | other)
