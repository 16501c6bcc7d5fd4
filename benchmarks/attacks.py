"""Does forgetting survive relearning? The protocol of docs/background/limits.md in both arenas.

    python benchmarks/attacks.py --arena world --methods methods.yaml --seeds 0 1 2 --robust mine
    python benchmarks/attacks.py --arena real --methods methods.yaml --seeds 0 1 2

`methods.yaml` gives each method's settings over the tool's defaults, for example

    rmu: {method: rmu}
    srmu: {}
    srmu, distilled: {distil: {noise: 0.5, steps: 1200, learning_rate: 1.0e-3}}

The untouched base, and in the world's domain request the twin that never saw the facts, stand beside them. Real: the
demo's requests on its model. World: a `domain` request (all hazard facts) and an `entities` request (half of the
subjects), on the train and test splits, so that settings may be chosen on the validation split.

Every method is made and attacked with every seed: full fine-tuning and LoRA on half of the facts, half mixed with kept
ones, kept ones alone, and facts that were never true, learning rates over a factor of 30, up to 100 steps (the full
budget of `srmu attack`). Accuracies are averaged over seeds before the worst rate and step are chosen, among those at
which the base keeps 80 % of its accuracy. A second call goes on where the first one stopped. Rows of other arenas,
requests and methods that stand in the file are kept.
"""

import argparse
import dataclasses
import json
import os
import platform
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from distil import distil
from world.model import World, load_world
from world.recipe import WorldRecipe

from srmu.demo.model import demo_model
from srmu.demo.requests import REQUESTS
from srmu.evaluation.attacks.outcome import counts, recovery
from srmu.evaluation.attacks.runner import attack
from srmu.inputs.questions import Question
from srmu.job.unlearn import unlearn
from srmu.results.attack_records import AttackRecord, CurvePoint
from srmu.results.run_files import MANIFEST_FILE, MODEL_DIR
from srmu.runtime.devices import choose_device, device_name
from srmu.runtime.files import write_json_atomic
from srmu.runtime.progress import Reporter
from srmu.runtime.stable_order import stable_rank

WORLD_RATES = (3e-5, 1e-4, 3e-4, 1e-3)
"""The world's small models were trained at up to 1e-3; the real model's rates would not move them."""
ATTACKS = ("relearn", "relearn_control", "relearn_matched")
QUESTIONS_A_FACT = 4
_BEFORE = ("chance", "forget_before", "base_before")
_AFTER = ("forget_after", "base_after")
Record = dict[str, Any]
Records = Mapping[str, AttackRecord]
"""Of one result, by attack."""


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


def real_case(name: str, seed: int) -> Case:
    """One of the demo's requests on its model."""
    request = REQUESTS[name](seed)
    retain = {"entangled": request.retain_entangled, "ordinary": request.retain_ordinary}
    return Case(demo_model(Reporter()), None, request.forget, retain, request.questions)


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


def make_result(case: Case, texts: Mapping[str, str], settings: Record, run: Path, seed: int) -> str:
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


def attack_case(
    case: Case, methods: Mapping[str, Record], home: Path, seed: int, *, quick: bool, tunings: Sequence[str] = ()
) -> dict[str, Records]:
    """Each method's records of all attacks; base curves are computed once for all."""
    texts, questions = write_case(case, home / "texts")
    found = {}
    for name in ("base", *(["twin"] if case.twin else []), *methods):
        if name == "base":
            result = str(case.base)
        elif name == "twin":
            result = str(case.twin)
        else:
            result = make_result(case, texts, methods[name], home / name, seed)
        report = attack(
            result, base=str(case.base), questions=questions, only=ATTACKS, full=not quick, learning_rates=case.rates,
            tunings=tunings, seed=seed, cells_file=home / "cells.json",
        )  # fmt: skip
        found[name] = report.records
        print(f"{home.name} {name}: {summary(report.records['relearn'])}", flush=True)
    return found


def summary(record: AttackRecord) -> str:
    """One attack for the terminal."""
    if record.status != "result":
        return f"{record.status}: {record.detail}"
    numbers = {key: getattr(record, key) for key in ("forget_before", *_AFTER, "recovery", "utility")}
    shown = ", ".join(f"{key} {number:.3f}" for key, number in numbers.items() if number is not None)
    return f"{shown}, {record.worst}"


def rows_of(
    arena: str, request: str, by_seed: Mapping[int, Mapping[str, Records]], robust: Sequence[str]
) -> list[Record]:
    """A row a method and attack, and one for its worst relearning (`relearn`)."""
    rows = []
    for method in next(iter(by_seed.values())):
        entries = [records[method] for records in by_seed.values()]
        about: Record = {"arena": arena, "request": request, "method": method}
        more: Record = {"seeds": sorted(by_seed), "robust": method in robust}
        relearned: list[Record] = [about | row | more for row in averaged([entry["relearn"] for entry in entries])]
        control = [about | row | more for row in averaged([entry["relearn_control"] for entry in entries])]
        valid = [row for row in relearned if row["recovery"] is not None]
        if valid:
            worst = max(valid, key=lambda row: row["recovery"])
            rows.append({**worst, "attack": "relearn", "worst_of": worst["attack"]})
        rows += relearned + control + [about | row | more for row in matched([e["relearn_matched"] for e in entries])]
    return rows


