"""The forms in which data sets write multiple-choice questions."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from srmu.errors import InputError, nearest_hint
from srmu.inputs.limits import shown
from srmu.inputs.wanted import Wanted

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_PROMPTS = ("question", "prompt", "question_stem", "ctx", "goal", "input", "stem", "Question", "query")
_CHOICES = ("choices", "options", "endings")
_ANSWERS = ("answer", "answerKey", "answer_key", "label", "cop", "answer_idx", "answer_index", "gold", "correct")
# One column per choice, in order; a table may have fewer of them, but at least the first two.
_COLUMNS = (
    tuple(LETTERS), tuple(LETTERS.lower()), ("opa", "opb", "opc", "opd", "ope"),
    ("sol1", "sol2"), tuple(f"option{number}" for number in range(1, 11)),
    tuple(f"choice{number}" for number in range(1, 11)), tuple(f"option_{letter}" for letter in "abcdefghij"),
    tuple(f"choice_{letter}" for letter in "abcdefghij"), tuple(f"ending{number}" for number in range(10)),
)  # fmt: skip
# Right and wrong answers in separate fields: the name of the right one, and how the names of the wrong ones begin.
_SORTED = (
    ("correct_answer", "distractor"),
    ("Correct Answer", "Incorrect Answer"),
    ("correct_answer", "incorrect_answer"),
)


@dataclass(frozen=True)
class RawQuestion:
    """A question as a record gives it.

    Attributes:
        prompt: Text before the answer.
        choices: Texts of the choices.
        labels: What the record calls its choices, such as `A` or `1`; empty where it does not name them.
        answers: How the right answers are given: letters, texts or numbers, one or several.
        right: Positions of the right choices, where the form leaves no doubt about them; `answers` is then empty.
        first: Whether numbers count from 0 or from 1, if the form says it; None = the whole file decides.
        place: Of the record, for errors.
        form: In words.
        fact: Key of the fact that the question is about, or empty.
        machine_made: Whether srmu made it.
    """

    prompt: str
    choices: tuple[str, ...]
    labels: tuple[str, ...]
    answers: tuple[str | int, ...]
    place: str
    form: str
    right: tuple[int, ...] = ()
    first: int | None = None
    fact: str = ""
    machine_made: bool = False


class QuestionRecords(Wanted):
    """Reads records of questions."""

    def is_record(self, names: Collection[str]) -> bool:
        """Whether an object with these fields is a question."""
        return any(name in names for name in _PROMPTS) and (
            any(name in names for name in (*_CHOICES, "target_scores", "mc1_targets"))
            or choice_column(names) is not None
            or any(right in names for right, _ in _SORTED)
        )

    def columns(self, names: Sequence[str], where: str) -> list[str]:
        """All columns of a table of questions.

        Raises:
            InputError: A table without questions.
        """
        if not self.is_record(names) and not self._is_nested(names):
            raise _missing(where, names)
        return list(names)

    def _is_nested(self, names: Collection[str]) -> bool:
        return "question" in names and "answerKey" in names

    def names_without_header(self, first_row: Sequence[str]) -> list[str] | None:
        """Columns of a table like MMLU's, which has no header: question, choices, letter of the right one."""
        num_choices, letter = len(first_row) - 2, first_row[-1].strip()
        if num_choices < 2 or num_choices > 26 or len(letter) != 1 or letter not in LETTERS[:num_choices]:
            return None
        return ["question", *LETTERS[:num_choices], "answer"]

    def read(self, record: Any, place: str) -> RawQuestion:
        """The question of a record.

        Raises:
            InputError: It is none, or malformed.
        """
        if not isinstance(record, Mapping):
            raise InputError(f"{place}: expected a JSON object, found {type(record).__name__}. Correct that line.")
        fields = dict(record)
        # The first ARC files hold the question's text and its choices in an object.
        if isinstance(fields.get("question"), Mapping):
            fields |= {"question": fields["question"].get("stem"), "choices": fields["question"].get("choices")}
        prompt = _prompt(fields, place)
        fact = str(fields.get("fact") or "")
        found = _choices_and_answers(fields, place)
        if len(found.choices) < 2:
            raise InputError(f"{place}: a question needs two or more choices, found {shown(list(found.choices))}.")
        # `fact` is srmu's own field, and srmu counts from 0.
        made = fields.get("machine_made") is True
        return replace(found, prompt=prompt, fact=fact, first=0 if "fact" in fields else found.first, machine_made=made)


def choice_column(names: Collection[str]) -> str | None:
    """The first of several fields that each hold a choice, as `A` of `A`, `B`, `C`, `D`; None where there are none."""
    return next((columns[0] for columns in _COLUMNS if set(columns[:2]) <= set(names)), None)


def _choices_and_answers(fields: Mapping[str, Any], place: str) -> RawQuestion:
    """The question without its prompt."""
    if isinstance(fields.get("mc1_targets"), Mapping):
        return _by_score("TruthfulQA", fields["mc1_targets"], place)
    if isinstance(fields.get("target_scores"), Mapping):
        scores = {name: score for name, score in fields["target_scores"].items() if score is not None}
        return _by_score("BIG-bench", {"choices": list(scores), "labels": list(scores.values())}, place)
    for right, wrong in _SORTED:
        if right in fields and any(name.startswith(wrong) for name in fields):
            names = sorted(name for name in fields if re.fullmatch(rf"{wrong}[ _]?\d*", name))
            others = [_choice(fields[name], place) for name in names if fields[name] is not None]
            texts = (_choice(fields[right], place), *others)
            # Sorted, because these records always give the right one first.
            ordered = tuple(sorted(texts))
            return RawQuestion("", ordered, (), (), place, "right and wrong answers", (ordered.index(texts[0]),))
    name = next((name for name in _CHOICES if name in fields), None)
    if name is not None:
        choices, labels = _listed(fields[name], name, place)
        form = _form_name(fields, name, labels)
        first = 0 if name == "endings" else None
        return RawQuestion("", choices, labels, _answers(fields, place), place, form, first=first)
    for columns in _COLUMNS:
        present = [name for name in columns if fields.get(name) not in (None, "")]
        if len(present) >= 2 and present == list(columns[: len(present)]):
            labels = tuple(present) if len(columns[0]) == 1 else ()
            first = 0 if columns[0] == "sol1" else None
            texts = tuple(_choice(fields[name], place) for name in present)
            form = f"choices {present[0]} to {present[-1]}"
            return RawQuestion("", texts, labels, _answers(fields, place), place, form, first=first)
    raise _missing(place, list(fields))


