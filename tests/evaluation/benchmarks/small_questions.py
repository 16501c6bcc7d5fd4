"""Small files in the schemas of WMDP, MMLU and RWKU, about nothing hazardous and nobody real."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

WORDS = ("river", "stone", "cloud", "author", "book", "novel", "award", "born", "city", "mother", "father", "winter")
SUBJECTS = ("Ada Quill", "Bram Oster")
ATTACKS = ("prefix injection", "affirmative suffix", "incontext learning", "reverse query")


def write_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def choice_record(rng: np.random.Generator, **more: Any) -> dict[str, Any]:
    choices = [" ".join(rng.choice(WORDS, int(size))) for size in rng.permutation([1, 2, 3, 4])]
    # A space at the end, as some of WMDP's questions have.
    return {
        "question": " ".join(rng.choice(WORDS, 6)) + "? ",
        "choices": choices,
        "answer": int(rng.integers(4)),
        **more,
    }


def write_wmdp(folder: Path, *, n: int = 16) -> Path:
    """All six parts: MMLU in one file, the robust variant in one for each topic."""
    rng = np.random.default_rng(0)
    for name in ("wmdp_bio", "wmdp_cyber", "wmdp_chem", "wmdp_bio_cloze"):
        write_lines(folder / f"{name}.jsonl", [choice_record(rng) for _ in range(n)])
    subjects = ["anatomy"] * (n // 2) + ["high_school_biology"] * (n // 2)
    write_lines(folder / "mmlu.jsonl", [choice_record(rng, subject=subject) for subject in subjects])
    for topic in ("dual_use_virology", "viral_vector_research"):
        write_lines(folder / "wmdp_bio_robust" / f"{topic}.jsonl", [choice_record(rng) for _ in range(n // 2)])
    return folder


def rwku_records() -> dict[str, list[dict[str, Any]]]:
    """Two records a person of every set; adversarial probes of four kinds."""
    rng = np.random.default_rng(1)

    def words(size: int) -> str:
        return " ".join(rng.choice(WORDS, size))

    def probes(level: int, kinds: Sequence[str]) -> list[dict[str, Any]]:
        return [
            {
                "query": f"{words(5)} of {person}?",
                "answer": words(2),
                "level": str(level),
                "type": kind,
                "subject": person,
            }
            for person in SUBJECTS
            for kind in kinds
        ]

    def each(make: Any) -> list[dict[str, Any]]:
        return [{**make(), "subject": person} for person in SUBJECTS for _ in range(2)]

    shots = [choice_record(rng) for _ in range(5)]
    return {
        "forget_level1": probes(1, ["cloze"] * 2),
        "forget_level2": probes(2, ["simple question"] * 2),
        "forget_level3": probes(3, ATTACKS),
        "neighbor_level1": probes(1, ["cloze"] * 2),
        "neighbor_level2": probes(2, ["simple question"] * 2),
        "mia_forget": each(lambda: {"text": words(12)}),
        "mia_retain": each(lambda: {"text": words(9)}),
        "utility_general": each(lambda: choice_record(rng, task="anatomy", examples=shots)),
        "utility_reason": each(
            lambda: {"question": words(6), "cot": "Q: one\nA: So the answer is two.", "answer": ["two"]}
        ),
        "utility_truthfulness": each(
            lambda: {
                "question": words(6),
                "mc1_targets": {"choices": [words(2), words(3), words(4)], "labels": [1, 0, 0]},
                "mc2_targets": {"choices": [words(2), words(3)], "labels": [1, 0]},
            }
        ),
        "utility_factuality": each(lambda: {"question": words(6), "answers": [words(1), words(2)]}),
        "utility_fluency": each(lambda: {"instruction": words(6)}),
    }  # fmt: skip


def write_rwku(folder: Path) -> Path:
    for name, records in rwku_records().items():
        write_lines(folder / f"{name}.jsonl", records)
    return folder
