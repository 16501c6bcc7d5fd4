"""Frozen dataclasses as JSON and back, and the JSON Schema of them: every record of a run directory goes through here.

A record is a frozen dataclass whose fields are numbers, texts, booleans, literals, other records, and tuples, mappings
by name and optional values of these; `object` stands for JSON values of any kind. JSON has no nan: a float that is not
finite is written as null, and a field that may be so is annotated `float | None`. A field that is none by default is
left out as long as it is none.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

from srmu.errors import InputError

T = TypeVar("T")
_DEEPEST = 20
"""Levels of lists and objects in a value of any kind."""
_LARGEST = 1 << 64
"""Of whole numbers: seeds have 63 bits."""


class Mismatch(ValueError):
    """A value is not of the form that its place asks for; the message names the place."""


def to_json(record: Any) -> Any:
    """A record as JSON values; keys are the fields, in their order."""
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        values = {field: getattr(record, field.name) for field in dataclasses.fields(record)}
        return {
            field.name: to_json(value)
            for field, value in values.items()
            if value is not None or field.default is not None
        }
    if isinstance(record, Mapping):
        return {str(key): to_json(value) for key, value in record.items()}
    if isinstance(record, (list, tuple)):
        return [to_json(value) for value in record]
    if isinstance(record, float) and not math.isfinite(record):
        return None
    return record


def from_json(hint: Any, value: Any, place: str = "") -> Any:
    """JSON values as what an annotation asks for.

    Args:
        hint: A record, or another type that may be a field of one.
        value: As `json.loads` gives it.
        place: Where it is, such as `questions.forget`, for the message.

    Raises:
        Mismatch: A key is missing or unknown, or a value has another type; the first such place is named.
    """
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return _record(hint, value, place)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return _expect(value in arguments and isinstance(value, type(arguments[0])), value, place, _choices(arguments))
    if origin in (typing.Union, types.UnionType):
        return _union(arguments, value, place)
    if origin is tuple:
        _expect(isinstance(value, list), value, place, "a list")
        if arguments[-1] is Ellipsis:
            return tuple(from_json(arguments[0], item, f"{place}[{index}]") for index, item in enumerate(value))
        _expect(len(value) == len(arguments), value, place, f"{len(arguments)} values")
        pairs = enumerate(zip(arguments, value, strict=True))
        return tuple(from_json(argument, item, f"{place}[{index}]") for index, (argument, item) in pairs)
    if origin in (dict, Mapping) or hint is dict:
        _expect(isinstance(value, dict), value, place, "an object")
        return {key: from_json(arguments[1], item, _join(place, key)) for key, item in value.items()}
    if hint is float:
        return float(_expect(_is_number(value), value, place, "a finite number"))
    if hint is int:
        return _expect(isinstance(value, int) and _is_number(value), value, place, "a whole number")
    if hint is object:
        return _expect(_is_flat(value), value, place, f"less than {_DEEPEST} levels")
    if hint is type(None):
        return _expect(value is None, value, place, "null")
    return _expect(isinstance(value, hint), value, place, {str: "text", bool: "true or false"}[hint])


def load(record: type[T], path: Path, *, version: int | None = None) -> T:
    """Read a record that has a file of its own; arguments and errors as in `parse`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({str(error)[:100]}). Restore it from a copy.") from None
    return parse(record, content, path, version=version)


def parse(record: type[T], content: bytes, path: Path, *, version: int | None = None) -> T:
    """A record from what its file holds.

    Args:
        record: Its class.
        content: Of the file.
        path: The file, for errors.
        version: The format that this srmu reads, which the file names as `format`; none = the file names none.

    Raises:
        InputError: The file cannot be read, has another format, or is damaged; the first wrong place is named.
    """
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{str(path)!r} cannot be read ({str(error)[:100]}). Restore it from a copy.") from None
    found = value.get("format") if isinstance(value, dict) else type(value).__name__
    if version is not None and (not isinstance(found, int) or found is True or found != version):
        shown = found if found is None or isinstance(found, int) else str(found)[:40]
        raise InputError(
            f"{str(path)!r} has format {shown!r}, and this srmu reads {version}. Use the srmu that wrote it."
        )
    try:
        return typing.cast(T, from_json(record, value))
    except (Mismatch, RecursionError) as error:
        raise InputError(f"{str(path)!r} is damaged: {str(error)[:200]}. Restore it from a copy.") from None


def json_schema(record: type) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a record; descriptions are the first lines of docstrings."""
    definitions: dict[str, Any] = {}
    top = _schema(record, definitions)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **top, "$defs": definitions}


def _record(hint: type, value: Any, place: str) -> Any:
    _expect(isinstance(value, dict), value, place, "an object")
    hints = typing.get_type_hints(hint)
    fields = dataclasses.fields(hint)
    if unknown := [key for key in value if key not in hints]:
        raise Mismatch(f"{_join(place, unknown[0])!r} is unknown")
    given = {}
    for field in fields:
        if field.name in value:
            given[field.name] = from_json(hints[field.name], value[field.name], _join(place, field.name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise Mismatch(f"{_join(place, field.name)!r} is missing")
    return hint(**given)


def _union(arguments: tuple[Any, ...], value: Any, place: str) -> Any:
    problems = []
    for argument in arguments:
        try:
            return from_json(argument, value, place)
        except Mismatch as error:
            if argument is not type(None):
                problems.append(str(error))
    raise Mismatch(problems[0])


def _is_number(value: Any) -> bool:
    """Whether a number is one that arithmetic takes: JSON's may have any number of digits."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < _LARGEST if isinstance(value, int) else math.isfinite(value)


def _is_flat(value: Any, depth: int = 0) -> bool:
    if not isinstance(value, (dict, list)):
        return not isinstance(value, int) or abs(value) < _LARGEST
    parts = value.values() if isinstance(value, dict) else value
    return depth < _DEEPEST and all(_is_flat(part, depth + 1) for part in parts)


def _expect(holds: bool, value: Any, place: str, expected: str) -> Any:
    if not holds:
        raise Mismatch(f"{place or 'the file'!r} is {json.dumps(value, default=str)[:60]}, expected {expected}")
    return value


def _choices(arguments: tuple[Any, ...]) -> str:
    return "one of " + ", ".join(map(str, arguments))


def _join(place: str, key: str) -> str:
    return f"{place}.{key}" if place else key


_PLAIN = {float: "number", int: "integer", str: "string", bool: "boolean", type(None): "null"}


def _schema(hint: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if hint.__name__ not in definitions:
            definitions[hint.__name__] = {}
            definitions[hint.__name__] = _object(hint, definitions)
        return {"$ref": f"#/$defs/{hint.__name__}"}
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(argument, definitions) for argument in arguments]}
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return {"type": "array", "items": _schema(arguments[0], definitions)}
        items = [_schema(argument, definitions) for argument in arguments]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
    if origin in (dict, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    return {} if hint is object else {"type": _PLAIN[hint]}


def _object(hint: type, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(hint)
    required = [
        field.name
        for field in dataclasses.fields(hint)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    return {
        "type": "object",
        "description": (hint.__doc__ or "").split("\n")[0],
        "properties": {name: _schema(annotation, definitions) for name, annotation in hints.items()},
        "required": required,
        "additionalProperties": False,
    }
