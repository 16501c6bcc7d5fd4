"""Limits of a text: valid Unicode, and short enough for the memory; and how errors show long values."""

from typing import Any

from srmu.errors import InputError

MOST_CHARACTERS = 4_000_000
"""Of one text: tokenizers take about 220 bytes of memory per character."""
_SHOWN = 80
_SHOWN_SOURCE = 300


def checked_text(text: str, place: str) -> str:
    """The text itself.

    Raises:
        InputError: It holds half a surrogate pair (legal in JSON, but no tokenizer takes it), or is too long.
    """
    if len(text) > MOST_CHARACTERS:
        raise InputError(
            f"{place}: a text has {len(text):,} characters, more than the {MOST_CHARACTERS:,} that one may have. "
            "Divide it into several texts."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{place}: character {error.start} is half a surrogate pair, not text. Correct that record."
        ) from None
    return text


def shown(value: Any) -> str:
    """A value as an error shows it: its `repr`, cut where it is long."""
    text = repr(value[: 2 * _SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def shown_source(source: str) -> str:
    """A path or the name of a data set as an error shows it: whole, unless it is longer than paths are."""
    half = _SHOWN_SOURCE // 2
    return repr(source if len(source) <= _SHOWN_SOURCE else f"{source[:half]}…{source[-half:]}")