def averaged(records: Sequence[AttackRecord]) -> list[Record]:
    """A row for each material and way: the rate and step whose mean accuracies over seeds give the largest recovery."""
    # Where no step left the base enough, there are curves but no verdict.
    records = [record for record in records if record.cells]
    if not records:
        return []
    means = {key: mean([getattr(record, key) for record in records]) for key in _BEFORE}
    utilities = [record.utility for record in records if record.utility is not None]
    points: dict[tuple[str, str], dict[tuple[float, int], list[CurvePoint]]] = {}
    for record in records:
        for cell in record.cells:
            group = points.setdefault((cell.material, cell.tuning), {})
            for point in cell.curve:
                group.setdefault((cell.learning_rate, point.step), []).append(point)
    rows = []
    for (material, tuning), group in points.items():
        candidates = []
        for (rate, step), found in group.items():
            after, base = mean([point.forget for point in found]), mean([point.base for point in found])
            if len(found) == len(records) and counts(means["base_before"], base, means["chance"]):
                candidates.append((recovery(after, base, means["chance"]), after, base, rate, step))
        best = max(candidates, default=(None,) * 5)
        rows.append(
            {
                "attack": f"relearn_{material}_{tuning}",
                **means,
                **dict(zip(("recovery", *_AFTER, "learning_rate", "steps"), best, strict=True)),
                "utility": mean(utilities) if utilities else None,
                "n": records[0].n,
            }
        )
    return rows


def matched(records: Sequence[AttackRecord]) -> list[Record]:
    """A row for relearning at equal disturbance: means over the seeds' worst cells, where each seed has one."""
    if not all(record.status == "result" for record in records):
        return []
    keys = (*_BEFORE, *_AFTER, "recovery", "utility", "n")
    return [{"attack": "relearn_matched", **{key: mean([getattr(record, key) for record in records]) for key in keys}}]


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def main() -> None:
    """Run one arena and put its rows into the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arena", choices=("real", "world"), required=True)
    parser.add_argument("--methods", type=Path, required=True, help="YAML: method -> settings over the defaults")
    parser.add_argument("--only", nargs="+", default=[], help="of these methods; default: all")
    parser.add_argument("--label", default="", help="put behind the request's name, so that its other rows stay")
    parser.add_argument("--requests", nargs="+", help="real: africa elements; world: domain entities")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--robust", nargs="*", default=[], help="methods that are claimed to hold")
    parser.add_argument("--quick", action="store_true", help="the quick budget, for a look")
    parser.add_argument("--tunings", nargs="+", choices=("full", "lora"), default=[], help="default: the budget's")
    parser.add_argument("--rates", nargs="+", type=float, default=[], help="default: the budget's; world: its own four")
    parser.add_argument("--runs", type=Path, default=Path("runs/attacks"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/attacks.json"))
    arguments = parser.parse_args()
    methods = yaml.safe_load(arguments.methods.read_text(encoding="utf-8"))
    methods = {name: settings or {} for name, settings in methods.items() if name in (arguments.only or methods)}
    label = f", {arguments.label}" if arguments.label else ""
    requests = arguments.requests or (["africa", "elements"] if arguments.arena == "real" else ["domain", "entities"])
    world = None
    if arguments.arena == "world":
        world = load_world(WorldRecipe(), Reporter(), twin="domain" in requests)
    rows = []
    for request in requests:
        by_seed = {}
        for seed in arguments.seeds:
            case = real_case(request, seed) if world is None else world_case(world, request, seed)
            case = dataclasses.replace(case, rates=tuple(arguments.rates) or case.rates)
            home = arguments.runs / arguments.arena / f"{request}-{seed}"
            by_seed[seed] = attack_case(case, methods, home, seed, quick=arguments.quick, tunings=arguments.tunings)
        rows += rows_of(arguments.arena, request + label, by_seed, arguments.robust)
    named = [request + label for request in requests]
    write_rows(arguments.out, arguments.arena, named, rows, methods, "quick" if arguments.quick else "full")
    print(markdown(rows))


def write_rows(
    out: Path, arena: str, requests: Sequence[str], rows: Sequence[Record], methods: Mapping[str, Record], budget: str
) -> None:
    """Put rows into the file, in place of former ones of the same methods and requests, and how they were made."""
    record = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"rows": [], "made": []}
    replaced = {(row["arena"], row["request"], row["method"]) for row in rows}
    others = [row for row in record["rows"] if (row["arena"], row["request"], row["method"]) not in replaced]
    made = {
        "arena": arena,
        "requests": list(requests),
        "settings_over_defaults": methods,
        "command": shlex.join(["python", "benchmarks/attacks.py", *sys.argv[1:]]),
        "budget": budget,
        "machine": {
            "device": device_name(choose_device("auto")),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "system": platform.system(),
        },
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
    }
    same = ("arena", "requests", "settings_over_defaults")
    former = [one for one in record["made"] if any(one[key] != made[key] for key in same)]
    out.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(out, {"rows": [*others, *rows], "made": [*former, made]})


def markdown(rows: Sequence[Record]) -> str:
    """The table of docs/background/limits.md."""
    lines = [
        "| arena, request | method | attack | rate, steps | before | after | base after | recovery | utility |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if row["attack"] == "relearn":
            continue
        swept = f"{row['learning_rate']:.2g}, {row['steps']}" if row.get("learning_rate") else ""
        numbers = [row[key] for key in ("forget_before", "forget_after", "base_after", "recovery", "utility")]
        shown = " | ".join("" if number is None else f"{number:.2f}" for number in numbers)
        name = row["attack"].removeprefix("relearn_").replace("_", ", ")
        lines.append(f"| {row['arena']}, {row['request']} | {row['method']} | {name} | {swept} | {shown} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
