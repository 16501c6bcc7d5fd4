"""Names in the forget texts: those whose other facts a run may take along."""

import re
from collections import Counter
from collections.abc import Sequence

_WORD = re.compile("[^\\W\\d_][\\w'\u2019-]*")


def find_names(texts: Sequence[str], ordinary: frozenset[str], most: int) -> list[str]:
    """The most frequent names in texts.

    A name is a run of words that begin with a capital inside a sentence, none of them ordinary; at the beginning of a
    sentence a word counts where it is a name elsewhere, or is no ordinary word either.

    Args:
        texts: The forget texts.
        ordinary: Lower-cased words of ordinary texts.
        most: Number of names that are given, the most frequent first, equal ones in the order of the alphabet.
    """
    counted: Counter[str] = Counter()
    for text in texts:
        run: list[str] = []
        end = 0
        for match in _WORD.finditer(text):
            word = match.group()
            between = text[end : match.start()]
            if run and between != " ":
                counted[" ".join(run)] += 1
                run = []
            if _is_name(word, ordinary):
                run.append(word.removesuffix("'s").removesuffix("\u2019s"))
            elif run:
                counted[" ".join(run)] += 1
                run = []
            end = match.end()
        if run:
            counted[" ".join(run)] += 1
    return sorted(counted, key=lambda name: (-counted[name], name))[:most]


def words_of(texts: Sequence[str]) -> frozenset[str]:
    """Every word of the texts, lower-cased."""
    return frozenset(word.lower() for text in texts for word in _WORD.findall(text))


def _is_name(word: str, ordinary: frozenset[str]) -> bool:
    has_case = word.lower() != word.upper()
    return word.lower() not in ordinary and (word[0].isupper() if has_case else len(word) > 1)
