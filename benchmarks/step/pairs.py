"""Both sides step by step in turn, so that what else the machine does meets both alike."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
# Losses agree to rounding, which AdamW's first steps blow up where a gradient is nearly zero. The plain side keeps its
# weights in bfloat16 where the model does, as published code does, and a step of AdamW is then rounded away in part; so
# there the retain loss, which is made of such steps alone, is compared with the forget loss's size.
LOSS_TOLERANCE = {"float32": (1e-3, 0.0), "bfloat16": (1e-2, 1e-3)}
"""Of a loss itself, and of the forget loss."""


class Side:
    """A process that waits for commands."""

    def __init__(self, kind: str, task: Path):
        command = [sys.executable, str(HERE / "side.py"), kind, str(task)]
        environment = {**os.environ, "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, command: str) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("One side of the benchmark ended early; its message stands above.")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self.process.communicate()


def compare(task: Path, pairs: int, *, with_floor: bool = False, more_steps: int = 0) -> dict[str, Any]:
    """Run one step to warm up and `pairs` steps of each side in turn.

    Args:
        task: See `write_task`.
        pairs: Steps that are compared.
        with_floor: Measure the floor after each pair.
        more_steps: Of the engine alone, afterwards.

    Returns:
        Medians of the step times, of their ratio pair by pair, and of the share of the floor reached; peaks; and the
        engine's seconds over all of its steps with what it prepared.

    Raises:
        SystemExit: If the losses of the two sides differ.
    """
    tolerance = LOSS_TOLERANCE[json.loads(task.read_text())["shape"]["dtype"]]
    sides = {kind: Side(kind, task) for kind in ("plain", "engine")}
    try:
        prepared = sides["engine"].ask("prepare")["seconds"]
        rounds = []
        for number in range(pairs + 1):
            order = ("plain", "engine") if number % 2 else ("engine", "plain")
            answers = {kind: sides[kind].ask("step") for kind in order}
            _check_losses(answers, number + 1, tolerance)
            floor = sides["engine"].ask("floor") if with_floor else {}
            rounds.append((answers, floor))
        rest = [sides["engine"].ask("step")["seconds"] for _ in range(more_steps)]
    finally:
        for side in sides.values():
            side.close()
    whole = prepared + sum(answers["engine"]["seconds"] for answers, _ in rounds) + sum(rest)
    return {**_summary(rounds[1:], rounds[-1][0]), "prepare_seconds": prepared, "whole_seconds": whole}


def _check_losses(answers: dict[str, dict[str, Any]], step: int, tolerance: tuple[float, float]) -> None:
    own, of_forget = tolerance
    least = of_forget * abs(answers["plain"]["losses"][0]) + 1e-12
    for name, plain, engine in zip(
        ("forget", "retain"), answers["plain"]["losses"], answers["engine"]["losses"], strict=True
    ):
        if abs(plain - engine) > own * abs(plain) + least:
            raise SystemExit(f"The {name} losses of step {step} differ: plain {plain!r}, engine {engine!r}.")


def _summary(rounds: list[Any], last: dict[str, dict[str, Any]]) -> dict[str, Any]:
    def median(values: Any) -> float:
        return statistics.median(values)

    seconds = {kind: [answers[kind]["seconds"] for answers, _ in rounds] for kind in ("plain", "engine")}
    ratios = [plain / engine for plain, engine in zip(seconds["plain"], seconds["engine"], strict=True)]
    peaks = {kind: last[kind]["peak_bytes"] for kind in ("plain", "engine")}
    summary = {
        "pairs": len(rounds),
        "plain_seconds": median(seconds["plain"]),
        "engine_seconds": median(seconds["engine"]),
        "step_ratio": median(ratios),
        "step_ratio_range": [min(ratios), max(ratios)],
        "plain_mb": peaks["plain"] / 1e6,
        "engine_mb": peaks["engine"] / 1e6,
        "memory_ratio": peaks["engine"] / peaks["plain"],
        "losses": last["engine"]["losses"],
    }
    floors = [floor for _, floor in rounds if floor]
    if floors:
        reached = [floor["floor_seconds"] / taken for floor, taken in zip(floors, seconds["engine"], strict=True)]
        summary["floor_fraction"] = median(reached)
        for key in floors[0]:
            summary[key] = median(floor[key] for floor in floors)
    return summary
