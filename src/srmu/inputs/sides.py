"""Checks that forget and retain texts are not the same texts."""

import warnings
from collections.abc import Sequence

from srmu.errors import InputError
from srmu.inputs.corpora import Corpus
from srmu.inputs.overlap import same_documents

MOST_SHARED = 0.5
"""Share of the forget documents that may be retain documents too."""
# Characters up to which texts are compared apart from case and spacing; beyond, that takes too long.
_MOST_NORMALISED = 20_000_000


def check_sides(forget: Corpus, retain: Sequence[Corpus]) -> None:
    """Refuse forget texts that mostly are retain texts too, and warn of single ones.

    Args:
        forget: Texts to forget.
        retain: One corpus a retain source.

    Raises:
        InputError: More than half of the forget documents are in the retain texts, apart from case and spacing.
    """
    texts = [document.as_text() for document in forget.documents]
    kept = [document.as_text() for corpus in retain for document in corpus.documents]
    if sum(map(len, (*texts, *kept))) > _MOST_NORMALISED:
        exact = {text.strip() for text in kept}
        shared = sum(text.strip() in exact for text in texts)
    else:
        shared = len(same_documents(texts, kept))
    if not shared:
        return
    total = len(forget.documents)
    sources = ", ".join(corpus.source for corpus in retain)
    found = f"{shared} of the {total} forget documents ({forget.source}) are also in the retain texts ({sources})"
    if shared > MOST_SHARED * total:
        raise InputError(
            f"{found}: the run is asked to forget and to keep the same. Give retain texts that leave out what is to "
            "be forgotten."
        )
    warnings.warn(f"{found}. Take each out of one of the two.", stacklevel=2)
