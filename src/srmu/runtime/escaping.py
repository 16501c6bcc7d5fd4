"""Names and texts of others put into terminals, Markdown, CSV and XML, where some characters are orders."""

import re
from typing import Any

# Control characters but for tab and line break, what turns the direction of writing, and halves of a character.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_HTML = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def visible(text: str) -> str:
    r"""The text with characters that a terminal obeys, or that XML forbids, written as escapes such as `\x1b`."""
    return _UNSEEN.sub(lambda match: match.group().encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """The visible text with every run of blanks as one."""
    return visible(" ".join(text.split()))


def markdown(value: Any) -> str:
    """A value as a piece of a line of Markdown, such as a cell of a table: no HTML, no link, no end of the cell."""
    text = one_line(str(value)).replace("\\", "\\\\")
    text = re.sub(r"[&<>]", lambda match: _HTML[match.group()], text)
    return re.sub(r"[|`\[\]]", r"\\\g<0>", text)


def markdown_code(value: Any) -> str:
    """A value as code within a line of Markdown, fenced by more backticks than it holds in a row."""
    text = one_line(str(value))
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    padding = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{padding}{text}{padding}{fence}"


def csv_cell(value: Any) -> Any:
    """A cell of a CSV file; a text that a spreadsheet would compute gets an apostrophe before it."""
    if not isinstance(value, str):
        return value
    return "'" + visible(value) if value.startswith(_FORMULA) else visible(value)
