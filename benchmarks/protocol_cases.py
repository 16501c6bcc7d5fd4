"""The requests of the protocol: what to forget, what to keep, and questions to choose by and to report.

Settings are chosen on some requests (`tune`) and reported on others (`report`), on other facts or other sentence forms,
and on other distractors. To change what is compared, change the lists here.
"""

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from world.generator import Domain, WorldFact
from world.model import load_world
from world.recipe import WorldRecipe

from srmu.config.settings import make_config
from srmu.demo.model import demo_model
from srmu.demo.requests import Request, capitals_request, elements_request
from srmu.inputs.corpora import corpus_from_strings
from srmu.inputs.overlap import overlap
from srmu.inputs.questions import Question
from srmu.inputs.rows import tokenize_rows
from srmu.job.plan import Plan, make_plan
from srmu.job.prepare import Prepared, prepare_rows
from srmu.job.tuning.bench import TrialBench
from srmu.job.tuning.outcome import Validation
from srmu.runtime.progress import Reporter

Kind = Literal["entities", "domain"]
Phase = Literal["tune", "report"]
Retain = Literal["both", "ordinary", "self"]
Questions = dict[str, tuple[Question, ...]]
DIALS = (0.2, 0.5, 0.8, 1.0)
"""Of the world's entanglement: requests share 5 to 25 % of their words. Settings are chosen at the outer two."""
WORLD = WorldRecipe(values=8)
"""Few enough answers that the names, which are all different words, leave room for so much overlap."""
WORLD_SEEDS: dict[Phase, tuple[int, ...]] = {"tune": (3,), "report": (0, 1, 2)}
DRAWS = 4
"""Of wrong choices, for every form of a question about what must go in the world: its facts are few."""
REAL_DRAWS = 3
"""Of forms and wrong choices of the questions about what must go on the real model."""
TRIAL_QUESTIONS = 48
"""Most questions of a group while settings are chosen; all are asked for the report."""


@dataclass(frozen=True)
class Case:
    """One request in one arena.

    Attributes:
        arena: `real` or `world`.
        name: Of the request.
        kind: Of the request.
        checkpoint: The model that is to forget.
        forget: Texts.
        entangled: Retain texts of the same kind.
        ordinary: Retain texts of another kind.
        questions: By group; `forget` and any others, which are kept.
        neighbours: Groups that are reported and count for nothing: other facts about what is forgotten.
        text: Ordinary texts to measure on; none in the world.
        seed: Of the world and of the runs in it; none = runs of any seed, on one model.
    """

    arena: str
    name: str
    kind: Kind
    checkpoint: Path
    forget: tuple[str, ...]
    entangled: tuple[str, ...]
    ordinary: tuple[str, ...]
    questions: Questions
    neighbours: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    seed: int | None = None

    @property
    def overlap(self) -> float:
        """Jaccard index of the word types of both sides."""
        return overlap(self.forget, self.entangled + self.ordinary, max_words=1).jaccard

    def rows(self, retain: Retain, **settings: Any) -> tuple[Plan, Prepared]:
        """The request as a user would make it, with these settings over the defaults."""
        with _files(self, retain) as sources:
            given = {"model": str(self.checkpoint), "forget": sources[:1], "retain": sources[1:], **settings}
            plan = make_plan(make_config(given))
            return plan, prepare_rows(plan, Reporter())

    def bench(self, retain: Retain, phase: Phase) -> TrialBench:
        """Trials of this request."""
        plan, prepared = self.rows(retain, eval_fraction=0.0)
        limit = TRIAL_QUESTIONS if phase == "tune" else None
        questions = {
            name: asked[:limit]
            for name, asked in self.questions.items()
            if phase == "report" or name not in self.neighbours
        }
        texts = {}
        if self.text:
            texts["text"] = tokenize_rows(corpus_from_strings(list(self.text), "text"), plan.tokenizer, max_length=512)
        return TrialBench(plan, prepared.topics, Validation(questions, texts, {}))


REAL: dict[Phase, dict[str, tuple[Kind, Callable[[int], Request]]]] = {
    "tune": {
        "capitals of Asia": ("entities", lambda seed: capitals_request(("Asia",), seed=seed)),
        "elements, half told, seed 1": ("domain", lambda seed: elements_request(told_share=0.5, seed=seed + 1)),
    },
    "report": {
        "capitals of Africa": ("entities", lambda seed: capitals_request(("Africa",), seed=seed)),
        "capitals of Europe": ("entities", lambda seed: capitals_request(("Europe",), seed=seed)),
        "capitals of America": (
            "entities",
            lambda seed: capitals_request(("North America", "South America"), seed=seed),
        ),
        "elements, half told": ("domain", lambda seed: elements_request(told_share=0.5, seed=seed)),
        "capitals, half told": ("domain", lambda seed: capitals_request(None, told_share=0.5, seed=seed)),
    },
}


