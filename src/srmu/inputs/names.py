"""Names in texts: words that say what a text is about, found without a word list and in any language."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from transformers import PreTrainedTokenizerBase

# A word is a run of letters, or of five and more digits: shorter numbers occur in any text.
WORD = re.compile(r"[^\W\d_]{2,}|\d{5,}")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;]\W*|\n\W*|[\"“(]\s*)$")
# A word in at least this share of the first texts is ordinary, whatever it looks like.
_ORDINARY_SHARE = 0.01
SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
"""Between two sentences."""
_JOINT = re.compile(r"[ '\-]+(?:of |the |and |de |es )?")
FREQUENT = 3
"""As often as that in the forget texts, a name or what comes before it matters."""


def find_rare_words(
    forget_texts: Iterable[str], ordinary_texts: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> frozenset[str]:
    """Words of the forget texts, lower-cased, that name what is to be forgotten.

    A word is rare if it is specific and not ordinary. Specific: mostly written with a capital inside a sentence (a
    name or a symbol), or too long-tailed to be a single token of the tokenizer. Ordinary: it occurs in at least one of
    a hundred `ordinary_texts`. So names and technical terms are kept out, and the plain words that forget texts are
    made of, which the retain texts must protect, are not. This needs no word list and no particular language.
    """
    seen, capitals = Counter[str](), Counter[str]()
    for text in forget_texts:
        for match in WORD.finditer(text):
            word = match.group()
            seen[word.lower()] += 1
            if word != word.lower() and not _SENTENCE_START.search(text[max(0, match.start() - 4) : match.start()]):
                capitals[word.lower()] += 1
    common = Counter(word for text in ordinary_texts for word in words_of(text))
    enough = max(2.0, _ORDINARY_SHARE * len(ordinary_texts))
    return frozenset(
        word
        for word, count in seen.items()
        if common[word] < enough and (2 * capitals[word] >= count or _is_long_tailed(tokenizer, word))
    )


def find_names(texts: Sequence[str], rare: frozenset[str], at_least: int = 1) -> list[str]:
    """Runs of rare words that occur in texts at least so often, the most frequent first."""
    counted: Counter[str] = Counter()
    for sentence in texts:
        start = 0
        while match := first_rare(sentence, rare, start):
            start = end_of_name(sentence, rare, match.end())
            counted[sentence[match.start() : start]] += 1
    return [name for name, count in counted.most_common() if count >= at_least]


def first_rare(sentence: str, rare: frozenset[str], start: int = 0) -> re.Match[str] | None:
    """The first rare word from a place on."""
    return next((match for match in WORD.finditer(sentence, start) if match.group().lower() in rare), None)


def end_of_name(sentence: str, rare: frozenset[str], end: int) -> int:
    """Where the run of rare words that goes on at `end` is over."""
    while (following := first_rare(sentence, rare, end)) and _JOINT.fullmatch(sentence[end : following.start()] or " "):
        end = following.end()
    return end


def _is_long_tailed(tokenizer: PreTrainedTokenizerBase, word: str) -> bool:
    """Whether the word needs several tokens, however it is written."""
    spellings = (word, word.capitalize(), f" {word}", f" {word.capitalize()}")
    return all(len(tokenizer.encode(spelling, add_special_tokens=False)) > 1 for spelling in spellings)


def words_of(text: str) -> frozenset[str]:
    """Every word of a text, lower-cased."""
    return frozenset(word.lower() for word in WORD.findall(text))
