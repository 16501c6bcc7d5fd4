"""Does forgetting hold? All attacks of `srmu attack` in their full budget, as rows of benchmarks/results/attacks.json.

    python benchmarks/attacks.py --arena real --methods benchmarks/attack_methods_real.yaml --requests africa --seeds 0
    python benchmarks/attacks.py --arena world --methods benchmarks/attack_methods_world.yaml --seeds 0 1 2
    python benchmarks/attacks.py --run default=runs/a --run erase=runs/b --request mine --kind entities

`methods.yaml` gives each method's settings over the tool's defaults, for example

    rmu: {method: rmu}
    default: {}
    default, distilled: {distil: {noise: 0.5, steps: 1200, learning_rate: 1.0e-3}}

Real: the demo's requests on its model, or with `--model` on another checkpoint. World: a `domain` request (all hazard
facts) and an `entities` request (half of the subjects), on the train and test splits, so that settings may be chosen
on the validation split. With `--run`, finished runs as they are, asked what they were measured by; `--gold` names a
checkpoint that never saw the facts, and the world's domain request has one.

Every method is made and attacked with every seed, and accuracies are averaged over seeds before the worst rate and step
are chosen, among those at which the base keeps 80 % of its accuracy. A row is written as soon as all seeds of a method
have an attack. A second call goes on where the first one stopped. Rows of other requests, methods and attacks that
stand in the file are kept.
"""

import argparse
import os
import platform
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
import yaml
from attack_cases import KINDS, WORLD_RATES, Case, make_result, real_case, world_case, write_case
from attack_rows import Row, rows_of_record, write_rows
from world.model import load_world
from world.recipe import WorldRecipe

from srmu.demo.model import CACHED_NAME, demo_model
from srmu.evaluation.attacks.registry import ATTACKS
from srmu.evaluation.attacks.runner import attack
from srmu.evaluation.attacks.seeds import over_seeds
from srmu.evaluation.model_pair import resolve_pair
from srmu.results.attack_records import AttackRecord
from srmu.runtime.devices import choose_device, device_name
from srmu.runtime.progress import Reporter

WORLD, DEMO = "synthetic benchmark", "SmolLM2-135M-Instruct"
GOLD = "retain-only retrained model"
RESULTS = Path(__file__).parent / "results" / "attacks.json"


@dataclass(frozen=True)
class Target:
    """What is attacked with one seed.

    Attributes:
        result: A run or a checkpoint.
        base: Checkpoint beside it; none = the run's own.
        questions: Files by group; empty = the run's own.
        rates: Learning rates; empty = the budget's.
        cells: Where finished parts are kept; methods of a request and seed share them.
    """

    result: str
    base: str | None
    questions: Mapping[str, str]
    rates: Sequence[float]
    cells: Path


Targets = Callable[[str, int], Target]
"""Of a method and a seed; makes the run where it is not there."""


def attack_all(
    targets: Targets,
    about: Mapping[str, Any],
    methods: Sequence[str],
    seeds: Sequence[int],
    names: Sequence[str],
    *,
    full: bool,
    tunings: Sequence[str],
    write: Callable[[list[Row]], None],
) -> None:
    """Every attack on every method; what is written first is what all seeds have first."""
    for name in names:
        gold = None
        for method in methods:
            found = [_attacked(targets(method, seed), name, seed, full=full, tunings=tunings) for seed in seeds]
            record = over_seeds(found)
            gold = record if method == GOLD else gold
            rows = rows_of_record(name, record, {**about, "method": method}, gold)
            write(rows)
            for line in [summary(row) for row in rows] or [f"{name}, {method}: {record.status}: {record.detail}"]:
                print(line, flush=True)


def _attacked(target: Target, name: str, seed: int, *, full: bool, tunings: Sequence[str]) -> AttackRecord:
    report = attack(
        target.result, base=target.base, questions=target.questions, only=[name], full=full,
        learning_rates=target.rates, tunings=tunings, seed=seed, cells_file=target.cells,
    )  # fmt: skip
    return report.records[name]


def summary(row: Row) -> str:
    """A row for the terminal."""
    keys = ("at", "learning_rate", "steps", "forget_before", "forget_after", "base_after", "recovery", "utility")
    numbers = ", ".join(f"{key} {row[key]:.3g}" for key in keys if row[key] is not None)
    return f"{row['request']}, {row['method']}, {row['attack']}: {numbers}"


def case_targets(
    make_case: Callable[[int], Case], methods: Mapping[str, Any], home: Path, rates: Sequence[float]
) -> Targets:
    """Of a request that is made here; `base` and the gold standard are methods too."""
    case_of = cache(make_case)

    @cache
    def target(method: str, seed: int) -> Target:
        case, folder = case_of(seed), home.with_name(f"{home.name}-{seed}")
        texts, questions = write_case(case, folder / "texts")
        known = {"base": str(case.base), GOLD: str(case.twin)}
        result = known.get(method) or make_result(case, texts, methods[method], folder / method, seed)
        return Target(result, str(case.base), questions, rates or case.rates, folder / "cells.json")

    return target


