"""Record the golden trajectories: `make golden`. A change that claims not to touch the maths leaves them alone."""

import json
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy
import torch
import transformers

from families import save_family
from tiny_runs import finish, make_solver

FOLDER = Path(__file__).parent
METHODS = ("rmu", "adaptive-rmu", "srmu")
STEPS = 8
KEYS = ("forget_loss", "retain_loss", "gradient_norm", "target_norm")


def environment() -> dict[str, Any]:
    """Where numbers were made; they may differ by rounding elsewhere."""
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": numpy.__version__,
        "threads": torch.get_num_threads(),
        "dtype": "float32",
    }


def trajectory(method: str, checkpoint: Path) -> list[dict[str, float]]:
    """What each step of a short run on the tiny Llama reports."""
    records = finish(make_solver(checkpoint, method=method, steps=STEPS))
    return [{key: record[key] for key in KEYS} for record in records]


def main() -> None:
    """Write one file a method."""
    with tempfile.TemporaryDirectory() as folder:
        checkpoint = save_family("llama", folder)
        for method in METHODS:
            content = {"environment": environment(), "method": method, "steps": trajectory(method, checkpoint)}
            (FOLDER / f"{method}.json").write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
