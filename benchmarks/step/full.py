"""How the cost of a step grows, and the demo's real model: `make bench-full` (docs/background/performance.md).

    python benchmarks/step/full.py [--pairs 5] [--only real]

Depth, width, row length and vocabulary grow one at a time from the shape of `bench.py`. Writes `runs/bench/growth.png`
and `runs/bench/results.json`.
"""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import choose_device, describe_machine, measure, show
from pairs import compare
from shapes import GROWTH, GROWTH_FIELDS, Shape, write_task

from srmu.config.settings import UnlearnConfig
from srmu.solver.stopping import LIKELY_STEPS

OUT = Path("runs/bench")
DEFAULT = UnlearnConfig()


def measure_growth(pairs: int, device: str) -> dict[str, list[dict[str, Any]]]:
    """Both sides at every shape of `GROWTH`; the one from which everything grows is measured once."""
    results: dict[str, list[dict[str, Any]]] = {}
    measured: dict[Shape, dict[str, Any]] = {}
    for name, shapes in GROWTH.items():
        for shape in shapes:
            value = asdict(shape)[GROWTH_FIELDS[name]]
            if shape not in measured:
                with tempfile.TemporaryDirectory() as folder:
                    measured[shape] = measure(shape, "srmu", Path(folder), pairs, device, with_floor=True)
                show(f"{name} {value}", measured[shape])
            results.setdefault(name, []).append({"value": value, **measured[shape]})
    return results


def measure_real_model(pairs: int, device: str) -> dict[str, Any]:
    """The demo's model and the request `africa`, with the default's numbers of rows and steps, and its longest row."""
    from transformers import AutoConfig

    from srmu.demo.model import demo_model
    from srmu.demo.requests import REQUESTS
    from srmu.evaluation.loading import load_tokenizer
    from srmu.inputs.corpora import corpus_from_strings
    from srmu.inputs.rows import tokenize_rows
    from srmu.runtime.progress import Reporter
    from srmu.surgery.layers import auto_layer

    path = demo_model(Reporter())
    config, tokenizer, request = AutoConfig.from_pretrained(path), load_tokenizer(path), REQUESTS["africa"]()
    shape = Shape(
        layers=config.num_hidden_layers,
        layer=auto_layer(config.num_hidden_layers),
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        kv_heads=config.num_key_value_heads,
        vocabulary=config.vocab_size,
        forget_batch_size=DEFAULT.training.forget_batch_size,
        retain_batch_size=DEFAULT.training.retain_batch_size,
        max_length=DEFAULT.data.max_length,
    )

    def tokenize(texts: tuple[str, ...]) -> list[list[int]]:
        rows = tokenize_rows(corpus_from_strings(texts, "retain"), tokenizer, max_length=shape.max_length)
        return [row.tolist() for row in rows.token_ids]

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.json"
        rows = {
            "forget": tokenize(request.forget),
            "retain": [tokenize(request.retain_entangled), tokenize(request.retain_ordinary)],
        }
        file.write_text(json.dumps(rows))
        task = write_task(
            Path(folder), path, file, shape, LIKELY_STEPS, device=device, cache_gb=DEFAULT.training.cache_gb
        )
        result = compare(task, pairs, more_steps=LIKELY_STEPS - pairs - 1)
    show("Real model", result)
    result["plain_whole_seconds"] = result["plain_seconds"] * LIKELY_STEPS
    print(
        f"  {LIKELY_STEPS} steps: engine {result['whole_seconds']:.1f} s, {result['prepare_seconds']:.1f} s of it "
        f"ahead; plain {result['plain_whole_seconds']:.0f} s at {result['plain_seconds']:.2f} s a step"
    )
    return result


def draw(growth: dict[str, list[dict[str, Any]]], file: Path) -> None:
    """Seconds a step and peak memory against what grows."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    figure = Figure(figsize=(3.2 * len(growth), 5.6), layout="constrained")
    axes = figure.subplots(2, len(growth), squeeze=False)
    for column, (name, results) in enumerate(growth.items()):
        values = [result["value"] for result in results]
        for row, (unit, label) in enumerate((("seconds", "seconds a step"), ("mb", "peak memory, MB"))):
            panel = axes[row][column]
            for side, colour in (("plain", "#8c8c8c"), ("engine", "#2f6f9f")):
                panel.plot(values, [result[f"{side}_{unit}"] for result in results], "o-", color=colour, label=side)
            if unit == "seconds":
                panel.plot(values, [r["floor_seconds"] for r in results], ":", color="#2f6f9f", label="engine's floor")
            panel.set(xscale="log", yscale="log", xlabel=name, ylabel=label)
            panel.set_xticks(values, [str(value) for value in values])
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter("{x:g}")
            panel.minorticks_off()
    axes[0][0].legend()
    figure.savefig(file, dpi=150)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="Steps of each side, in turn, at each shape.")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--only", choices=("growth", "real"), help="One part alone.")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    print(describe_machine(device), flush=True)
    OUT.mkdir(parents=True, exist_ok=True)
    results: dict[str, Any] = {"machine": describe_machine(device)}
    if arguments.only != "real":
        results["growth"] = measure_growth(arguments.pairs, device)
        draw(results["growth"], OUT / "growth.png")
    if arguments.only != "growth":
        results["real"] = measure_real_model(arguments.pairs, device)
    (OUT / "results.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
