"""Ideas beyond the published target that the default does not have: each changes one thing in it (docs/log).

    python benchmarks/ideas.py --out runs/ideas --arenas world real --seeds 3

On the requests that settings are chosen on, with their validation questions, or on the report's; all else is the
default's. Every result is a line of `cells.jsonl` in `--out`; what is there is not computed again.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from cells import read_cells
from protocol import measured
from protocol_cases import DIALS, Case, Phase, real_cases, world_cases
from protocol_rows import worst_kept
from torch import Tensor

from srmu.objective.importance import ActivationSums
from srmu.objective.masked import widen
from srmu.solver.frozen import FrozenRows
from srmu.solver.gradient import GradientSolver
from srmu.solver.targets import TargetMaker
from srmu.solver.topics import TopicState

RIDGE = 0.1
"""Of the mean variance, added to every feature's before the covariance is inverted."""
RAMP = 0.5
"""Share of the steps in which the strength grows."""
LOOK_EVERY, HARD_SHARE = 40, 0.25
"""Steps between two looks at all retain rows, and the share of them that is then read more often."""


class Maker(TargetMaker):
    """The solver's own maker, to be changed in one thing."""

    def __init__(self, solver: GradientSolver):
        maker = solver.target_maker
        super().__init__(maker.config, maker.hidden_size, maker.dtype, maker.device, maker.reach)
        self.solver = solver


class IdeaSolver(GradientSolver):
    """With another maker of targets, which is made once frozen activations are there."""

    maker: Callable[[GradientSolver], Maker]

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """As the solver does, and then the other maker."""
        kept = super().prepare(progress)
        self.target_maker = type(self).maker(self)
        return kept

    def counted(self, row_ids: Sequence[int]) -> Iterator[Tensor]:
        """Frozen activations of counted tokens, `[tokens, hidden]`, some rows at a time."""
        for start in range(0, len(row_ids), 64):
            for group in self.store.get(row_ids[start : start + 64]):
                yield widen(group.output[group.token_mask])

    def sides(self) -> tuple[list[int], list[int]]:
        """All forget and all retain rows of the only topic."""
        (topic,) = self.topics
        return list(range(topic.forget_offset, topic.retain_offsets[0])), list(
            range(topic.retain_offsets[0], len(self.store.rows))
        )


class AxesMaker(Maker):
    """The map weighs the retain rows' principal axes instead of features, a few of which have massive activations."""

    def __init__(self, solver: Any):
        super().__init__(solver)
        moments = sum(hidden.double().T @ hidden.double() for hidden in solver.counted(solver.sides()[1]))
        self.axes = torch.linalg.eigh(moments).eigenvectors.to(self.dtype)
        for topic in solver.topics:
            topic.direction = topic.direction @ self.axes

    def own_sums(self, groups: Sequence[FrozenRows]) -> ActivationSums:
        """Along the axes."""
        return super().own_sums([replace(group, output=widen(group.output) @ self.axes) for group in groups])

    def targets(self, *arguments: Any) -> tuple[list[Tensor], Tensor]:
        """In features again."""
        targets, length = super().targets(*arguments)
        return [target @ self.axes.T for target in targets], length


class DiscriminantMaker(Maker):
    """The map is how much each feature tells forget tokens from retain ones: alone, or within the full discriminant."""

    full = False

    def __init__(self, solver: Any):
        super().__init__(solver)
        means, covariances = [], []
        for rows in solver.sides():
            hidden = torch.cat(list(solver.counted(rows))).double()
            means.append(hidden.mean(dim=0))
            covariances.append(hidden.T.cov())
        difference, pooled = means[0] - means[1], (covariances[0] + covariances[1]) / 2
        if self.full:
            pooled.diagonal().add_(RIDGE * pooled.diagonal().mean())
            weights = torch.linalg.solve(pooled, difference).abs()
        else:
            weights = difference.abs() / pooled.diagonal().sqrt().clamp(min=1e-9)
        self.importance = (weights / weights.max()).to(self.dtype)

    def make_map(self, topic: TopicState) -> None:
        """The same in every step."""
        topic.importance = self.importance


class FullDiscriminantMaker(DiscriminantMaker):
    """As a linear probe's weights, which are the same direction but for the ridge."""

    full = True


class RampMaker(Maker):
    """The strength grows from nothing."""

    def targets(self, *arguments: Any) -> tuple[list[Tensor], Tensor]:
        """As long as the step's share of the ramp."""
        targets, length = super().targets(*arguments)
        share = min(1.0, (self.solver.next_step + 1) / (RAMP * self.solver.training.steps))
        return [share * target for target in targets], share * length


class RowDirections:
    """Signs of its own for each forget row."""

    def __init__(self, hidden_size: int, seed: int):
        self.hidden_size, self.seed = hidden_size, seed

    def of(self, token_ids: Tensor) -> Tensor:
        """`[batch, seq, hidden]`; rows are told apart by their first tokens, since padding differs."""
        signs = []
        for row in token_ids.tolist():
            generator = np.random.Generator(np.random.PCG64([self.seed, *row[:12]]))
            signs.append(torch.from_numpy(generator.integers(0, 2, self.hidden_size) * 2.0 - 1.0))
        return torch.stack(signs)[:, None].expand(-1, token_ids.shape[1], -1).float()


class RowMaker(Maker):
    """A vector for each forget row, so that no single direction undoes the change."""

    def __init__(self, solver: GradientSolver):
        super().__init__(solver)
        for topic in solver.topics:
            topic.token_directions = RowDirections(self.hidden_size, self.seed)  # type: ignore[assignment]


