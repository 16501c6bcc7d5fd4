"""Conversations as their data sets write them: `role` and `content`, or ShareGPT's `from` and `value`."""

import json
from collections.abc import Mapping
from typing import Any

from srmu.errors import InputError
from srmu.inputs.documents import Message
from srmu.inputs.limits import checked_text, shown

# Names of speakers in data sets of ShareGPT's kind -> roles as chat templates name them.
_ROLES = {
    "human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "chatgpt": "assistant",
    "bing": "assistant", "bard": "assistant", "model": "assistant", "function_call": "assistant", "system": "system",
    "tool": "tool", "observation": "tool", "function_response": "tool",
}  # fmt: skip
# All other fields of a message are passed to the template as they are.
_MAIN = ("role", "content", "from", "value")


def parse_messages(value: Any, place: str) -> tuple[Message, ...]:
    """Read a list of messages, or the JSON text of one, as tables hold it.

    Args:
        value: The list.
        place: Where it was found, for errors.

    Raises:
        InputError: It is not a list of messages, or a message lacks a role or a content that is text.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InputError(
                f"{place}: a conversation is text that is not valid JSON. Write a list of messages."
            ) from None
    if isinstance(value, Mapping):
        value = [value]
    if not isinstance(value, list | tuple):
        raise InputError(f"{place}: found {type(value).__name__}, expected a list of messages. Correct it.")
    return tuple(_parse_message(message, place) for message in value)


def parse_tools(value: Any, place: str) -> str:
    """The tools of a conversation, a list or its JSON text, as one line of JSON; empty where there are none.

    Raises:
        InputError: They are not a list.
    """
    if isinstance(value, str) and value.strip():
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            raise InputError(f"{place}: 'tools' is text that is not valid JSON. Write a list of tools.") from None
    if not value:
        return ""
    if not isinstance(value, list):
        raise InputError(f"{place}: 'tools' is {type(value).__name__}, expected a list. Correct it.")
    return json.dumps(_without_nulls(value), sort_keys=True)


def _parse_message(message: Any, place: str) -> Message:
    if not isinstance(message, Mapping):
        raise InputError(f"{place}: a message is {type(message).__name__}, expected an object with role and content.")
    if "from" in message and "role" not in message:
        role: Any = _role_of(message["from"], place)
        key = "value"
    else:
        role, key = message.get("role"), "content"
    content = message.get(key)
    if not isinstance(role, str):
        raise _lacking("role", message, place)
    extra = {name: _without_nulls(value) for name, value in message.items() if name not in _MAIN and value is not None}
    if "tool_calls" in extra:
        if not isinstance(extra["tool_calls"], list):
            found = type(extra["tool_calls"]).__name__
            raise InputError(f"{place}: 'tool_calls' is {found}, expected a list. Correct it.")
        extra["tool_calls"] = [_parsed_call(call, place) for call in extra["tool_calls"]]
    if content is None and key not in message and "tool_calls" not in extra:
        raise _lacking(key, message, place)
    text = _content_text(content, message, key, place)
    return Message(checked_text(role, place), checked_text(text, place), json.dumps(extra) if extra else "")


def _role_of(speaker: Any, place: str) -> str:
    role = _ROLES.get(speaker.lower()) if isinstance(speaker, str) else None
    if role is None:
        raise InputError(f"{place}: a message is from {shown(speaker)}. Write one of {', '.join(_ROLES)}.")
    return role


def _content_text(content: Any, message: Mapping[str, Any], key: str, place: str) -> str:
    """The text of a message: the content itself, its text parts joined, or nothing for None."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise _lacking(key, message, place)
    texts = []
    for part in content:
        if isinstance(part, str):
            texts.append(part)
        elif not isinstance(part, Mapping) or ("text" not in part and "type" not in part):
            raise _lacking(key, message, place)
        elif part.get("type", "text") == "text":
            if not isinstance(part.get("text"), str):
                raise _lacking(key, message, place)
            texts.append(part["text"])
        else:
            raise InputError(
                f"{place}: a part of a message is {shown(part['type'])}, and srmu reads text only. "
                "Take out the parts that are not text."
            )
    return "".join(texts)


def _parsed_call(call: Any, place: str) -> Any:
    """A tool call whose arguments are an object, as templates expect them, rather than its JSON text."""
    if not isinstance(call, Mapping):
        raise InputError(f"{place}: a tool call is {type(call).__name__}, expected an object. Correct it.")
    function = call.get("function")
    if isinstance(function, Mapping) and isinstance(function.get("arguments"), str):
        try:
            arguments = json.loads(function["arguments"])
        except (ValueError, RecursionError):
            return call
        return {**call, "function": {**function, "arguments": arguments}}
    return call


def _lacking(key: str, message: Mapping[str, Any], place: str) -> InputError:
    fields = ", ".join(map(shown, message)) or "nothing"
    return InputError(f"{place}: a message has no {key!r} that is text; it has {fields}. Give it role and content.")


def _without_nulls(value: Any) -> Any:
    """The value without fields that are None: Parquet gives all objects of a column the same fields."""
    if isinstance(value, Mapping):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value
