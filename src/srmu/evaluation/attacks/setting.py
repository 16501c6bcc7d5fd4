"""What every attack is given: the result and its base, questions in two halves, and a budget."""

import gc
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from srmu.config.groups import Side
from srmu.errors import InputError
from srmu.evaluation.attacks.outcome import NotApplicable
from srmu.evaluation.model_pair import load_for_measuring
from srmu.evaluation.questions import QuestionScores, score_questions
from srmu.inputs.questions import Question
from srmu.results.sides import NOTHING_DECLARED, side_of
from srmu.runtime.progress import Reporter
from srmu.runtime.stable_order import stable_rank

SIDES = ("base", "result")
TUNINGS = ("full", "lora")
_LEAST_FACTS = 4
_NEEDS_KEPT = "it needs questions on two or more kept facts: give another group with --questions NAME=PATH"


@dataclass(frozen=True, kw_only=True)
class Budget:
    """How much an attack may spend."""

    name: str
    steps: tuple[int, ...]
    """Steps of fine-tuning after which the model is asked; the last one ends it."""
    rates: tuple[float, ...]
    """Learning rates of full fine-tuning."""
    tunings: Mapping[str, tuple[str, ...]]
    """Material to relearn -> ways to fine-tune on it."""
    facts: int
    """Facts a group that are asked at most."""
    kept_questions: int
    """Questions of each kept group that are asked beside an attack, and as many that an attacker is given."""
    samples: int
    """Answers drawn to each question."""
    prompt_steps: tuple[int, ...]
    """Steps of training a soft prompt after which the model is asked."""
    search_steps: tuple[int, ...]
    """Steps of searching words by gradient after which the model is asked."""
    search_candidates: int
    """Candidates that are tried in each of these steps."""


QUICK = Budget(
    name="quick", steps=(8, 16), rates=(2e-5,), facts=40, kept_questions=16, samples=8, prompt_steps=(20, 40),
    search_steps=(5, 10), search_candidates=16,
    tunings={
        "half": ("full", "lora"), "mixed": ("full",), "kept": ("full",), "kind": ("full",), "false": ("full",),
    },
)  # fmt: skip
FULL = Budget(
    name="full", steps=(10, 30, 60, 100), rates=(5e-6, 1.6e-5, 5e-5, 1.6e-4), facts=100,
    kept_questions=48, samples=32, prompt_steps=(50, 100, 200, 400),
    search_steps=(10, 25, 50), search_candidates=32,
    tunings=dict.fromkeys(("half", "mixed", "kept", "kind", "false"), ("full", "lora")),
)  # fmt: skip


@dataclass
class Subject:
    """A model under attack: loaded when asked for, and kept until a copy to change is needed."""

    path: Path
    digest: str = ""
    """Names its weights among kept numbers."""
    device: str = "auto"
    dtype: str = "auto"
    trust_remote_code: bool = False
    _loaded: Any = None

    def model(self) -> Any:
        """The model in eval mode, to be read only."""
        if self._loaded is None:
            self._loaded = self._load(self.dtype)
        return self._loaded

    def fresh(self, dtype: str | None = None) -> Any:
        """Another copy, for an attack that changes it; the one that was kept is dropped."""
        self.drop()
        return self._load(dtype or self.dtype)

    def drop(self) -> None:
        """Give the memory back."""
        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _load(self, dtype: str) -> Any:
        # Whole in memory, since attacks hook into layers and change weights.
        loaded = load_for_measuring(
            self.path, device=self.device, dtype=dtype, memory_gb=math.inf, trust_remote_code=self.trust_remote_code
        )
        return loaded.model


