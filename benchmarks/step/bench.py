"""The step against a plain implementation: `make bench` (docs/background/performance.md).

    python benchmarks/step/bench.py [--pairs 7]

A random Llama-shaped checkpoint of 32 layers, layer 7 tapped, 4 x 256 fresh tokens a side and step, nothing cached.
RMU and SRMU are both measured; the last line is one JSON object in which `step_ratio` is the smaller of their two
ratios, `memory_ratio` the larger and `floor_fraction` that of SRMU, whose step needs all that the engine computes. With
a CUDA device the shapes are those of zephyr-7b-beta in bfloat16; `--device cpu` forbids that.
"""

import argparse
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

import torch
from pairs import compare
from shapes import STANDARD, ZEPHYR, Shape, write_checkpoint, write_rows, write_task


def measure(shape: Shape, method: str, folder: Path, pairs: int, device: str, *, with_floor: bool) -> dict[str, Any]:
    """Compare both sides on a new checkpoint in `folder`, or on the one that an earlier call left there."""
    model = folder / "model" if (folder / "model").exists() else write_checkpoint(shape, folder, device)
    rows = write_rows(shape, pairs + 1, folder)
    task = write_task(folder, model, rows, shape, pairs + 1, method=method, device=device)
    return compare(task, pairs, with_floor=with_floor)


def describe_machine(device: str) -> str:
    """Processor, threads and versions, for the record."""
    name = torch.cuda.get_device_name() if device == "cuda" else _processor()
    return f"{name}, {torch.get_num_threads()} threads, torch {torch.__version__}, {platform.platform()}"


def choose_device(asked: str) -> str:
    """`cuda` where there is one and nothing else was asked for."""
    if asked != "auto":
        return asked
    return "cuda" if torch.cuda.is_available() else "cpu"


def show(title: str, result: dict[str, Any]) -> None:
    """Print one comparison."""
    print(
        f"{title}: plain {result['plain_seconds']:.2f} s and {result['plain_mb']:.0f} MB, "
        f"engine {result['engine_seconds']:.3f} s and {result['engine_mb']:.0f} MB a step; "
        f"{result['step_ratio']:.2f} times as fast ({result['step_ratio_range'][0]:.2f} to "
        f"{result['step_ratio_range'][1]:.2f}), {100 * result['memory_ratio']:.0f} % of the memory"
    )
    if "floor_fraction" in result:
        print(
            f"  floor {result['floor_seconds']:.3f} s (products {result['products_seconds']:.3f} at "
            f"{result['operations_per_second'] / 1e9:.0f} Gop/s, attention {result['attention_seconds']:.3f}, "
            f"exponentials {result['exponentials_seconds']:.3f}, memory {result['memory_seconds']:.3f} at "
            f"{result['bytes_per_second'] / 1e9:.1f} GB/s): {100 * result['floor_fraction']:.0f} % reached"
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7, help="Steps of each side, in turn.")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda.")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    shape = ZEPHYR if device == "cuda" else STANDARD
    print(describe_machine(device))
    with tempfile.TemporaryDirectory() as folder:
        results = {}
        for method in ("rmu", "srmu"):
            results[method] = measure(shape, method, Path(folder), arguments.pairs, device, with_floor=method == "srmu")
            show(method.upper(), results[method])
    line = {
        "step_ratio": round(min(result["step_ratio"] for result in results.values()), 3),
        "memory_ratio": round(max(result["memory_ratio"] for result in results.values()), 3),
        "floor_fraction": round(results["srmu"]["floor_fraction"], 3),
        "load_average": round(os.getloadavg()[0], 2),
    }
    if device == "cuda":
        tokens = (shape.forget_batch_size + shape.retain_batch_size) * shape.max_length
        line["tokens_per_second"] = round(tokens / results["srmu"]["engine_seconds"])
    print(json.dumps(line))


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


if __name__ == "__main__":
    main()
