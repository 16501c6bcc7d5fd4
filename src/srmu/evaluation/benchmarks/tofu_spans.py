"""The part of each forgotten answer at which the unlearning depth score looks: its entity, or the answer itself."""

from collections.abc import Collection, Mapping, Sequence
from itertools import takewhile
from typing import Any

from transformers import PreTrainedTokenizerBase

from srmu.errors import InputError
from srmu.evaluation.benchmarks.depth import Span
from srmu.evaluation.benchmarks.tofu_data import TofuQuestion
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt, encode_answer
from srmu.inputs.readers import read_records
from srmu.inputs.wanted import Wanted

_FIELDS = ("question", "prefix", "entity")
Entity = tuple[str, str]
"""What stands before it in the answer, and the entity."""


class _Annotations(Wanted):
    def is_record(self, names: Collection[str]) -> bool:
        return set(_FIELDS) <= set(names)

    def columns(self, names: Sequence[str], where: str) -> list[str]:
        if missing := [name for name in _FIELDS if name not in names]:
            raise InputError(
                f"{where}: {', '.join(missing)} missing, found {', '.join(names)}. Give annotated answers."
            )
        return list(_FIELDS)


def read_entities(source: str, questions: Sequence[TofuQuestion]) -> dict[str, Entity]:
    """Entities by question, from records with `question`, `prefix` and `entity`, such as the authors' annotations.

    Raises:
        InputError: A record lacks one of these, or none is of the questions asked.
    """
    where = f"Entities {source!r}"
    found: dict[str, Entity] = {}
    for place, record in read_records(source, where, _Annotations(), []):
        question, prefix, entity = (_text(record, name, place) for name in _FIELDS)
        found[question] = (prefix, entity)
    if not any(entry.question in found for entry in questions):
        raise InputError(
            f"{where}: none of {len(found)} annotated questions is among the {len(questions)} forgotten ones. Give "
            "annotations of this split, or leave --entities out."
        )
    return found


def answer_spans(
    tokenizer: PreTrainedTokenizerBase,
    prompt: TofuPrompt,
    questions: Sequence[TofuQuestion],
    entities: Mapping[str, Entity] | None,
    *,
    longest: int,
) -> list[Span]:
    """A span for each question: of the entity where entities are given, else of the answer without its end token.

    A question without an entity, or whose answer does not hold it, has none, as in the authors' code.

    Raises:
        InputError: A text has more tokens than `longest`.
    """
    spans = []
    for entry in questions:
        asked, answer = _encoded(tokenizer, prompt, entry.question, entry.answer)
        start, end = 0, len(answer)
        if entities is not None:
            place = _place(entry.answer, entities.get(entry.question))
            if place is None:
                continue
            start, end = (
                _shared(_encoded(tokenizer, prompt, entry.question, entry.answer[:cut])[1], answer) if cut else 0
                for cut in place
            )
            end = max(end, start + 1)
        ids = (asked + answer)[: len(asked) + end]
        if len(ids) > longest:
            raise InputError(
                f"A question and its answer have {len(ids)} tokens, and the model has {longest} positions."
            )
        spans.append(Span(tuple(ids), len(asked) + start, len(asked) + end))
    return spans


def _text(record: Any, name: str, place: str) -> str:
    value = record.get(name) if isinstance(record, Mapping) else None
    if not isinstance(value, str) or (name != "prefix" and not value.strip()):
        raise InputError(f"{place}: {name!r} is {str(value)[:60]!r}, expected a text. Correct that record.")
    return value


def _encoded(
    tokenizer: PreTrainedTokenizerBase, prompt: TofuPrompt, question: str, answer: str
) -> tuple[list[int], list[int]]:
    """Without the end token."""
    asked, ids = encode_answer(tokenizer, prompt, question, answer)
    return asked, ids[:-1] if ids[-1] == tokenizer.eos_token_id and len(ids) > 1 else ids


def _place(answer: str, entity: Entity | None) -> tuple[int, int] | None:
    """Where the space before the entity begins, and where the entity ends."""
    if entity is None:
        return None
    prefix, name = entity
    start = answer.find(name.strip(), len(prefix) if answer.startswith(prefix) else 0)
    return None if start < 0 else (len(answer[:start].rstrip()), start + len(name.strip()))


def _shared(some: Sequence[Any], others: Sequence[Any]) -> int:
    return sum(1 for _ in takewhile(lambda two: two[0] == two[1], zip(some, others, strict=False)))
