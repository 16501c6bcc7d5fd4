"""The forms in which records hold texts, recognised by the names of their fields.

They are those of TRL (text, prompt and completion, messages, each as text or as conversation), Alpaca, Dolly, ShareGPT,
and the questions with answers of TOFU, MUSE and others. A record that fits two forms is refused, and a text field that
is named takes precedence over all of them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srmu.errors import InputError, nearest_hint
from srmu.inputs.chats import parse_messages, parse_tools
from srmu.inputs.documents import Document, Message
from srmu.inputs.limits import checked_text, shown
from srmu.inputs.question_forms import choice_column
from srmu.inputs.wanted import Wanted

AUTO = "auto"
"""The text field that leaves the form to be recognised."""
PLAIN = "plain text"
CHAT_FIELD = "messages"

# Wording of the data sets' own publications: Alpaca's prompts, TOFU's and MUSE's questions.
_ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{0}\n\n### Response:\n"
)
_ALPACA_INPUT = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{0}\n\n### Input:\n{1}\n\n### Response:\n"
)


@dataclass(frozen=True)
class Form:
    """A form of records.

    Attributes:
        name: In words.
        fields: Fields that a record of this form has.
        optional: Fields that are read where they are there.
        wording: Of a pair, makes the text before the answer from the request and its context; None = no pair.
    """

    name: str
    fields: tuple[str, ...]
    optional: tuple[str, ...] = ()
    wording: Callable[[str, str], str] | None = None

    @property
    def key(self) -> str:
        """What selects this form as `--text-field`: `question+answer`."""
        return "+".join(self.fields)


def _as_written(request: str, context: str) -> str:
    return request


def _with_space(request: str, context: str) -> str:
    return request if not request or request[-1].isspace() else request + " "


def _asked(request: str, context: str) -> str:
    return f"Question: {request}\nAnswer: "


def _instructed(request: str, context: str) -> str:
    return _ALPACA_INPUT.format(request, context) if context.strip() else _ALPACA.format(request)


FORMS = (
    Form("text", ("text",)),
    Form("conversation", (CHAT_FIELD,), ("tools",)),
    Form("ShareGPT conversation", ("conversations",), ("system", "tools")),
    Form("prompt and completion", ("prompt", "completion"), ("tools",), _as_written),
    Form("prompt and answer", ("prompt", "answer"), (), _with_space),
    Form("prompt and response", ("prompt", "response"), (), _instructed),
    Form("question and answer", ("question", "answer"), (), _asked),
    Form("query and response", ("query", "response"), (), _instructed),
    Form("instruction and output", ("instruction", "output"), ("input",), _instructed),
    Form("instruction and response", ("instruction", "response"), ("context",), _instructed),
)
BY_KEY = {form.key: form for form in FORMS}
# Fields beside which a form would be misread, and what the records are instead.
_CHOICES = ("choices", "options", "endings")
_LABELS = ("label", "labels")


@dataclass(frozen=True)
class Recognised(Wanted):
    """Reads records of any known form, or of one that was named.

    Attributes:
        forms: Those that are looked for.
    """

    forms: tuple[Form, ...] = FORMS

    def is_record(self, names: Collection[str]) -> bool:
        """Whether an object with these fields is a record, rather than something that holds records."""
        return any(set(form.fields) <= set(names) for form in self.forms)

    def columns(self, names: Sequence[str], where: str) -> list[str]:
        """The columns of a table that are needed.

        Raises:
            InputError: There is no text in such a table.
        """
        if not self.is_record(names):
            raise self._missing(names, where)
        if len(self.forms) > 1:
            _refuse_choices(choice_column(names), names, where)
        known = {name for form in self.forms for name in (*form.fields, *form.optional)}
        return [name for name in names if name in known.union(_CHOICES, _LABELS, ("chosen", "rejected"))]

    def read(self, record: Mapping[str, Any], place: str) -> tuple[str, Document]:
        """The form of a record, in words, and its document.

        Raises:
            InputError: It has no form or several, or a field holds what it must not.
        """
        form = self._form(record, place)
        if form.wording is not None:
            return _read_pair(form, record, place)
        value = record[form.fields[0]]
        if form.fields == ("text",) and not isinstance(value, list):
            return form.name, Document(text=checked_text(_plain(value, "text", place), place))
        messages = parse_messages(value or (), place)
        system = record.get("system") if "system" in form.optional else None
        if isinstance(system, str) and system.strip():
            messages = (Message("system", checked_text(system, place)), *messages)
        return form.name, Document(messages=messages, tools=parse_tools(record.get("tools"), place))

    def _form(self, record: Mapping[str, Any], place: str) -> Form:
        fitting = [form for form in self.forms if all(name in record for name in form.fields)]
        # Tables of several forms fill up with nulls.
        filled = [form for form in fitting if all(record[name] is not None for name in form.fields)]
        fitting = filled or fitting
        if len(self.forms) > 1:
            _refuse_other_kinds(record, place)
            if len(fitting) > 1 and filled:
                readings = " or as ".join(form.name for form in fitting)
                remedy = " or ".join(f"--text-field {form.key}" for form in fitting)
                raise InputError(f"{place}: the record can be read as {readings}. Choose one: {remedy}.")
        if not fitting:
            raise self._missing(list(record), place)
        return fitting[0]

    def _missing(self, names: Sequence[str], place: str) -> InputError:
        wanted = ("text",) if len(self.forms) > 1 else self.forms[0].fields
        return missing_field(place, next(name for name in wanted if name not in names), names)


def missing_field(place: str, name: str, fields: Sequence[str]) -> InputError:
    """The error of a record without text, with the fields that are there and the nearest of them."""
    found = ", ".join(map(shown, fields[:20])) or "no field"
    hint = nearest_hint(name, [str(field)[:80] for field in fields])
    return InputError(
        f"{place}: field {name!r} is missing; there is {found}.{hint} Name the field with --text-field, or several as "
        "a template such as '{title}: {body}'."
    )


def _refuse_other_kinds(record: Mapping[str, Any], place: str) -> None:
    """Refuse records whose fields would fit a form, and which are something else."""
    choices = next((name for name in _CHOICES if isinstance(record.get(name), list | dict)), None)
    _refuse_choices(choices or choice_column(record), record, place)
    if "chosen" in record and "rejected" in record:
        raise InputError(
            f"{place}: a preference can be read as its 'chosen' or as its 'rejected' answer. Choose one: "
            "--text-field chosen or --text-field rejected."
        )
    if "completion" in record or "completions" in record:
        label = next((name for name in _LABELS if name in record), None)
        if label is not None:
            raise InputError(
                f"{place}: the field {label!r} says whether a completion is good, and srmu would read both kinds. "
                "Keep the records that you mean, or name what to read: --text-field prompt+completion."
            )


def _refuse_choices(choices: str | None, names: Collection[str], place: str) -> None:
    if choices is not None and "text" not in names:
        raise InputError(
            f"{place}: the field {choices!r} makes this a multiple-choice question, not a text. Give the file with "
            "--questions, or name what to read: --text-field '{question} {answer}'."
        )


def _read_pair(form: Form, record: Mapping[str, Any], place: str) -> tuple[str, Document]:
    assert form.wording is not None
    first, second = (record[name] for name in form.fields)
    if isinstance(first, list) and isinstance(second, list) and _are_messages(first):
        start, end = parse_messages(first, place), parse_messages(second, place)
        tools = parse_tools(record.get("tools"), place)
        return f"conversational {form.name}", Document(messages=start + end, answer_start=len(start), tools=tools)
    request, answer = (_plain(record[name], name, place) for name in form.fields)
    if not answer.strip():
        return form.name, Document(text="")
    contexts = [name for name in form.optional if name != "tools" and record.get(name)]
    context = _plain(record[contexts[0]], contexts[0], place) if contexts else ""
    before = form.wording(request, context)
    prompt = f"{request}\n\n{context}" if context.strip() else request
    return form.name, Document(checked_text(before + answer, place), answer_start=len(before), prompt=prompt)


def _are_messages(value: list[Any]) -> bool:
    return bool(value) and isinstance(value[0], Mapping)


def _plain(value: Any, name: str, place: str) -> str:
    """A field's text: nothing for None, a number as it is written, the one text of a list."""
    if value is None:
        return ""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and name != "text":
        return str(value)
    found = f"a list of {len(value)}" if isinstance(value, list) else type(value).__name__
    raise InputError(f"{place}: found {found} in the field {name!r}, expected text or a list of messages. Correct it.")
