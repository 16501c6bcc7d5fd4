"""One text or one conversation, and which part of it is the answer."""

import json
from dataclasses import dataclass
from typing import Any, NamedTuple


class Message(NamedTuple):
    """One message of a conversation.

    Attributes:
        role: As the chat template names it, such as `user` or `assistant`.
        content: Its text; empty where a message only calls tools.
        extra: The other fields of the message (`tool_calls`, `name`), a JSON object; empty if there are none.
    """

    role: str
    content: str
    extra: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The message as chat templates expect it."""
        return {"role": self.role, "content": self.content, **(json.loads(self.extra) if self.extra else {})}


@dataclass(frozen=True)
class Document:
    """One text, or one conversation; the other is None.

    Attributes:
        text: The whole text, the answer at its end where there is one.
        messages: The conversation.
        answer_start: Of a text, the character at which its answer begins; of a conversation, the message from which
            on the assistant's messages are the answer. None = all of a text, every message of the assistant.
        prompt: Of a text with an answer, what the user asks when the pair goes through a chat template.
        tools: Tools that the conversation may call, a JSON list; empty if there are none.
    """

    text: str | None = None
    messages: tuple[Message, ...] | None = None
    answer_start: int | None = None
    prompt: str | None = None
    tools: str = ""

    def as_text(self) -> str:
        """The text, or the contents of the messages, one below the other."""
        if self.messages is None:
            return self.text or ""
        return "\n".join(message.content for message in self.messages)

    def as_chat(self) -> tuple[Message, ...]:
        """The conversation; of a question and its answer two messages, of a plain text one message of the user."""
        if self.messages is not None:
            return self.messages
        if self.answer_start is None:
            return (Message("user", self.text or ""),)
        answer = (self.text or "")[self.answer_start :].strip()
        return (Message("user", self.prompt or ""), Message("assistant", answer))

    def canonical_bytes(self) -> bytes:
        """JSON in UTF-8 on one line: equal for equal documents only."""
        content: Any = self.text
        if self.messages is not None:
            content = [tuple(message) if message.extra else message[:2] for message in self.messages]
        if self.answer_start is not None or self.tools:
            content = {"content": content, "answer": self.answer_start, "prompt": self.prompt, "tools": self.tools}
        return json.dumps(content, ensure_ascii=False).encode()
