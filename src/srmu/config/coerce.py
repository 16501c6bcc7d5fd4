"""Values of a YAML file or a flag as the type that a field declares, without guessing."""

import dataclasses
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from srmu.errors import nearest_hint


def coerce(value: Any, hint: Any) -> Any:
    """Turn a YAML or flag value into the field's type, without guessing.

    Raises:
        ValueError: With what was expected.
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in arguments:
            hint_text = nearest_hint(reprlib.repr(value).strip("'"), list(arguments))
            raise ValueError(f"choose one of {', '.join(map(str, arguments))}.{hint_text}")
        return value
    if origin in (typing.Union, types.UnionType):
        return _coerce_union(value, arguments)
    if origin is tuple:
        items = value if isinstance(value, (list, tuple)) else [value]
        return tuple(coerce(item, arguments[0]) for item in items)
    if origin is dict:
        if not isinstance(value, Mapping):
            raise ValueError("expected NAME: PATH pairs")
        if bad := [name for name in value if not is_text(str(name))]:
            raise ValueError(f"{bad[0]!r} is no name: it holds half a surrogate pair")
        return {str(name): coerce(item, arguments[1]) for name, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return _coerce_dataclass(value, hint)
    return _coerce_scalar(value, hint)


def is_text(value: str) -> bool:
    """Whether a string can be written into a file: JSON and file names may hold halves of a character."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _coerce_union(value: Any, arguments: tuple[Any, ...]) -> Any:
    reasons = []
    for argument in arguments:
        if argument is type(None):
            if value is None:
                return None
            continue
        try:
            return coerce(value, argument)
        except ValueError as error:
            reasons.append(str(error))
    raise ValueError(" or ".join(dict.fromkeys(reasons)))


def _coerce_dataclass(value: Any, hint: Any) -> Any:
    if isinstance(value, hint):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"expected keys {', '.join(f.name for f in fields(hint))}")
    hints = typing.get_type_hints(hint)
    unknown = [str(key) for key in value if key not in hints]
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}.{nearest_hint(unknown[0], list(hints))}")
    missing = [f.name for f in fields(hint) if f.default is dataclasses.MISSING and f.name not in value]
    if missing:
        raise ValueError(f"key {missing[0]!r} is missing")
    return hint(**{key: coerce(item, hints[key]) for key, item in value.items()})


def _coerce_scalar(value: Any, hint: Any) -> Any:
    if hint is bool:
        if not isinstance(value, bool):
            raise ValueError("expected true or false")
        return value
    if hint is float:
        # YAML 1.1 reads 5e-5 (no dot) as a string.
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError("expected a number")
        try:
            number = float(value)
        except (OverflowError, ValueError):
            raise ValueError("expected a number") from None
        if not math.isfinite(number):
            raise ValueError("expected a finite number")
        return number
    if hint is int:
        try:
            if isinstance(value, bool) or int(value) != float(value):
                raise ValueError
            return int(value)
        except (OverflowError, TypeError, ValueError):
            raise ValueError("expected a whole number") from None
    if not isinstance(value, (str, Path)):
        raise ValueError("expected text")
    return str(value)
