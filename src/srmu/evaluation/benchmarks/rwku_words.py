"""Words of English texts as NLTK's `word_tokenize` has them, which RWKU's fluency counts."""

from collections.abc import Sequence
from typing import Any

MISSING_WORDS = (
    "fluency needs NLTK's English sentence model, which is not installed: python -m nltk.downloader punkt_tab"
)


def words_are_known() -> bool:
    """Whether NLTK and its model of English sentences are installed; nothing is downloaded."""
    try:
        _tokenize()("One. Two.")
    except (ImportError, LookupError):
        return False
    return True


def split_words(texts: Sequence[str]) -> list[list[str]]:
    """The words of each text."""
    tokenize = _tokenize()
    return [list(tokenize(text)) for text in texts]


def _tokenize() -> Any:
    from nltk import word_tokenize

    return word_tokenize
