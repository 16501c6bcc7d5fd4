"""The sources of a side, as a config names them, read into corpora."""

import dataclasses
import re
from collections.abc import Sequence
from itertools import groupby

from srmu.config.sources import GENERAL, WRITTEN, inline_text
from srmu.errors import InputError
from srmu.inputs.corpora import Corpus, corpus_from_strings, make_corpus, read_corpus
from srmu.inputs.general import general_paragraphs

_HASH = re.compile("sha256:[0-9a-f]{64}")


def read_together(sources: Sequence[str], *, text_field: str, role: str) -> Corpus:
    """All sources as one corpus, in the order given.

    Raises:
        InputError: A source is missing, unreadable, malformed or without any text.
    """
    parts = []
    for inline, group in groupby(sources, key=lambda source: inline_text(source) is not None):
        found = list(group)
        if inline:
            parts.append(corpus_from_strings([_given_text(source) for source in found], role))
        else:
            parts.append(read_corpus(found, text_field=text_field, role=role))
    if len(parts) == 1:
        return parts[0]
    return make_corpus(
        [document for part in parts for document in part.documents],
        ", ".join(part.source for part in parts),
        sum(part.num_dropped for part in parts),
    )


def read_apart(sources: Sequence[str], *, text_field: str, role: str) -> tuple[Corpus, ...]:
    """Each source as a corpus of its own; texts within the config are one, the last.

    Sources that the base writes are left out.

    Raises:
        InputError: A source is missing, unreadable, malformed or without any text.
    """
    inline = [source for source in sources if inline_text(source) is not None]
    corpora = [
        general_corpus() if source == GENERAL else read_corpus([source], text_field=text_field, role=role)
        for source in sources
        if source not in inline and source not in WRITTEN
    ]
    return (*corpora, read_together(inline, text_field=text_field, role=role)) if inline else tuple(corpora)


def _given_text(source: str) -> str | None:
    text = inline_text(source)
    if text is not None and _HASH.fullmatch(text):
        raise InputError(
            f"{source!r} is the hash of a text that was given as a string, as manifests and best.yaml hold it. The "
            "text itself is stored nowhere: give it anew."
        )
    return text


def general_corpus() -> Corpus:
    """The paragraphs that come with the package."""
    return dataclasses.replace(corpus_from_strings(general_paragraphs(), "retain"), source=GENERAL)
