"""One line of a JSONL file, with its place in every refusal."""

import json
from typing import Any

from srmu.errors import InputError


def parse_line(line: str, place: str) -> Any:
    """The value that stands in a line.

    Raises:
        InputError: If it is no JSON; `place` names file and line.
    """
    try:
        return json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{place}: malformed JSON ({error.msg} at column {error.colno}). Correct that line.") from None
    except (ValueError, RecursionError):
        raise InputError(f"{place}: malformed JSON (too deep, or a number too long). Correct that line.") from None


def parse_object(line: str, place: str) -> dict[str, Any]:
    """The object that stands in a line.

    Raises:
        InputError: If it is no JSON, or something other than an object.
    """
    record = parse_line(line, place)
    if not isinstance(record, dict):
        raise InputError(f"{place}: expected a JSON object, found {type(record).__name__}. Correct that line.")
    return record
