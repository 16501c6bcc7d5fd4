"""One side of the comparison, in a process of its own: reads commands from stdin, answers in JSON lines.

    python benchmarks/step/side.py plain|engine TASK.json

Commands: `prepare`, `step`, `floor`.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from engine import EngineRun
from floor import measure_floor
from memory import PeakMemory
from plain import PlainRun
from transformers import LlamaForCausalLM  # noqa: F401  both sides hold the same libraries before memory is counted


def main() -> None:
    """Serve one side until stdin ends."""
    kind, task = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    rows = json.loads(Path(task["rows"]).read_text())
    device = torch.device(task["device"])
    memory = PeakMemory(task["device"])
    run: Any = (PlainRun if kind == "plain" else EngineRun)(task, rows)
    peak = memory.above_baseline()
    answer: dict[str, Any]
    for line in sys.stdin:
        if line.strip() == "floor":
            answer = measure_floor(task)
        else:
            started = time.perf_counter()
            losses = getattr(run, line.strip())()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds = time.perf_counter() - started
            # What `floor` allocates between two steps is not the engine's.
            peak = max(peak, memory.above_baseline())
            answer = {"seconds": seconds, "losses": losses, "peak_bytes": peak}
        print(json.dumps(answer), flush=True)
        memory.restart()


if __name__ == "__main__":
    main()
