"""The text of a record where the user names its place: one field, or several that a template puts together."""

import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srmu.errors import InputError
from srmu.inputs.chats import parse_messages
from srmu.inputs.documents import Document
from srmu.inputs.formats import AUTO, BY_KEY, CHAT_FIELD, FORMS, Recognised, missing_field
from srmu.inputs.limits import checked_text
from srmu.inputs.wanted import Wanted


@dataclass(frozen=True)
class TextField(Wanted):
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

    def is_record(self, names: Collection[str]) -> bool:
        """Whether an object with these fields is a record, rather than something that holds records."""
        return any(name in names for name in (*self.names, CHAT_FIELD))

    def columns(self, names: Sequence[str], where: str) -> list[str]:
        """The columns of a table that are needed.

        Raises:
            InputError: One of them is missing, and there are no conversations either.
        """
        missing = self.first_missing(names)
        if missing is not None and CHAT_FIELD not in names:
            raise missing_field(where, missing, names)
        return [name for name in dict.fromkeys((*self.names, CHAT_FIELD)) if name in names]

    def read(self, record: Mapping[str, Any], place: str) -> tuple[str, Document]:
        """The form of a record, in words, and its document; a conversation where the field is missing or empty.

        Raises:
            InputError: There is neither the field nor a conversation, or one of them holds something else.
        """
        missing = self.first_missing(record)
        if missing is not None and CHAT_FIELD not in record:
            raise missing_field(place, missing, list(record))
        content = None if missing is not None else self.content(record, place)
        content = record.get(CHAT_FIELD) if content is None else content
        if content is None or isinstance(content, str):
            form = "template" if self.pieces else f"field {self.names[0]!r}"
            return form, Document(text=checked_text(content or "", place))
        if not isinstance(content, list):
            found = type(content).__name__
            raise InputError(f"{place}: found {found}, expected text or a list of messages. Correct it.")
        return "conversation", Document(messages=parse_messages(content, place))

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


def parse_text_field(text_field: str) -> TextField | Recognised:
    r"""Read how the user names the place of the text.

    `auto` leaves it to the fields of the records; `question+answer`, and so for every form of `formats.py`, is that
    form alone; a brace makes a template, as in `Question: {question}\nAnswer: {answer}`; all else is a field's name.

    Each pair of braces holds the name of a field and nothing else; `{{` and `}}` are single braces. `\n`, which a
    shell passes on as two characters, is a line break.

    Raises:
        InputError: The template is malformed, or names no field.
    """
    if text_field == AUTO:
        return Recognised(FORMS)
    if "+" in text_field and text_field in BY_KEY:
        return Recognised((BY_KEY[text_field],))
    if "{" not in text_field and "}" not in text_field:
        return TextField((text_field,))
    remedy = "Write each field as {name}, and a brace itself twice."
    try:
        parsed = list(string.Formatter().parse(text_field.replace("\\n", "\n")))
    except ValueError as error:
        raise InputError(f"text_field={text_field!r} is not a template: {error}. {remedy}") from None
    for _, name, format_spec, conversion in parsed:
        if name == "" or format_spec or conversion:
            raise InputError(f"text_field={text_field!r} is not a template: a brace holds no plain name. {remedy}")
    names = tuple(dict.fromkeys(name for _, name, _, _ in parsed if name))
    if not names:
        raise InputError(f"text_field={text_field!r} names no field. {remedy}")
    return TextField(names, tuple((text, name) for text, name, _, _ in parsed))
