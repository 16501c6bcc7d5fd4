"""The protocol: do SRMU and the default forget better than the published methods and their peers, at equal effort?

    python benchmarks/protocol.py --out runs/protocol --budget 20        # tunes and reports everything; resumable
    python benchmarks/protocol.py --quick                               # one request of each kind, beside the published
    python benchmarks/protocol.py --settled --retain ordinary self --out runs/retain     # other retain texts
    python benchmarks/protocol.py --arenas world --shape name_syllables=2 --out runs/shape

For each arena, kind of request and method: `--budget` trials on the tuning requests (Optuna's TPE, layers among what is
searched; the last ones bracket the best one's retain weight), then the best points of the Pareto front on the report's
requests, over seeds. Every result is a line of `cells.jsonl` in `--out`; what is there is not computed again, and
processes with the same `--out` and different `--arenas`, `--kinds` or `--methods` share the work. `protocol.json`,
`protocol.md` and `protocol.png` are made of all lines there are.
"""

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import yaml
from cells import read_cells
from protocol_cases import DIALS, WORLD, Case, Kind, Phase, Retain, real_cases, world_cases
from protocol_plot import plot
from protocol_rows import against, make_rows, markdown, merged
from protocol_whole import run_whole

from srmu.config.presets import PUBLISHED
from srmu.errors import RunError
from srmu.evaluation.measure import Measurement
from srmu.job.tuning.bench import TrialBench
from srmu.job.tuning.outcome import KEPT, judge, shortfall
from srmu.job.tuning.search import choose_settings
from srmu.job.tuning.space import SPACE, Key, search_space, suggest, to_settings
from srmu.runtime.progress import Reporter

METHODS: dict[str, dict[str, Any]] = {
    "rmu": {**PUBLISHED, "method": "rmu"},
    "adaptive-rmu": {**PUBLISHED, "method": "adaptive-rmu"},
    **{f"srmu {name}": {**PUBLISHED, "importance_map": name} for name in ("ratio", "difference", "product")},
    "default": {},
    "robust": {"preset": "robust"},
    "auto": {},
    "default tuned": {},
    "gradient-difference": {},
    "npo": {},
}
UNTUNED = ("default", "robust", "auto")
WHOLE = ("gradient-difference", "npo")
WHOLE_STEPS = {"real": 60, "world": 100}
"""At most: a step of the whole real model takes about eight seconds on one core, so that it wants a GPU."""
KEYS = [key for key in SPACE if key != "importance_map"]
WORLD_SPACE = {
    "layer": Key(1, 5, step=1), "steps": Key(160, 640, step=160), "retain_weight": Key(20, 400, log=True),
    "steering_coefficient": Key(1.5, 6, log=True), "learning_rate": Key(0.5, 2, log=True),
}  # fmt: skip
"""Narrower, since few trials are made, but with all layers but the first of six; for all methods alike."""
ARENAS: dict[str, Callable[[Phase], Iterator[Case]]] = {"real": real_cases, "world": world_cases}
REFINED, STRIDE = 4, 3.0
"""The last trials of a budget change the best one's retain weight alone, by this factor until it is bracketed."""
DONE = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL)
RESULTS = Path(__file__).parent / "results"


def tune(
    arena: str, kind: Kind, method: str, benches: list[TrialBench], budget: int, points: int, out: Path
) -> list[dict[str, Any]]:
    """Settings of the best points of the front, best first."""
    study = optuna.create_study(
        directions=["minimize", "maximize"],
        sampler=optuna.samplers.TPESampler(seed=0),
        storage=f"sqlite:///{out / 'studies.db'}",
        study_name=f"{arena}, {kind}, {method}",
        load_if_exists=True,
    )
    rate = benches[0].automatic_rate
    space = search_space(benches[0].plan, KEYS) | (WORLD_SPACE if arena == "world" else {})
    while len(done := study.get_trials(states=DONE)) < budget:
        trial = study.ask()
        found = [(t.user_attrs["settings"], *t.values) for t in done if t.values]
        settings = refined(found) if found and len(done) >= budget - REFINED else None
        if settings is None:
            whole = method in WHOLE
            settings = whole_settings(trial, arena) if whole else to_settings(suggest(trial, space), rate)
        trial.set_user_attr("settings", settings)
        try:
            outcomes = [judge(b.base, run(b, method, settings, 0)[0], b.validation) for b in benches]
        except RunError:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
            continue
        study.tell(trial, [sum(o.remaining for o in outcomes) / len(outcomes), min(o.kept for o in outcomes)])
    front = sorted(study.best_trials, key=lambda trial: (shortfall(*trial.values), trial.values))
    return [trial.user_attrs["settings"] for trial in front[:points]]


