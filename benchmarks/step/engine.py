"""The engine's side: what `srmu unlearn` does between loading and export."""

from pathlib import Path
from typing import Any

import torch

from srmu.config.groups import TargetConfig, TrainingConfig
from srmu.inputs.rows import TokenRows
from srmu.solver.gradient import GradientSolver
from srmu.solver.topics import TopicRows
from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.truncate import load_truncated


class EngineRun:
    """Takes the steps of a task one by one; see `PlainRun`."""

    def __init__(self, task: dict[str, Any], rows: dict[str, Any]):
        shape = task["shape"]
        layer = shape["layer"]
        truncated = load_truncated(
            open_checkpoint(Path(task["model"])),
            layer + 1,
            dtype=getattr(torch, shape["dtype"]),
            device=torch.device(task["device"]),
        )
        target = TargetConfig(
            method=task["method"],
            importance_map="ratio",
            coefficient_unit="absolute",
            map_epsilon=task["map_epsilon"],
            skip_sinks=False,
            forget_tokens="all",
        )
        training = TrainingConfig(
            learning_rate=task["learning_rate"],
            steps=task["steps"],
            forget_batch_size=shape["forget_batch_size"],
            retain_batch_size=shape["retain_batch_size"],
            cache_gb=task["cache_gb"],
            weight_averaging=0.0,
            seed=task["seed"],
        )
        topic = TopicRows(
            "bench",
            _token_rows(rows["forget"]),
            tuple(_token_rows(source) for source in rows["retain"]),
            task["steering_coefficient"],
            task["retain_weight"],
        )
        names = {layer_id: ["mlp.down_proj.weight"] for layer_id in range(layer - 2, layer + 1)}
        self.solver = GradientSolver(truncated, names, [topic], target, training, max_length=shape["max_length"])

    def prepare(self) -> None:
        """The frozen pass over rows that are read again, as far as the cache may grow."""
        self.solver.prepare()

    def step(self) -> tuple[float, float]:
        """One step; the forget and the retain loss before it."""
        records: list[dict[str, Any]] = []
        self.solver.step()
        self.solver.flush(records.extend)
        return records[0]["forget_loss"], records[0]["retain_loss"]


def _token_rows(rows: list[list[int]]) -> TokenRows:
    return TokenRows(tuple(torch.tensor(row, dtype=torch.int32) for row in rows), tuple(range(len(rows))))
