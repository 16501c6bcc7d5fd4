"""JSON from files, with its place in every error."""

import json
from typing import Any

from srmu.errors import InputError


def parse_line(line: str, place: str) -> Any:
    """The value of a line of JSON.

    Args:
        line: The line.
        place: File and line, which begin the error.

    Raises:
        InputError: It is not JSON.
    """
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place}: not JSON ({json_reason(error)}). Correct that line.") from None


def json_reason(error: Exception) -> str:
    """Why a text is not JSON, in a few words."""
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg}, column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else "a number has too many digits"


def parse_object(line: str, place: str) -> dict[str, Any]:
    """The object in a line.

    Raises:
        InputError: If it is no JSON, or something other than an object.
    """
    record = parse_line(line, place)
    if not isinstance(record, dict):
        raise InputError(f"{place}: expected a JSON object, found {type(record).__name__}. Correct that line.")
    return record
