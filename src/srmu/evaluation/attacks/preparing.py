"""What the attacks of a call share: questions and texts as they were named, and a setting for each seed."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from srmu.config.groups import Side
from srmu.errors import InputError, nearest_hint
from srmu.evaluation.attacks.setting import (
    FULL,
    QUICK,
    TUNINGS,
    AttackSetting,
    Budget,
    Subject,
    choose_kept,
    fact_of,
    holds,
    right_answer,
    split_halves,
)
from srmu.evaluation.loading import load_tokenizer
from srmu.evaluation.model_pair import ModelPair
from srmu.evaluation.run_questions import find_run_questions
from srmu.inputs.corpora import read_corpus
from srmu.inputs.questions import Question, read_questions
from srmu.results.sides import NOTHING_DECLARED, side_of, sides_of
from srmu.runtime.files import file_sha256
from srmu.runtime.progress import Reporter
from srmu.surgery.checkpoint import open_checkpoint

TEXTS = ("relearn", "kept", "kind", "forget", "unseen")
PARAPHRASE = "paraphrase"
_VERSION = 2
"""To be raised when the same setting would give other numbers: kept cells of an older version are not used."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loading:
    """How models are loaded; the fields are those of `Subject`."""

    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False


def choose_budget(full: bool, learning_rates: Sequence[float] = (), tunings: Sequence[str] = ()) -> Budget:
    """The quick or the full budget, with other learning rates or fewer ways to fine-tune where these are named.

    Raises:
        InputError: A rate is out of range, or a way is unknown.
    """
    budget = FULL if full else QUICK
    if any(not 0 < rate < 1 for rate in learning_rates):
        raise InputError(f"learning_rates={list(learning_rates)!r} are out of range. Choose above 0 and below 1.")
    if unknown := set(tunings) - set(TUNINGS):
        raise InputError(f"tunings={sorted(unknown)!r} are unknown. Choose of {', '.join(TUNINGS)}.")
    ways = {
        material: tuple(way for way in own if not tunings or way in tunings) for material, own in budget.tunings.items()
    }
    return dataclasses.replace(budget, rates=tuple(learning_rates) or budget.rates, tunings=ways)


def read_groups(
    pair: ModelPair, given: Mapping[str, str] | None, sides: Mapping[str, Side] = NOTHING_DECLARED
) -> dict[str, list[Question]]:
    """The groups of questions that were named, or else those of the run.

    Raises:
        InputError: A file cannot be read, or no group is on the forget side.
    """
    files = dict(given or {})
    if not files and pair.run_dir is not None:
        files = find_run_questions(pair.run_dir)
    groups = {name: read_questions(path) for name, path in files.items()}
    if "forget" not in sides_of(groups, sides).values():
        found = ", ".join(groups) or "none"
        raise InputError(
            f"An attack needs questions on what was forgotten; groups found: {found}. "
            "Give --questions forget=PATH, or say --sides NAME=forget, and others such as --questions kept=PATH for "
            "what must stay."
        )
    return groups


def read_texts(files: Mapping[str, str], text_field: str) -> dict[str, tuple[str, ...]]:
    """The user's own texts by use.

    Raises:
        InputError: A use is unknown, or a source cannot be read.
    """
    texts = {}
    for name, source in files.items():
        if name not in TEXTS:
            raise InputError(f"--texts {name}= is unknown.{nearest_hint(name, TEXTS)} Known: {', '.join(TEXTS)}.")
        documents = read_corpus([source], text_field=text_field, role=name).documents
        texts[name] = tuple(document.as_text() for document in documents)
    return texts


def make_settings(
    pair: ModelPair,
    groups: Mapping[str, Sequence[Question]],
    texts: Mapping[str, tuple[str, ...]],
    budget: Budget,
    *,
    seeds: Sequence[int],
    sides: Mapping[str, Side] = NOTHING_DECLARED,
    loading: Loading,
    reporter: Reporter,
) -> list[AttackSetting]:
    """One per seed; they share the models.

    Raises:
        InputError: There are too few facts, or nothing is left to relearn.
    """
    assert pair.base is not None
    # What the user named is looked through before a model is.
    halves = [(seed, _Asked.of(groups, texts, budget, seed, sides)) for seed in seeds]
    subjects = {"base": _subject(pair.base, loading), "result": _subject(pair.model, loading)}
    tokenizer = load_tokenizer(pair.model, trust_remote_code=loading.trust_remote_code)
    return [
        AttackSetting(
            subjects=subjects,
            tokenizer=tokenizer,
            given=asked.given,
            tested=asked.tested,
            kept=asked.kept,
            kept_given=asked.kept_given,
            texts=asked.texts,
            paraphrases=asked.paraphrases,
            budget=budget,
            seed=seed,
            reporter=reporter,
        )
        for seed, asked in halves
    ]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Asked:
    """What the seed decides; fields as in `AttackSetting`."""

    given: tuple[Question, ...]
    tested: tuple[Question, ...]
    kept: Mapping[str, tuple[Question, ...]]
    kept_given: tuple[Question, ...]
    texts: Mapping[str, tuple[str, ...]]
    paraphrases: tuple[Question, ...]

    @classmethod
    def of(
        cls,
        groups: Mapping[str, Sequence[Question]],
        texts: Mapping[str, tuple[str, ...]],
        budget: Budget,
        seed: int,
        sides: Mapping[str, Side],
    ) -> "_Asked":
        forget = [question for name, group in groups.items() if side_of(name, sides) == "forget" for question in group]
        given, tested = split_halves(forget, budget, seed)
        facts = {fact_of(question) for question in tested}
        others = {name: group for name, group in groups.items() if name != PARAPHRASE}
        kept, kept_given = choose_kept(others, budget, seed, sides)
        return cls(
            given=tuple(given),
            tested=tuple(tested),
            kept=kept,
            kept_given=kept_given,
            texts=_without_answers(texts, tested),
            paraphrases=tuple(question for question in groups.get(PARAPHRASE, ()) if fact_of(question) in facts),
        )


def _without_answers(texts: Mapping[str, tuple[str, ...]], tested: Sequence[Question]) -> Mapping[str, tuple[str, ...]]:
    """The user's texts, those to relearn without what holds an answer that is tested."""
    if "relearn" not in texts:
        return texts
    answers = {right_answer(question) for question in tested}
    left = tuple(text for text in texts["relearn"] if not any(holds(text, answer) for answer in answers))
    if not left:
        raise InputError("Every text to relearn holds an answer that is tested. Give texts on half of the facts.")
    return {**texts, "relearn": left}


def identity_of(setting: AttackSetting) -> str:
    """Hash of what all numbers depend on, but the weights (each number's key names them) and what is swept over."""
    budget = dataclasses.asdict(setting.budget)
    del budget["rates"], budget["tunings"]
    asked = (*setting.given, *setting.tested, *setting.paraphrases, *setting.kept_given)
    parts = [
        _VERSION, [dataclasses.asdict(question) for question in asked],
        {name: [dataclasses.asdict(question) for question in group] for name, group in setting.kept.items()},
        {name: list(texts) for name, texts in setting.texts.items()}, budget, setting.seed,
        [setting.subjects["result"].device, setting.subjects["result"].dtype],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _subject(path: Path, loading: Loading) -> Subject:
    shards = {shard: file_sha256(path / shard) for shard in open_checkpoint(path).shards}
    digest = hashlib.sha256(json.dumps(shards, sort_keys=True).encode()).hexdigest()[:16]
    return Subject(
        path,
        digest=digest,
        device=loading.device,
        dtype=loading.dtype,
        trust_remote_code=loading.trust_remote_code,
    )