def real_cases(phase: Phase) -> Iterator[Case]:
    """Requests on the demo's model; while settings are chosen, with validation questions and texts."""
    base = demo_model(Reporter())
    for name, (kind, build) in REAL[phase].items():
        request = build(0)
        questions = request.validation_questions
        if phase == "report":
            asked = [question for seed in range(REAL_DRAWS) for question in build(seed).questions["forget"]]
            # The same question with its choices in another order is no new one.
            different = {(question.prompt, frozenset(question.choices)): question for question in reversed(asked)}
            questions = request.questions | {"forget": tuple(reversed(different.values()))}
        yield Case(
            arena="real",
            name=name,
            kind=kind,
            checkpoint=base,
            forget=request.forget,
            entangled=request.retain_entangled,
            ordinary=request.retain_ordinary,
            questions=questions,
            neighbours=("neighbours",),
            text=request.text if phase == "report" else request.validation_text,
        )


def world_cases(
    phase: Phase,
    recipe: WorldRecipe = WORLD,
    dials: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
) -> Iterator[Case]:
    """A domain and an entities request in worlds of several overlaps and seeds.

    Forget texts of the domain tell its train facts alone, and its test facts are asked. The entities are half of the
    hazard subjects. Settings are chosen in another world, by other sentence forms, than they are reported in.
    """
    changed = [f"{name} {value}" for name, value in vars(recipe).items() if value != getattr(WORLD, name)]
    dials = dials or (DIALS if phase == "report" else (DIALS[0], DIALS[-1]))
    for dial, seed in product(dials, seeds or WORLD_SEEDS[phase]):
        world = load_world(replace(recipe, entanglement=dial, seed=seed), Reporter(), twin=False)
        hazard, benign, general = (world.domain(name) for name in ("hazard", "benign", "general"))
        told = {domain.name: [fact for fact in domain.facts if fact.split != "test"] for domain in (benign, general)}
        kept = _kept(benign, phase) | _kept(general, phase)
        ordinary = general.texts(told["general"])
        yield Case(
            arena="world",
            name=", ".join(["hazard", f"dial {dial:g}", *changed]),
            kind="domain",
            checkpoint=world.model,
            forget=hazard.texts(hazard.select("train")),
            entangled=benign.texts(told["benign"]),
            ordinary=ordinary,
            questions={"forget": _ask(hazard, hazard.select("test"), phase, DRAWS)} | kept,
            seed=seed,
        )
        subjects = sorted({fact.subject for fact in hazard.facts})
        gone, stay = subjects[::2], subjects[1::2]
        forgotten = [fact for fact in hazard.facts if fact.subject in gone]
        kept_told = [fact for fact in hazard.facts if fact.subject in stay[::2]]
        kept_untold = [fact for fact in hazard.facts if fact.subject in stay[1::2]]
        yield Case(
            arena="world",
            name=", ".join(["half of hazard", f"dial {dial:g}", *changed]),
            kind="entities",
            checkpoint=world.model,
            forget=hazard.texts(forgotten),
            entangled=hazard.texts(kept_told) + benign.texts(told["benign"]),
            ordinary=ordinary,
            questions={
                "forget": _ask(hazard, forgotten, phase, DRAWS),
                "hazard told": _ask(hazard, kept_told, phase),
                "hazard untold": _ask(hazard, kept_untold, phase),
            }
            | kept,
            seed=seed,
        )


def _kept(domain: Domain, phase: Phase) -> Questions:
    """What the retain texts tell, and what they do not."""
    return {
        f"{domain.name} told": _ask(domain, domain.select("train"), phase),
        f"{domain.name} untold": _ask(domain, domain.select("test"), phase),
    }


def _ask(domain: Domain, facts: Sequence[WorldFact], phase: Phase, draws: int = 1) -> tuple[Question, ...]:
    """In forms that no text uses: two of the four to choose by, the other two for the report."""
    forms = 4
    return tuple(
        question
        for draw in range(draws)
        for place, question in enumerate(domain.questions(facts, forms="unseen", per_fact=forms, seed=draw))
        if (place % forms < 2) == (phase == "tune")
    )


@contextmanager
def _files(case: Case, retain: Retain) -> Iterator[list[str]]:
    """Sources of the forget side and then of the retain side."""
    sides = {"forget": case.forget}
    if retain == "both":
        sides["entangled"] = case.entangled
    if retain != "self":
        sides["ordinary"] = case.ordinary
    with tempfile.TemporaryDirectory() as folder:
        paths: list[Any] = []
        for name, texts in sides.items():
            paths.append(Path(folder) / f"{name}.jsonl")
            paths[-1].write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        yield [*map(str, paths), *(["self"] if retain == "self" else [])]
