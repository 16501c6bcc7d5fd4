"""Where the text of a record stands: in one field, or in several that a template puts together."""

import string
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from srmu.errors import InputError


@dataclass(frozen=True)
class TextField:
    """How the text of a record is found.

    Attributes:
        names: Fields that are needed, in the order of their first use.
        pieces: Of a template: text, and the field whose text follows it (None = none). Empty for a plain field.
    """

    names: tuple[str, ...]
    pieces: tuple[tuple[str, str | None], ...] = ()

    def first_missing(self, fields: Collection[str]) -> str | None:
        """The first needed field that is not among these; None where all are there."""
        return next((name for name in self.names if name not in fields), None)

    def content(self, record: Mapping[str, Any], place: str) -> Any:
        """What a plain field holds; of a template its text, or an empty one where all of its fields are empty.

        Raises:
            InputError: A field of a template holds neither text nor nothing.
        """
        if not self.pieces:
            return record[self.names[0]]
        for name in self.names:
            if not isinstance(record[name], str | None):
                found = type(record[name]).__name__
                raise InputError(f"{place}: field {name!r} holds {found}, and a template needs text. Correct it.")
        if not any((record[name] or "").strip() for name in self.names):
            return ""
        return "".join(text + ((record[name] or "") if name else "") for text, name in self.pieces)


def parse_text_field(text_field: str) -> TextField:
    r"""Read a field's name, or a template if there is a brace in it, as in `Question: {question}\nAnswer: {answer}`.

    Between the braces stands the name of a field and nothing else; `{{` and `}}` are single braces. `\n`, which a
    shell passes on as two characters, is a line break.

    Raises:
        InputError: The template is malformed, or names no field.
    """
    if "{" not in text_field and "}" not in text_field:
        return TextField((text_field,))
    remedy = "Write each field as {name}, and a brace itself twice."
    try:
        parsed = list(string.Formatter().parse(text_field.replace("\\n", "\n")))
    except ValueError as error:
        raise InputError(f"text_field={text_field!r} is no template: {error}. {remedy}") from None
    for _, name, format_spec, conversion in parsed:
        if name == "" or format_spec or conversion:
            raise InputError(f"text_field={text_field!r} is no template: a brace holds no plain name. {remedy}")
    names = tuple(dict.fromkeys(name for _, name, _, _ in parsed if name))
    if not names:
        raise InputError(f"text_field={text_field!r} names no field. {remedy}")
    return TextField(names, tuple((text, name) for text, name, _, _ in parsed))