@dataclass(frozen=True, kw_only=True)
class AttackSetting:
    """Everything an attack reads.

    Attributes:
        subjects: `base` and `result`.
        tokenizer: Of both.
        given: Forget questions whose facts an attacker is given, and on which it chooses among variants.
        tested: Forget questions on the other facts, on which every attack is judged.
        kept: Questions of each kept group, which are asked beside an attack.
        kept_given: Questions on other kept facts, which an attacker is given.
        texts: Texts of the user by use: `relearn`, `kept`, `kind`, `forget`, `unseen`.
        paraphrases: The tested facts asked in the user's own words; empty = frames are put around the questions.
        budget: `QUICK` or `FULL`.
        seed: Of every random choice.
        reporter: Hears of progress.
    """

    subjects: Mapping[str, Subject]
    tokenizer: Any
    given: tuple[Question, ...]
    tested: tuple[Question, ...]
    kept: Mapping[str, tuple[Question, ...]]
    kept_given: tuple[Question, ...]
    texts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    paraphrases: tuple[Question, ...] = ()
    budget: Budget
    seed: int
    reporter: Reporter

    @property
    def chance(self) -> float:
        """Accuracy of guessing on the tested questions."""
        return chance_of(self.tested)

    @property
    def choosing(self) -> tuple[Question, ...]:
        """One question on each given fact: what an attacker tries variants on."""
        return tuple({fact_of(question): question for question in self.given}.values())

    def ask(self, model: Any, questions: Sequence[Question]) -> QuestionScores:
        """Scores of a model."""
        return score_questions(model, self.tokenizer, questions)

    def ask_kept(self, model: Any) -> dict[str, float]:
        """Accuracy on each kept group."""
        return {name: self.ask(model, questions).accuracy for name, questions in self.kept.items()}

    def all_kept(self) -> tuple[Question, ...]:
        """The kept groups' questions in one.

        Raises:
            NotApplicable: If there is none.
        """
        if not self.kept:
            raise NotApplicable(_NEEDS_KEPT)
        return tuple(question for questions in self.kept.values() for question in questions)

    def needed_kept_given(self) -> tuple[Question, ...]:
        """The kept facts that an attacker is given.

        Raises:
            NotApplicable: If there is none.
        """
        if not self.kept_given:
            raise NotApplicable(_NEEDS_KEPT)
        return self.kept_given


def fact_of(question: Question) -> str:
    """The key of the fact that is asked; where the file gives none, the right answer takes its place."""
    return question.fact or question.choices[question.answer]


def relation_of(question: Question) -> str:
    """What is asked of the subject, where the fact's key is `relation:subject`; else empty."""
    return question.fact.rpartition(":")[0].strip()


def right_answer(question: Question) -> str:
    """Its text."""
    return question.choices[question.answer]


def holds(text: str, answer: str) -> bool:
    """Whether the text holds the answer as words of its own."""
    return re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text) is not None


def chance_of(questions: Sequence[Question]) -> float:
    """Accuracy of guessing."""
    return sum(1 / len(question.choices) for question in questions) / len(questions)


def split_halves(questions: Sequence[Question], budget: Budget, seed: int) -> tuple[list[Question], list[Question]]:
    """Half of the facts for the attacker and half to test, with all their questions; at most `budget.facts` facts.

    Raises:
        InputError: If fewer than four facts are asked.
    """
    facts = sorted({fact_of(question) for question in questions}, key=lambda fact: stable_rank(seed, "asked", fact))
    facts = facts[: budget.facts]
    if len(facts) < _LEAST_FACTS:
        raise InputError(
            f"An attacker is given half of the forgotten facts, and the other half is tested; the forget questions ask "
            f"{len(facts)}. Give questions on {_LEAST_FACTS} or more, with a key 'fact' each."
        )
    facts.sort(key=lambda fact: stable_rank(seed, "told", fact))
    given = set(facts[: len(facts) // 2])
    tested = set(facts[len(facts) // 2 :])
    return [q for q in questions if fact_of(q) in given], [q for q in questions if fact_of(q) in tested]


def choose_kept(
    groups: Mapping[str, Sequence[Question]],
    budget: Budget,
    seed: int,
    sides: Mapping[str, Side] = NOTHING_DECLARED,
) -> tuple[dict[str, tuple[Question, ...]], tuple[Question, ...]]:
    """Questions on what is to be kept: those asked, by group, and others that an attacker is given; no fact is in both.

    At most `budget.kept_questions` of each group on either side.
    """
    asked: dict[str, tuple[Question, ...]] = {}
    given: list[Question] = []
    for name, group in groups.items():
        facts = sorted({fact_of(question) for question in group}, key=lambda fact: stable_rank(seed, "kept", fact))
        if side_of(name, sides) != "kept" or len(facts) < 2:
            continue
        place = {fact: number for number, fact in enumerate(facts)}
        ranked = sorted(group, key=lambda question: place[fact_of(question)])
        half = len(facts) // 2
        asked[name] = tuple([q for q in ranked if place[fact_of(q)] < half][: budget.kept_questions])
        given += [q for q in ranked if place[fact_of(q)] >= half][: budget.kept_questions]
    return asked, tuple(sorted(given, key=lambda q: stable_rank(seed, "kept order", q.prompt)))
