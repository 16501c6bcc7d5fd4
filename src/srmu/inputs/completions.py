"""Prompts with the answers that are expected."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srmu.errors import InputError, nearest_hint
from srmu.inputs.limits import checked_text, shown, shown_source
from srmu.inputs.readers import HUB_PREFIX, read_records
from srmu.inputs.wanted import Wanted

_PROMPTS = ("prompt", "question", "instruction", "query")
_ANSWERS = ("answer", "completion", "response", "output")


@dataclass(frozen=True, kw_only=True)
class Completion:
    """A prompt and the answer that is expected."""

    prompt: str
    answer: str


class _Pairs(Wanted):
    """Looks for records of a prompt and an answer."""

    def is_record(self, names: Collection[str]) -> bool:
        return any(name in names for name in _PROMPTS) and any(name in names for name in _ANSWERS)

    def columns(self, names: Sequence[str], where: str) -> list[str]:
        if not self.is_record(names):
            found = ", ".join(map(shown, names)) or "none"
            raise InputError(f"{where}: fields 'prompt' and 'answer' are needed; found {found}. Name the columns so.")
        return [name for name in names if name in (*_PROMPTS, *_ANSWERS)]


def read_completions(source: str | Path) -> list[Completion]:
    """Read records with a `prompt` (or `question`) and an `answer` (or `completion`, `response`, `output`).

    Args:
        source: JSON lines, JSON, CSV, TSV or Parquet, packed or not, or `hub:NAME[:CONFIG[:SPLIT]]`.

    Raises:
        InputError: Naming the file and the line.
    """
    where = f"Completion file {shown_source(str(source))}"
    if not str(source).startswith(HUB_PREFIX) and not Path(source).is_file():
        raise InputError(f"{where} cannot be read: there is no such file. Check the path.")
    found = [_parse(record, place) for place, record in read_records(str(source), where, _Pairs(), [])]
    if not found:
        raise InputError(f"{where} holds no prompt. Give one JSON object a line.")
    return found


def _parse(record: Any, place: str) -> Completion:
    if not isinstance(record, Mapping):
        raise InputError(f"{place}: expected a JSON object, found {type(record).__name__}. Correct that line.")
    prompt, answer = (_text(record, names, place, may_be_empty=names is _PROMPTS) for names in (_PROMPTS, _ANSWERS))
    return Completion(prompt=checked_text(prompt, place), answer=checked_text(answer, place))


def _text(record: Mapping[str, Any], names: Sequence[str], place: str, *, may_be_empty: bool) -> str:
    value = next((record[name] for name in names if record.get(name) is not None), None)
    if not isinstance(value, str) or not (value.strip() or may_be_empty):
        hint = nearest_hint(names[0], list(map(str, record))) if value is None else ""
        raise InputError(f"{place}: {names[0]!r} must be a text, found {shown(value)}.{hint} Correct that line.")
    return value
