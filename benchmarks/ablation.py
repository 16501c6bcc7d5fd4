"""What each part of SRMU is worth: the paper's ablation, and the points that the sources leave open.

    python benchmarks/ablation.py --out runs/ablation --arenas world real --seeds 3

One setting at a time is changed in SRMU with the ratio map, at the settings that the protocol chose for it
(`benchmarks/results/tuned.json`; nothing is tuned here). All targets are equally long, as `strength` says; those marked
"same c" have the coefficient that makes the unchanged target so long, so that theirs are longer or shorter. Every
result is a line of `cells.jsonl` in `--out`; what is there is not computed again. `ablation.json` has the means.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from cells import read_cells
from protocol import METHODS, RESULTS, measured
from protocol_cases import DIALS, Case, real_cases, world_cases
from protocol_rows import worst_kept

from srmu.job.tuning.bench import TrialBench
from srmu.objective.importance import ActivationSums
from srmu.solver.frozen import FrozenRows
from srmu.solver.gradient import GradientSolver
from srmu.solver.targets import TargetMaker

VARIANTS: dict[str, dict[str, Any]] = {
    "as published": {},
    "no map": {"importance_map": "none"},
    "V all plus": {"misdirection": "plus"},
    "V all minus": {"misdirection": "minus"},
    "V uniform": {"misdirection": "uniform"},
    "difference map": {"importance_map": "difference"},
    "product map": {"importance_map": "product"},
    "statistic rms": {"statistic": "rms"},
    "statistic signed": {"statistic": "signed"},
    "map of the whole corpus": {"map_scope": "corpus"},
    "map as a running mean": {"map_scope": "running"},
    "sinks counted": {"skip_sinks": False},
    "specific tokens": {"forget_tokens": "specific"},
    "signs of each token's own in half of V": {"per_token_signs": 0.5},
    "signs of each token's own in all of V": {"per_token_signs": 1.0},
    "last steps averaged": {"weight_averaging": 0.3},
}
SAME_C = ("no map", "V all plus", "V all minus", "V uniform")
ONE_LAYER = "layer l alone"
UPDATED = "map of the updated model"


class UpdatedMapSolver(GradientSolver):
    """Takes a step's map from the model as it is by then; the target's length stays that of frozen activations."""

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self.target_maker = _UpdatedMaps(self)


class _UpdatedMaps(TargetMaker):
    def __init__(self, solver: GradientSolver):
        maker = solver.target_maker
        super().__init__(maker.config, maker.hidden_size, maker.dtype, maker.device, maker.reach)
        self.solver = solver

    @torch.no_grad()
    def own_sums(self, groups: Sequence[FrozenRows]) -> ActivationSums:
        solver = self.solver
        weights = solver._by_layer(solver._compute_weights())
        moved = [replace(group, output=solver.replayer.replay(group.entry, weights)) for group in groups]
        return replace(super().own_sums(moved), norms=super().own_sums(groups).norms)


def cases(arena: str) -> Iterator[Case]:
    """One request of each kind; of the world that of the largest overlap."""
    found = real_cases("report") if arena == "real" else world_cases("report", dials=DIALS[-1:])
    kinds = set()
    for case in found:
        if case.kind not in kinds:
            kinds.add(case.kind)
            yield case


def variants(bench: TrialBench, settings: dict[str, Any], seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and settings of every variant."""
    yield from VARIANTS.items()
    yield ONE_LAYER, {"trained_layers": [settings["layer"]]}
    yield UPDATED, {}
    solver = bench.train({**METHODS["srmu ratio"], **settings, "seed": seed, "map_scope": "corpus"}).solver
    topic = solver.topics[0]
    assert topic.importance is not None
    assert topic.fitter.forget is not None
    length = topic.steering_coefficient * float(topic.fitter.forget.mean_norm)
    same = {
        "coefficient_unit": "absolute",
        "steering_coefficient": length / float((topic.direction * topic.importance).norm()),
    }
    for name in SAME_C:
        yield f"{name}, same c", {**VARIANTS[name], **same}


def table(cells: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = defaultdict(list)
    for cell in cells:
        groups[cell["arena"], cell["kind"], cell["case"], cell["variant"]].append(cell)
    return [
        {
            "arena": arena,
            "request": kind,
            "case": case,
            "variant": variant,
            "seeds": sorted(cell["seed"] for cell in found),
            "forget": round(float(np.mean([np.mean(cell["groups"]["forget"]["right"]) for cell in found])), 4),
            "kept": round(worst_kept(found), 4),
        }
        for (arena, kind, case, variant), found in groups.items()
    ]


def main() -> None:
    """Run what is missing, and write the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--arenas", nargs="+", choices=("world", "real"), default=["world", "real"])
    parser.add_argument("--kinds", nargs="+", choices=("entities", "domain"), default=["entities", "domain"])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "cells.jsonl"
    tuned = json.loads((RESULTS / "tuned.json").read_text(encoding="utf-8"))
    for arena in arguments.arenas:
        for case in cases(arena):
            if case.kind not in arguments.kinds:
                continue
            settings = tuned[f"{arena}, {case.kind}, srmu ratio"][0]
            bench = case.bench("both", "report")
            for seed in range(arguments.seeds):
                done = {(c["arena"], c["case"], c["variant"], c["seed"]) for c in read_cells(file)}
                for name, changes in variants(bench, settings, seed):
                    if (arena, case.name, name, seed) in done:
                        continue
                    solver = patch("srmu.job.tuning.bench.GradientSolver", UpdatedMapSolver)
                    with solver if name == UPDATED else nullcontext():
                        result = bench.run({**METHODS["srmu ratio"], **settings, **changes}, seed)
                    cell = {
                        "arena": arena, "kind": case.kind, "case": case.name, "variant": name, "seed": seed,
                        "settings": {**settings, **changes}, "neighbours": case.neighbours,
                        **measured(bench.base, result.measurement),
                    }  # fmt: skip
                    with file.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps(cell) + "\n")
                    print(f"{arena}, {case.name}, {name}, seed {seed}", flush=True)
    rows = table(read_cells(file))
    (arguments.out / "ablation.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    print("| arena | request | variant | forget | kept |\n|---|---|---|---|---|")
    for row in rows:
        print(f"| {row['arena']} | {row['request']} | {row['variant']} | {row['forget']:.3f} | {row['kept']:.3f} |")


if __name__ == "__main__":
    main()
