"""How much two sets of texts share, in words.

`overlap` in this project is the Jaccard index of the two sets of lower-cased word types. The SRMU paper
(arXiv 2512.16297) reports "unigram overlap" without saying how it is counted, so containment is reported
with it.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from srmu.errors import InputError
from srmu.results.overlap_records import Shared

# Letters, digits and combining marks, with apostrophes inside: "don't" is one word. The ranges hold the marks
# that `\w` leaves out (Latin, Hebrew, Arabic, South and South-East Asian scripts, without their full stops).
_LETTERS = r"[\w\u0300-\u036f\u0591-\u05bd\u064b-\u065f\u0670\u0900-\u0963\u0966-\u109f]+"
_WORD = re.compile(rf"{_LETTERS}(?:'{_LETTERS})*")
_STOP_WORDS = frozenset(
    """
    a about above after again against all also am an and any are as at be because been before being below
    between both but by can could did do does doing don't down during each either few for from further had
    has have having he her here hers herself him himself his how i if in into is isn't it it's its itself
    just me more most my myself no nor not now of off on once only or other our ours ourselves out over
    own same she should so some such than that that's the their theirs them themselves then there these
    they this those through to too under until up us very was wasn't we were what when where which while
    who whom whose why will with would you your yours yourself yourselves
    """.split()  # noqa: SIM905  (one word a line would be most of the file)
)


@dataclass(frozen=True)
class Overlap:
    """Overlap of forget and retain texts, by length of the word sequence.

    Attributes:
        words: Key n = 1, 2, 3: sequences of n words.
        content_words: The same without English stop words.
    """

    words: dict[int, Shared]
    content_words: dict[int, Shared]

    @property
    def jaccard(self) -> float:
        """Jaccard index of the word types: what this project calls overlap."""
        return self.words[1].jaccard

    @property
    def containment(self) -> float:
        """Share of the forget texts' word types that occur in the retain texts."""
        return self.words[1].containment

    @property
    def token_containment(self) -> float:
        """Share of the forget texts' running words that occur in the retain texts."""
        return self.words[1].token_containment

    @property
    def num_forget_types(self) -> int:
        """Word types in the forget texts."""
        return self.words[1].num_forget

    @property
    def num_retain_types(self) -> int:
        """Word types in the retain texts."""
        return self.words[1].num_retain


def overlap(forget_texts: Sequence[str], retain_texts: Sequence[str], *, max_words: int = 3) -> Overlap:
    """Count what the texts share, as words and as sequences of up to `max_words` words within a text.

    Raises:
        InputError: One side holds no word.
    """
    forget, retain = [word_list(text) for text in forget_texts], [word_list(text) for text in retain_texts]
    for role, lists in (("forget", forget), ("retain", retain)):
        if not any(lists):
            raise InputError(f"The overlap needs words, and the {len(lists)} {role} texts hold none. Add some.")
    lengths = range(1, max_words + 1)
    return Overlap(
        words={n: _shared(_ngrams(forget, n), _ngrams(retain, n)) for n in lengths},
        content_words={n: _shared(_ngrams(_content(forget), n), _ngrams(_content(retain), n)) for n in lengths},
    )


def word_list(text: str) -> list[str]:
    """The lower-cased words of a text, in order.

    Scripts without spaces give one word from one punctuation mark to the next.
    """
    return _WORD.findall(unicodedata.normalize("NFC", text).lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'"))


def same_documents(forget_texts: Sequence[str], retain_texts: Sequence[str]) -> tuple[int, ...]:
    """Positions of the forget texts that also are retain texts, apart from case, spacing and Unicode form."""
    retain = {_normalised(text) for text in retain_texts}
    return tuple(position for position, text in enumerate(forget_texts) if _normalised(text) in retain)


def _normalised(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _content(word_lists: list[list[str]]) -> list[list[str]]:
    return [[word for word in words if word not in _STOP_WORDS] for words in word_lists]


def _ngrams(word_lists: Iterable[list[str]], n: int) -> Counter[tuple[str, ...]]:
    counts: Counter[tuple[str, ...]] = Counter()
    for words in word_lists:
        counts.update(zip(*(words[start:] for start in range(n)), strict=False))
    return counts


def _shared(forget: Counter[tuple[str, ...]], retain: Counter[tuple[str, ...]]) -> Shared:
    common = forget.keys() & retain.keys()
    return Shared(
        num_forget=len(forget),
        num_retain=len(retain),
        jaccard=_ratio(len(common), len(forget) + len(retain) - len(common)),
        containment=_ratio(len(common), len(forget)),
        token_containment=_ratio(sum(forget[ngram] for ngram in common), forget.total()),
    )


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
