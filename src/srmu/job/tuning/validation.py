"""What trials are measured on: the user's questions, and rows of each side and source."""

import math
from dataclasses import replace

from srmu.config.groups import Side
from srmu.config.sources import GENERAL
from srmu.errors import InputError
from srmu.evaluation.measure import Measurement
from srmu.inputs.rows import TokenRows, tokenize_rows
from srmu.inputs.sources import general_corpus
from srmu.job.plan import Plan
from srmu.job.prepare import Prepared
from srmu.job.tuning.outcome import FORGET, GROUP_QUESTIONS, Validation, make_validation
from srmu.job.tuning.request import Kind
from srmu.results.sides import sides_of
from srmu.solver.topics import NO_ROWS, TopicRows


def heldout_validation(plan: Plan, prepared: Prepared, group_questions: int = GROUP_QUESTIONS) -> Validation:
    """The user's questions, and held-out rows of each side and source: what a study is measured on.

    Raises:
        InputError: If questions are given and none is about what is to be forgotten, or there is nothing to measure on.
    """
    texts = _by_group(prepared, {topic.name: topic.forget_heldout for topic in prepared.topics}, stand_in=False)
    return _validation(plan, prepared, texts, group_questions)


def search_validation(plan: Plan, prepared: Prepared, kind: Kind) -> Validation:
    """What `--search` measures on, from what the user gave and the paragraphs that come with srmu.

    To forget: for entities the rows that are trained on, since what they name is the request; for a domain held-out
    rows, since forgetting must reach beyond what the texts say. To keep: held-out rows of each retain source, and
    shipped paragraphs. Where nothing was held out, rows that are trained on take their place.

    Raises:
        InputError: If no group of questions is named as one to forget.
    """
    forget = {}
    for topic in prepared.topics:
        heldout = topic.forget_heldout if kind == "domain" else NO_ROWS
        forget[topic.name] = heldout if len(heldout) else topic.forget
    texts = _by_group(prepared, forget, stand_in=True)
    if not any(GENERAL in topic.sources for topic in prepared.topics):
        texts[f"{GENERAL} paragraphs"] = tokenize_rows(
            general_corpus(), plan.tokenizer, max_length=plan.config.data.max_length, vocab_size=plan.vocab_size
        )
    return _validation(plan, prepared, texts, GROUP_QUESTIONS)


def known_texts(base: Measurement, validation: Validation, vocab_size: int) -> Validation:
    """Without texts to keep that the base predicts worse than a token drawn at random: it cannot lose what it lacks.

    Shipped paragraphs are such texts to a model of another language. Where nothing else is to stay, they all count.
    """
    known = {
        name: rows
        for name, rows in validation.texts.items()
        if validation.is_forget(name) or base.texts[name].nll < math.log(vocab_size)
    }
    if all(map(validation.is_forget, [*validation.questions, *known])):
        return validation
    return replace(validation, texts=known)


def _by_group(prepared: Prepared, forget: dict[str, TokenRows], *, stand_in: bool) -> dict[str, TokenRows]:
    """Rows to forget by topic, and held-out rows of each retain source, or trained ones with `stand_in`."""
    texts: dict[str, TokenRows] = {}
    for topic in prepared.topics:
        prefix = "" if len(prepared.topics) == 1 else f"{topic.name}."
        texts[_forget_name(prepared, topic)] = forget[topic.name]
        for number, (source, rows) in enumerate(_retain_rows(topic, stand_in=stand_in), 1):
            texts[f"{prefix}{number}: {source}"] = rows
    return texts


def _forget_name(prepared: Prepared, topic: TopicRows) -> str:
    return FORGET if len(prepared.topics) == 1 else f"{FORGET} {topic.name}"


def _retain_rows(topic: TopicRows, *, stand_in: bool) -> list[tuple[str, TokenRows]]:
    parts = zip(topic.sources, topic.retain_heldout, topic.retain, strict=True)
    return [(source, trained if stand_in and not len(heldout) else heldout) for source, heldout, trained in parts]


def _validation(plan: Plan, prepared: Prepared, texts: dict[str, TokenRows], group_questions: int) -> Validation:
    declared = plan.config.data.sides
    if plan.questions and "forget" not in sides_of(plan.questions, declared).values():
        first = next(iter(plan.questions))
        raise InputError(
            "Trials need questions on what is to be forgotten, and no group is on that side; found "
            f"{', '.join(plan.questions)}. Say --sides {first}=forget, or leave the questions out."
        )
    # The names of texts hold names of topics and files, which may say anything.
    forget = {_forget_name(prepared, topic) for topic in prepared.topics}
    sides: dict[str, Side] = {name: "forget" if name in forget else "kept" for name in texts}
    trained = [rows for topic in prepared.topics for rows in (topic.forget, *topic.retain)]
    return make_validation(
        plan.questions, texts, trained, plan.vocab_size, group_questions=group_questions, sides={**sides, **declared}
    )
