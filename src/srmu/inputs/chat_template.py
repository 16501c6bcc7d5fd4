"""A tokenizer's chat template, which is a program of whoever made it: it may fail, loop or fill the memory."""

from collections.abc import Mapping, Sequence
from typing import Any

from srmu.errors import InputError
from srmu.runtime.trial import ends_within

_SECONDS, _MEGABYTES = 8.0, 500
"""That a template may take for one short conversation; they take a millisecond."""


def apply_template(tokenizer: Any, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
    """A conversation as the template writes it.

    Args:
        tokenizer: With a chat template.
        messages: With `role` and `content`.
        options: Of `apply_chat_template`.

    Raises:
        InputError: The template refuses it.
    """
    try:
        return str(tokenizer.apply_chat_template(messages, tokenize=False, **options))
    except Exception as error:  # templates are programs: jinja2's errors, and any other they raise
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise InputError(
            f"The tokenizer's chat template cannot be applied ({reason}). Correct it, or leave --chat away."
        ) from error


def check_template_ends(tokenizer: Any, path: str) -> None:
    """Try a template once, in a process that can be killed.

    Args:
        tokenizer: With or without a template.
        path: Where it came from, for the error.

    Raises:
        InputError: The template took too long or too much memory.
    """
    if not getattr(tokenizer, "chat_template", None):
        return
    messages = [{"role": "user", "content": "Hello"}]

    def render() -> None:
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)

    if not ends_within(render, seconds=_SECONDS, megabytes=_MEGABYTES):
        raise InputError(
            f"The chat template of the tokenizer in {path!r} takes more than {_SECONDS:.0f} s or {_MEGABYTES} MB for "
            "one short conversation. Correct it, or use a checkpoint that you trust."
        )