def whole_settings(trial: optuna.Trial, arena: str) -> dict[str, Any]:
    """What is searched where the whole model is trained."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 3e-6, 3e-4, log=True),
        "retain_weight": trial.suggest_float("retain_weight", 0.1, 30, log=True),
        "steps": trial.suggest_int("steps", 20, WHOLE_STEPS[arena], step=20),
    }


def refined(found: list[tuple[dict[str, Any], float, float]]) -> dict[str, Any] | None:
    """The best trial with another retain weight, where it should just keep enough; none if that was tried.

    Few random trials lie near the line at which methods are compared.
    """
    best = min(found, key=lambda trial: (shortfall(*trial[1:]), trial[1:]))[0]

    def others(settings: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in settings.items() if name != "retain_weight"}

    own = [(t["retain_weight"], remaining, kept) for t, remaining, kept in found if others(t) == others(best)]
    harsh = [weight for weight, _, kept in own if kept < KEPT]
    gentle = [weight for weight, _, kept in own if kept >= KEPT]
    if harsh and gentle:
        weight = math.sqrt(max(harsh) * min(gentle))
    else:
        weight = max(harsh) * STRIDE if harsh else min(gentle) / STRIDE
    weight = float(f"{weight:.3g}")
    return None if weight in [own_weight for own_weight, _, _ in own] else {**best, "retain_weight": weight}


def run(bench: TrialBench, method: str, settings: dict[str, Any], seed: int) -> tuple[Measurement, float]:
    """Scores and seconds of training."""
    if method in WHOLE:
        return run_whole(bench, method, settings, seed)
    result = bench.run({**METHODS[method], **settings}, seed)
    return result.measurement, result.training_seconds


def report(case: Case, retain: Retain, tuned: dict[str, Any], methods: list[str], seeds: int, file: Path) -> None:
    """Run what is missing of one request, and append it."""
    done = {_key(cell) for cell in read_cells(file)}
    bench, overlap = None, case.overlap
    for method in methods:
        key = f"{case.arena}, {case.kind}, {method}"
        if method == "auto":
            points = [automatic(case, retain, file)]
        elif method not in UNTUNED and key not in tuned:
            print(f"{key}: no tuned settings are committed, left out", flush=True)
            continue
        else:
            points = [{}] if method in UNTUNED else tuned[key]
        for point, settings in enumerate(points):
            for seed in range(seeds) if case.seed is None else [case.seed]:
                cell: dict[str, Any] = {
                    "arena": case.arena, "kind": case.kind, "case": case.name, "retain": retain, "overlap": overlap,
                    "method": method, "point": point, "seed": seed, "settings": settings,
                }  # fmt: skip
                if _key(cell) in done:
                    continue
                bench = bench or case.bench(retain, "report")
                scores, seconds = run(bench, method, settings, seed)
                cell |= {"seconds": round(seconds, 3), "neighbours": case.neighbours, **measured(bench.base, scores)}
                with file.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps(cell) + "\n")
                print(f"{case.arena}, {case.name}, {retain}: {method}, point {point}, seed {seed}", flush=True)


def automatic(case: Case, retain: Retain, file: Path) -> dict[str, Any]:
    """What `--search` chooses from the texts of this request; found among the cells where they have it."""
    for cell in read_cells(file):
        own = (cell["arena"], cell["case"], cell["retain"], cell["method"]) == (case.arena, case.name, retain, "auto")
        if own and case.seed in (None, cell["seed"]):
            return dict(cell["settings"])
    record = choose_settings(*case.rows(retain, search=True, request=case.kind), Reporter()).record
    return dict(record["trials"][record["chosen"]]["settings"])


def measured(base: Measurement, result: Measurement) -> dict[str, Any]:
    """Question by question, so that intervals can be clustered by fact."""
    groups = {}
    for name, scores in result.questions.items():
        before = base.questions[name]
        groups[name] = {
            "facts": list(scores.facts),
            "base": before.correct_norm.astype(int).tolist(),
            "right": scores.correct_norm.astype(int).tolist(),
            "base_nll": before.answer_nll.round(4).tolist(),
            "nll": scores.answer_nll.round(4).tolist(),
        }
    text = {"base": base.texts["text"].nll, "result": result.texts["text"].nll} if "text" in result.texts else None
    return {"groups": groups, "text": text}


def _key(cell: dict[str, Any]) -> str:
    names = ("arena", "case", "retain", "method", "point", "seed", "settings")
    return json.dumps([cell[name] for name in names], sort_keys=True)


def main() -> None:
    """Tune, report, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/protocol"))
    parser.add_argument("--budget", type=int, default=20, help="trials a method, arena and kind of request")
    parser.add_argument("--points", type=int, default=3, help="points of each method's front that are reported")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--arenas", nargs="+", choices=list(ARENAS), default=list(ARENAS))
    parser.add_argument("--kinds", nargs="+", choices=("entities", "domain"), default=["entities", "domain"])
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--requests", type=int, default=0, help="of each kind, at most so many; 0 = all")
    parser.add_argument("--retain", nargs="+", choices=("both", "ordinary", "self"), default=["both"])
    parser.add_argument("--dials", nargs="+", type=float, default=[], help="of the worlds that are reported")
    parser.add_argument("--shape", nargs="+", default=[], metavar="KEY=VALUE", help="of worlds unlike the usual ones")
    parser.add_argument("--table", action="store_true", help="only the table and picture of the cells in --out")
    parser.add_argument("--publish", action="store_true", help="put the rows into benchmarks/results/protocol.json")
    parser.add_argument("--settled", action="store_true", help="committed settings, nothing is tuned")
    parser.add_argument("--quick", action="store_true", help="committed settings, one request of each kind, one seed")
    arguments = parser.parse_args()
    settled = arguments.settled or arguments.quick or arguments.shape
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    arguments.out.mkdir(parents=True, exist_ok=True)
    started, file = time.perf_counter(), arguments.out / "cells.jsonl"
    for arena in [] if arguments.table else arguments.arenas:
        tuned = json.loads((RESULTS / "tuned.json").read_text(encoding="utf-8")) if settled else {}
        for kind in [] if settled else arguments.kinds:
            cases = [case for case in ARENAS[arena]("tune") if case.kind == kind][: arguments.requests or None]
            benches = [case.bench("both", "tune") for case in cases]
            for bench, case in zip(benches[1:], cases[1:], strict=True):
                if case.checkpoint == cases[0].checkpoint:
                    # One whole model is enough: it is put back after every trial.
                    bench.model = benches[0].model
            for method in arguments.methods:
                if method not in UNTUNED:
                    tuned[f"{arena}, {kind}, {method}"] = tune(
                        arena, kind, method, benches, arguments.budget, arguments.points, arguments.out
                    )
        reported: Counter[str] = Counter()
        limit = 1 if arguments.quick else arguments.requests
        for case in reported_cases(arena, arguments):
            if case.kind not in arguments.kinds or (limit and reported[case.kind] == limit):
                continue
            reported[case.kind] += 1
            for retain in arguments.retain:
                report(case, retain, tuned, arguments.methods, 1 if arguments.quick else arguments.seeds, file)
        if not settled:
            merge_tuned(arguments.out / "tuned.json", tuned)
    cells = read_cells(file)
    rows = make_rows(cells)
    (arguments.out / "protocol.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    (arguments.out / "protocol.md").write_text(markdown(rows), encoding="utf-8")
    plot(cells, arguments.out / "protocol.png")
    published = json.loads((RESULTS / "protocol.json").read_text(encoding="utf-8"))
    if arguments.quick:
        print(against(rows, published))
    if arguments.publish:
        rows = merged(rows, published)
        (RESULTS / "protocol.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print(markdown(rows), f"\n{(time.perf_counter() - started) / 3600:.2f} hours")


def reported_cases(arena: str, arguments: argparse.Namespace) -> Iterator[Case]:
    """The requests of the table; a quick run and worlds of another shape have the largest overlap alone."""
    if arena == "real":
        return real_cases("report")
    shape = {key: yaml.safe_load(value) for key, value in (part.split("=", 1) for part in arguments.shape)}
    dials = arguments.dials or (DIALS[-1:] if arguments.quick or shape else DIALS)
    return world_cases("report", replace(WORLD, **shape), dials, seeds=(0,) if arguments.quick else None)


def merge_tuned(file: Path, tuned: dict[str, Any]) -> None:
    """Settings of this process over those that are there; copy the file to `benchmarks/results/` for `--quick`."""
    known = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    file.write_text(json.dumps(known | tuned, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
