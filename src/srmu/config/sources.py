"""What names texts in a config: the one rule that distinguishes a text from a path.

A config holds sources: a path, `hub:NAME[:CONFIG[:SPLIT]]`, `self`, `near`, `general`, or `text:` and
then the text itself.
Flags and run files are read as they are written, so a mistyped path there is a missing file and never a text.
"""

from pathlib import Path

SELF, GENERAL, NEAR = "self", "general", "near"
WRITTEN = (SELF, NEAR)
"""Sources that the base model writes itself."""
HUB, TEXT = "hub:", "text:"


def as_source(value: str | Path) -> str:
    """How a config writes down what a caller in Python gave.

    A `pathlib.Path` is always a path. A string is a text, unless it is written as a source (`hub:`, `text:`, `self`,
    `near`, `general`) or names a file or folder that exists.
    """
    if isinstance(value, Path):
        return f"./{value}" if _is_written(str(value)) else str(value)
    return value if _is_written(value) or _exists(value) else TEXT + value


def inline_text(source: str) -> str | None:
    """The text itself, where a source is one; none where it names texts that are elsewhere."""
    return source.removeprefix(TEXT) if source.startswith(TEXT) else None


def _is_written(value: str) -> bool:
    return value.startswith((HUB, TEXT)) or value in (SELF, GENERAL, NEAR)


def _exists(value: str) -> bool:
    try:
        return bool(value) and Path(value).expanduser().exists()
    except (OSError, ValueError, RuntimeError):
        # Longer than a path can be, with a zero byte, or of a user who is not there.
        return False