class HardRowsSolver(IdeaSolver):
    """Half of a step's retain rows are drawn from the quarter that moved most when all were looked at."""

    maker = Maker
    hard: Sequence[int] = ()

    def step(self) -> None:
        """With a look at all retain rows now and then."""
        if self.next_step and self.next_step % LOOK_EVERY == 0:
            retain = self.sides()[1]
            moved = np.array([self._moved(row) for row in retain])
            self.hard = [retain[place] for place in np.argsort(-moved)[: round(HARD_SHARE * len(retain))]]
        super().step()

    def _row_ids(self, step: Any) -> tuple[list[int], list[int]]:
        forget, retain = super()._row_ids(step)
        if self.hard:
            generator = np.random.Generator(np.random.PCG64([self.training.seed, self.next_step]))
            retain[::2] = generator.choice(self.hard, len(retain[::2]), replace=False).tolist()
        return forget, retain

    @torch.no_grad()
    def _moved(self, row: int) -> float:
        (group,) = self.store.get([row])
        moved = self.replayer.replay(group.entry, self._by_layer(self._compute_weights()))
        return float((widen(moved) - widen(group.output))[group.token_mask].square().mean())


def made_by(maker: Callable[..., Maker]) -> type[GradientSolver]:
    """The solver with this maker of targets."""
    return type("Solver", (IdeaSolver,), {"maker": maker})


SAME = {"steps": "of the default"}
"""As many as the default took; without it a run ends where the loss has levelled off."""
AXES, RATIO = made_by(AxesMaker), {"importance_map": "ratio"}
IDEAS: dict[str, tuple[type[GradientSolver] | None, dict[str, Any]]] = {
    "alpha 100": (None, {"retain_weight": 100}),
    "difference map in the retain axes": (AXES, {}),
    "ratio map in the retain axes": (AXES, RATIO),
    "ratio map in the retain axes, alpha 100": (AXES, {**RATIO, "retain_weight": 100}),
    "ratio map in the retain axes, alpha 800": (AXES, {**RATIO, "retain_weight": 800}),
    "no map": (None, {"importance_map": "none", **SAME}),
    "map of how well a feature tells the sides apart": (made_by(DiscriminantMaker), SAME),
    "map of the full discriminant": (made_by(FullDiscriminantMaker), SAME),
    "a vector for each forget row": (made_by(RowMaker), SAME),
    "the strength grows over half of the steps": (made_by(RampMaker), SAME),
    "retain rows that moved most are read more often": (HardRowsSolver, SAME),
}


def cases(arena: str, phase: Phase) -> Iterator[Case]:
    """Those that settings are chosen on, of the world the largest overlap; or those of the report."""
    yield from real_cases(phase) if arena == "real" else world_cases(phase, dials=DIALS[-1:] if phase == "tune" else ())


def main() -> None:
    """Run what is missing, and print the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/ideas"))
    parser.add_argument("--arenas", nargs="+", choices=("world", "real"), default=["world", "real"])
    parser.add_argument("--ideas", nargs="+", choices=list(IDEAS), default=list(IDEAS))
    parser.add_argument("--phase", choices=("tune", "report"), default="tune", help="report: for what has won")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    file = arguments.out / "cells.jsonl"
    for arena in arguments.arenas:
        for case in cases(arena, arguments.phase):
            bench = case.bench("both", arguments.phase)
            # Each world of the report has its own seed.
            world_seeds = [case.seed] if arguments.phase == "report" and case.seed is not None else None
            for seed in world_seeds or range(arguments.seeds):
                done = {(c["arena"], c["case"], c["idea"], c["seed"]): c for c in read_cells(file)}
                steps = done.get((arena, case.name, "default", seed), {}).get("steps")
                for idea, (solver, changes) in {"default": (None, {}), **IDEAS}.items():
                    if idea not in ("default", *arguments.ideas):
                        continue
                    if (arena, case.name, idea, seed) in done:
                        continue
                    settings = {**changes, "seed": seed} | ({"steps": steps} if "steps" in changes else {})
                    with patch("srmu.job.tuning.bench.GradientSolver", solver) if solver else nullcontext():
                        trained = bench.train(settings)
                    if idea == "default":
                        steps = len(trained.metrics)
                    cell = {
                        "arena": arena, "kind": case.kind, "case": case.name, "idea": idea, "seed": seed,
                        "steps": len(trained.metrics), "neighbours": case.neighbours,
                        **measured(bench.base, bench.measure(trained.solver)),
                    }  # fmt: skip
                    with file.open("a", encoding="utf-8") as lines:
                        lines.write(json.dumps(cell) + "\n")
                    print(f"{arena}, {case.name}, {idea}, seed {seed}: {_numbers([cell])}", flush=True)
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for cell in read_cells(file):
        groups[cell["arena"], cell["case"], cell["idea"]].append(cell)
    print("| arena, request | idea | seeds | forget, kept |\n|---|---|---|---|")
    for (arena, name, idea), found in groups.items():
        print(f"| {arena}, {name} | {idea} | {len(found)} | {_numbers(found)} |")


def _numbers(cells: Sequence[dict[str, Any]]) -> str:
    forget = np.mean([np.mean(cell["groups"]["forget"]["right"]) for cell in cells])
    return f"{forget:.2f}, {worst_kept(cells):.1%}"


if __name__ == "__main__":
    main()