def run_targets(runs: Mapping[str, str], gold: str | None, out: Path, rates: Sequence[float]) -> Targets:
    """Finished runs; the gold standard is asked what the first one is."""
    first = resolve_pair(next(iter(runs.values())), None)

    def target(method: str, seed: int) -> Target:
        if method in runs:
            return Target(runs[method], None, {}, rates, out / "cells.json")
        assert gold is not None
        questions = {path.stem: str(path) for path in sorted((first.run_dir or Path()).glob("questions/*.jsonl"))}
        return Target(gold, str(first.base), questions, rates, out / "cells.json")

    return target


def main() -> None:
    """Attack what the flags name, and put the rows into the JSON file."""
    arguments = _arguments()
    names = [name for name in ATTACKS if name in (arguments.attacks or ATTACKS)]
    common: dict[str, Any] = {"full": not arguments.quick, "tunings": arguments.tunings}
    settings: dict[str, Any] = {}

    def write(rows: list[Row]) -> None:
        made = {
            "command": shlex.join(["python", "benchmarks/attacks.py", *sys.argv[1:]]),
            "settings_over_defaults": settings,
            "machine": {
                "device": device_name(choose_device("auto")),
                "cores": os.cpu_count(),
                "threads": torch.get_num_threads(),
                "system": platform.system(),
            },
            "versions": {"python": platform.python_version(), "torch": torch.__version__},
        }
        write_rows(arguments.out, rows, made)

    if arguments.run:
        runs = dict(pair.partition("=")[::2] for pair in arguments.run)
        model = arguments.model or str(resolve_pair(next(iter(runs.values())), None).base)
        about = {"model": model_name(Path(model)), "kind": arguments.kind, "request": arguments.request}
        targets = run_targets(runs, arguments.gold, arguments.runs, arguments.rates)
        methods = [*([GOLD] if arguments.gold else []), *runs]
        attack_all(targets, about, methods, arguments.seeds, names, write=write, **common)
        return
    chosen = yaml.safe_load(arguments.methods.read_text(encoding="utf-8"))
    settings |= {name: own or {} for name, own in chosen.items() if name in (arguments.only or chosen)}
    world = arguments.arena == "world"
    requests = arguments.requests or (["domain", "entities"] if world else ["africa", "elements"])
    base = Path() if world else Path(arguments.model) if arguments.model else demo_model(Reporter())
    grown = load_world(WorldRecipe(), Reporter(), twin="domain" in requests) if world else None
    for request in requests:
        about = {"model": WORLD if world else model_name(base), "kind": KINDS[request], "request": request}

        def make_case(seed: int, request: str = request) -> Case:
            return real_case(base, request, seed) if grown is None else world_case(grown, request, seed)

        home = arguments.runs / about["model"].replace(" ", "-") / request
        targets = case_targets(make_case, settings, home, arguments.rates or (WORLD_RATES if world else ()))
        first = ["base", *([GOLD] if world and request == "domain" else [])] if world else []
        attack_all(targets, about, [*first, *settings], arguments.seeds, names, write=write, **common)


def model_name(checkpoint: Path) -> str:
    """As the rows name it."""
    return DEMO if checkpoint.name == CACHED_NAME else checkpoint.name


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--arena", choices=("real", "world"), help="requests that are made here")
    what.add_argument("--run", action="append", metavar="METHOD=DIR", help="a finished run; repeatable")
    parser.add_argument("--methods", type=Path, help="YAML: method -> settings over the defaults; with --arena")
    parser.add_argument("--only", nargs="+", default=[], help="of these methods; default: all")
    parser.add_argument(
        "--requests", nargs="+", choices=list(KINDS), help="real: africa elements; world: domain entities"
    )
    parser.add_argument("--model", default="", help="real: another checkpoint than the demo's model")
    parser.add_argument("--request", default="", help="with --run: the request's name")
    parser.add_argument("--kind", default="entities", help="with --run: entities, domain, authors, ...")
    parser.add_argument("--gold", help="with --run: a checkpoint that never saw the facts")
    parser.add_argument("--attacks", nargs="+", choices=list(ATTACKS), metavar="NAME", help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="the quick budget, for a look")
    parser.add_argument("--tunings", nargs="+", choices=("full", "lora"), default=[], help="default: the budget's")
    parser.add_argument("--rates", nargs="+", type=float, default=[], help="default: the budget's; world: its own four")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/attacks"), help="where runs and finished parts are kept"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.arena and not arguments.methods:
        parser.error("--arena needs --methods")
    return arguments


if __name__ == "__main__":
    main()