def _prompt(fields: Mapping[str, Any], place: str) -> str:
    name = next((name for name in _PROMPTS if name in fields), None)
    if name is None:
        raise _missing(place, list(fields))
    prompt = fields[name]
    if not isinstance(prompt, str):
        raise InputError(f"{place}: the question is {type(prompt).__name__}, not text. Correct that line.")
    if name == "ctx" and isinstance(fields.get("activity_label"), str):
        prompt = f"{fields['activity_label']}: {prompt}"
    context = next((fields[key] for key in ("article", "passage", "context") if isinstance(fields.get(key), str)), "")
    return f"{context}\n\n{prompt}" if context.strip() else prompt


def _listed(value: Any, name: str, place: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Choices and labels from a list of texts, of objects, an object of both lists, or one of label and text."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = _from_table(value, place, name)
    if isinstance(value, Mapping) and isinstance(value.get("text"), list):
        labels = value.get("label")
        if not isinstance(labels, list) or len(labels) != len(value["text"]):
            labels = []
        return tuple(_choice(text, place) for text in value["text"]), tuple(map(str, labels))
    if isinstance(value, Mapping) and value and all(not isinstance(text, list | dict) for text in value.values()):
        filled = {str(label): text for label, text in value.items() if text is not None}
        return tuple(_choice(text, place) for text in filled.values()), tuple(filled)
    if isinstance(value, list) and value and all(isinstance(item, Mapping) and "text" in item for item in value):
        labels = tuple(str(item["label"]) for item in value if "label" in item)
        return tuple(_choice(item["text"], place) for item in value), labels if len(labels) == len(value) else ()
    if not isinstance(value, list):
        raise InputError(f"{place}: {name!r} must be a list of texts, found {shown(value)}. Correct that line.")
    return tuple(_choice(item, place) for item in value), ()


def _from_table(value: str, place: str, name: str) -> Any:
    """A list that a table holds as JSON."""
    import json

    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise InputError(f'{place}: {name!r} is text that is not a JSON list. Write it as in ["a", "b"].') from None


def _choice(value: Any, place: str) -> str:
    """The text of a choice; a number is read as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise InputError(f"{place}: a choice must be text or a number, found {shown(value)}. Correct that line.")


def _answers(fields: Mapping[str, Any], place: str) -> tuple[str | int, ...]:
    also = fields.get("also_right")
    also = also if isinstance(also, list | tuple) else ()
    name = next((name for name in _ANSWERS if name in fields), None)
    if name is None:
        found = ", ".join(map(shown, fields)) or "none"
        raise InputError(
            f"{place}: field 'answer' is missing; fields found: {found}.{nearest_hint('answer', list(fields))} "
            "Give the letter or the text of the right choice."
        )
    value = fields[name]
    values = list(value) if isinstance(value, list | tuple) else [value]
    # Tables with a missing value hold whole numbers as floats.
    values = [int(item) if isinstance(item, float) and item.is_integer() else item for item in values]
    for item in (*values, *also):
        if isinstance(item, bool) or not isinstance(item, str | int) or item == "":
            raise InputError(
                f"{place}: {name!r} must be a letter, a text or a number of a choice, found {shown(item)}. "
                "Correct that line."
            )
    if not values:
        raise InputError(f"{place}: {name!r} is an empty list. Give the right choice.")
    return (*values, *also)


def _by_score(form: str, targets: Mapping[str, Any], place: str) -> RawQuestion:
    choices, scores = targets.get("choices"), targets.get("labels")
    if not isinstance(choices, list) or not isinstance(scores, list) or len(choices) != len(scores):
        raise InputError(f"{place}: expected as many scores as choices. Correct that line.")
    if not all(isinstance(score, int | float) for score in scores):
        raise InputError(f"{place}: the scores of the choices must be numbers, found {shown(scores)}. Correct them.")
    right = tuple(position for position, score in enumerate(scores) if score == max(scores) and score)
    if not right:
        raise InputError(f"{place}: no choice is marked as right. Correct that line.")
    return RawQuestion("", tuple(_choice(choice, place) for choice in choices), (), (), place, form, right)


def _form_name(fields: Mapping[str, Any], name: str, labels: Sequence[str]) -> str:
    if "answerKey" in fields:
        return "ARC"
    if name == "endings":
        return "HellaSwag"
    return "labelled choices" if labels else "question and choices"


def _missing(place: str, names: Sequence[str]) -> InputError:
    known = [str(name)[:80] for name in names]
    asked = "choices" if any(name in known for name in _PROMPTS) else "question"
    found = ", ".join(map(shown, known[:20])) or "none"
    return InputError(
        f"{place}: field {asked!r} is missing; fields found: {found}.{nearest_hint(asked, known)} "
        "Give objects with 'question', 'choices' and 'answer'."
    )
