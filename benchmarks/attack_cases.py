"""What benchmarks/attacks.py attacks: requests on the demo's model and in the synthetic benchmark, and runs of them."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distil import distil
from world.model import World

from srmu.demo.requests import REQUESTS
from srmu.inputs.questions import Question
from srmu.job.unlearn import unlearn
from srmu.results.run_files import MANIFEST_FILE, MODEL_DIR
from srmu.runtime.stable_order import stable_rank

WORLD_RATES = (3e-5, 1e-4, 3e-4, 1e-3)
"""The world's small models were trained at up to 1e-3; the real model's rates would not move them."""
QUESTIONS_A_FACT = 4
KINDS = {"africa": "entities", "elements": "domain", "entities": "entities", "domain": "domain"}
"""Of requests by name: some of the entities of a kind, or a whole domain."""


@dataclass(frozen=True)
class Case:
    """One request with one seed: what to forget, what to keep, and what is asked.

    Attributes:
        base: Checkpoint to begin with.
        twin: Checkpoint that never saw the facts, or none.
        forget: Texts.
        retain: Texts by source.
        questions: By group; the first group is the forgotten one.
        corpus: To distil on: the forget texts, and texts of what must stay in all forms that the model once learned.
            None on the real model.
        rates: Learning rates of the attack; none = the budget's.
    """

    base: Path
    twin: Path | None
    forget: Sequence[str]
    retain: Mapping[str, Sequence[str]]
    questions: Mapping[str, Sequence[Question]]
    rates: tuple[float, ...] = ()
    corpus: Sequence[str] = ()


def real_case(base: Path, name: str, seed: int) -> Case:
    """One of the demo's requests on a real model."""
    request = REQUESTS[name](seed)
    retain = {"entangled": request.retain_entangled, "ordinary": request.retain_ordinary}
    return Case(base, None, request.forget, retain, request.questions)


def world_case(world: World, name: str, seed: int) -> Case:
    """The whole hazard domain, or half of its subjects."""
    hazard = world.domain("hazard")
    subjects = sorted({fact.subject for fact in hazard.facts}, key=lambda subject: stable_rank(seed, "gone", subject))
    gone = set(subjects if name == "domain" else subjects[: len(subjects) // 2])
    rest = [fact for fact in hazard.facts if fact.subject not in gone]
    retain = {"benign": world.texts["benign"], "general": world.texts["general"]}
    groups = {"forget": (hazard, [fact for fact in hazard.facts if fact.subject in gone])}
    groups |= {name: (world.domain(name), list(world.domain(name).facts)) for name in ("benign", "general")}
    if rest:
        retain["hazard"] = hazard.texts(rest)
        groups["hazard"] = (hazard, rest)
    questions = {
        group: domain.questions(
            [fact for fact in facts if fact.split != "validation"], forms="unseen", per_fact=QUESTIONS_A_FACT, seed=seed
        )
        for group, (domain, facts) in groups.items()
    }
    forget = hazard.texts([fact for fact in hazard.facts if fact.subject in gone])
    unseen = [text for domain in ("benign", "general") for text in world.domain(domain).texts(forms="unseen")]
    if rest:
        unseen += hazard.texts(rest, forms="unseen")
    corpus = [*forget, *(text for texts in retain.values() for text in texts), *unseen]
    return Case(world.model, world.twin if name == "domain" else None, forget, retain, questions, WORLD_RATES, corpus)


def write_case(case: Case, folder: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Texts and questions as files; their paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {name: str(folder / f"{name}.jsonl") for name in ("forget", *case.retain)}
    for name, documents in {"forget": case.forget, **case.retain}.items():
        lines = [json.dumps({"text": text}) + "\n" for text in documents]
        Path(texts[name]).write_text("".join(lines), encoding="utf-8")
    questions = {name: str(folder / f"questions-{name}.jsonl") for name in case.questions}
    for name, asked in case.questions.items():
        lines = [json.dumps(dataclasses.asdict(question)) + "\n" for question in asked]
        Path(questions[name]).write_text("".join(lines), encoding="utf-8")
    return texts, questions


def make_result(case: Case, texts: Mapping[str, str], settings: Mapping[str, Any], run: Path, seed: int) -> str:
    """A finished run of a method, made unless it is there; with `distil` in its settings the student's checkpoint."""
    settings = dict(settings)
    how = settings.pop("distil", None)
    if not (run / MANIFEST_FILE).exists():
        unlearn(
            model=str(case.base), forget=[texts["forget"]], retain=[texts[name] for name in case.retain], seed=seed,
            eval=False, eval_fraction=0.0, out=str(run), overwrite=True, **settings,
        )  # fmt: skip
    if how is None:
        return str(run)
    if not (run / "student").exists():
        distil(run / MODEL_DIR, case.corpus, run / "student", seed=seed, **how)
    return str(run / "student")
