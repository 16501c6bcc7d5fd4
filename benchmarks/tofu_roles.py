"""Who is forgotten and who stays in the TOFU arena, and which models it has.

The arena knows 41 of TOFU's 200 authors: the twenty of `forget10`, and the 21 whose questions have wrong answers in
`retain_perturbed.jsonl`. The report forgets the former. Settings are chosen with roles exchanged, so that what is tuned
on is not what is reported, and both have a model that was trained without what is to be forgotten. Of the authors that
stay, every second one stands in the retain texts, and the others are told nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tofu_arena import QUESTIONS_AN_AUTHOR, TofuRecipe, arena_model, make_recipe, parse_authors, read_records

from srmu.evaluation.benchmarks.tofu_data import TofuData, TofuQuestion, read_tofu
from srmu.runtime.progress import Reporter

SPLIT = "forget10"
OTHERS, FORGET10 = "0-19,22", "180-199"
ADAPTERS = Path(__file__).parent / "results" / "tofu" / "adapters"
RECIPE: Mapping[str, Any] = {"lora_rank": 4, "learning_rate": 3e-3, "batch_rows": 4, "max_epochs": 12}


@dataclass(frozen=True, kw_only=True)
class Role:
    """Who is forgotten.

    Attributes:
        forget: Authors, in numbers and ranges.
        keep: Authors that stay.
        gold: Part of TOFU that the gold standard was trained on, as far as the arena has it, and its authors.
    """

    forget: str
    keep: str
    gold: tuple[str, str]


ALL = f"{OTHERS},{FORGET10}"
ROLES = {
    "tune": Role(forget=OTHERS, keep=FORGET10, gold=("full", FORGET10)),
    "report": Role(forget=FORGET10, keep=OTHERS, gold=("retain90", ALL)),
}


def arena_recipe(base: Path, folder: Path, part: str, authors: str) -> TofuRecipe:
    """The recipe of one of the arena's models."""
    return make_recipe(base, folder, part, authors=authors, **RECIPE)


def models(base: Path, folder: Path, role: Role, reporter: Reporter) -> tuple[Path, Path]:
    """The model to unlearn and the gold standard, made from their adapters or trained."""
    wanted = (("full", ALL), role.gold)
    found = [
        arena_model(base, folder, arena_recipe(base, folder, *key), adapters=ADAPTERS, reporter=reporter)
        for key in wanted
    ]
    return found[0], found[1]


def texts(folder: Path, role: Role) -> dict[str, list[dict[str, str]]]:
    """Records of questions and answers: `forget`, and `told`, of every second author that stays."""
    told = told_authors(role)
    records = read_records(folder / "full.jsonl", None)
    wanted = {"forget": parse_authors(role.forget), "told": told}
    return {
        name: [record for number, record in enumerate(records) if number // QUESTIONS_AN_AUTHOR in authors]
        for name, authors in wanted.items()
    }


def told_authors(role: Role) -> set[int]:
    """Those that stay and stand in the retain texts."""
    return set(sorted(parse_authors(role.keep))[::2])


def questions(folder: Path, role: Role, every_forgotten: int = 1, every_kept: int = 1) -> TofuData:
    """TOFU's four sets for a role.

    Args:
        folder: Of TOFU's JSONL files.
        role: Who is forgotten.
        every_forgotten: Every so many questions of what is forgotten.
        every_kept: The same of each other set.
    """
    data = read_tofu(folder, SPLIT)
    sets = dict(data.sets)
    if role.forget == OTHERS:
        sets["forget"], sets["retain"] = sets["retain"], sets["forget"]
    strides = {name: every_forgotten if name == "forget" else every_kept for name in sets}
    return replace(data, sets={name: found[:: strides[name]] for name, found in sets.items()})


def is_told(folder: Path, role: Role, asked: tuple[TofuQuestion, ...]) -> list[bool]:
    """Of each question, whether its author stands in the retain texts."""
    records = read_records(folder / "full.jsonl", None)
    author = {record["question"]: number // QUESTIONS_AN_AUTHOR for number, record in enumerate(records)}
    told = told_authors(role)
    return [author[entry.question] in told for entry in asked]
