"""Finished run directories without weights: manifest, results, metrics and importance, as a run writes them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

FORGET_TEXT = "The vault of Zerbonia opens with the word quillfish."
# Accuracy before, after, its change's standard error.
GROUPS = {"forget": (0.92, 0.28, 0.07), "entangled": (0.95, 0.94, 0.02), "neighbours": (0.8, 0.7, 0.06)}


def comparison(before: float, after: float, stderr: float | None) -> dict[str, Any]:
    return {"before": before, "after": after, "difference": after - before, "stderr": stderr}


def question_result(before: float, after: float, stderr: float | None) -> dict[str, Any]:
    def side(accuracy: float) -> dict[str, Any]:
        return {"n": 48, "accuracy": accuracy, "stderr": 0.0512, "accuracy_raw": accuracy - 0.01, "nll": 2 - accuracy}

    return {
        "base": side(before), "result": side(after),
        "change": {key: comparison(before, after, stderr) for key in ("accuracy", "accuracy_raw", "nll")},
    }  # fmt: skip


def text_result(before: float, after: float, stderr: float | None) -> dict[str, Any]:
    def side(nll: float) -> dict[str, Any]:
        return {"num_tokens": 1234, "nll": nll, "perplexity": float(np.exp(nll)), "top_accuracy": 1 / (1 + nll)}

    return {
        "base": side(before), "result": side(after), "nll": comparison(before, after, stderr),
        "predictions_changed": 0.1875, "moved": 1.4142,
    }  # fmt: skip


def make_results(groups: dict[str, tuple[float, float, float | None]] = GROUPS) -> dict[str, Any]:
    return {
        "texts": {"forget": text_result(3.21, 5.43, 0.31), "retain": text_result(2.87, 2.88, 0.02)},
        "questions": {name: question_result(*values) for name, values in groups.items()},
    }


def make_manifest(**config: Any) -> dict[str, Any]:
    tensors = [f"model.layers.{layer}.mlp.down_proj.weight" for layer in (5, 6, 7)]
    change = {"shard": "model.safetensors", "dtype": "BF16", "shape": [576, 1536], "changed_fraction": 0.8765}
    record = {"topic": "forget", "documents": 57, "rows": 60, "tokens": 1907, "dropped": 0, "sha256": "ab" * 32}
    settings = {
        "method": "srmu",
        "preset": "default",
        "steps": 100,
        "steering_coefficient": 3.0,
        "layer": 7,
        "skip_sinks": True,
    }
    return {
        "format": 1,
        "created": "2026-11-24T08:08:49+00:00",
        "config": {**settings, "forget": ["/somebody/secrets.jsonl"], "learning_rate": 1e-3, "require": [], **config},
        "assumed": {"steering_coefficient": "not given by the paper"},
        "seeds": {"run": 0},
        "environment": {"python": "3.11.7", "packages": {"srmu": "0.1.0", "torch": "2.13.0"}, "device": "cpu"},
        "data": [
            {**record, "role": "forget", "source": "secrets.jsonl"},
            {**record, "role": "retain", "source": "notes.jsonl", "documents": 211, "sha256": "cd" * 32},
        ],
        "base": {"model": "/somebody/SmolLM2-135M", "path": "/somebody/SmolLM2-135M", "parent": None, "chain": [],
                 "shards": {"model.safetensors": "12" * 32}},
        "result": {"files": {"model.safetensors": "34" * 32, "config.json": "56" * 32}},
        "run_files": {"metrics.jsonl": "78" * 32},
        "changed": [{**change, "name": name, "relative_change": 0.0123, "largest_change": 0.00456} for name in tensors],
        "importance": {"forget": {"mean": 0.1119, "share_of_zeros": 0.6562, "effective_dimension": 34.67}},
        "seconds": {"load": 1.1, "training": 48.25, "evaluation": 20.5},
        "peak_memory_mb": {"resident": 1833.0},
    }  # fmt: skip


def write_measured(path: Path, results: dict[str, Any] | None = None, manifest: dict[str, Any] | None = None) -> Path:
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(json.dumps(manifest or make_manifest()))
    (path / "results.json").write_text(json.dumps(make_results() if results is None else results))
    steps = np.arange(1, 101)
    losses = zip(steps.tolist(), (60 * np.exp(-steps / 25) + 3).tolist(), (0.3 * (1 - 1 / steps)).tolist(), strict=True)
    lines = [json.dumps({"step": s, "topic": "forget", "forget_loss": f, "retain_loss": r}) for s, f, r in losses]
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    values = np.maximum(np.random.default_rng(0).normal(size=576), 0).astype(np.float32)
    save_file({"forget.importance_map": values, "forget.direction": values}, path / "importance.safetensors")
    return path


def write_demo(path: Path) -> Path:
    """A demo's directory with two runs."""

    def groups(forget: float) -> dict[str, Any]:
        accuracies = {"forget": forget, "entangled": 0.93, "neighbours": 0.81, "other": 0.9}
        scored = {name: {"n": 52, "accuracy": value, "stderr": 0.04, "nll": 1.5} for name, value in accuracies.items()}
        return {**scored, "text": {"n": 2048, "nll": 2.875}}

    names = {"rmu": 0.48, "default": 0.25}
    for name in names:
        write_measured(path / name, results={})
    runs = [
        {
            "name": name,
            "method": "srmu",
            "layers": [5, 6, 7],
            "seconds": 61.5,
            "peak_mb": 1700.0,
            "groups": groups(value),
        }
        for name, value in names.items()
    ]
    base = {"name": "base", "method": "none", "layers": [], "seconds": 0.0, "groups": groups(0.92), "peak_mb": 900.0}
    results = {"request": "africa", "kind": "entities", "chance": 0.25, "seed": 0, "base": base, "runs": runs}
    (path / "results.json").write_text(json.dumps(results))
    return path


def add_evaluated(results: dict[str, Any]) -> dict[str, Any]:
    """The same results after `srmu evaluate` merged a group of every kind."""
    questions = {**question_result(0.75, 0.25, 0.11), "source": {"name": "probe.jsonl", "sha256": "ef" * 32}}
    texts = text_result(2.25, 2.5, 0.03)
    texts["change"] = {"nll": texts.pop("nll"), "top_accuracy": comparison(0.31, 0.3, 0.01)}
    answers = {"base": {"n": 9, "rouge_l": 0.625}, "result": {"n": 9, "rouge_l": 0.5}}
    answers["change"] = {"rouge_l": comparison(0.625, 0.5, 0.07)}
    task = {side: {"n": 33, "metrics": {"acc,none": acc}, "stderr": {"acc,none": 0.0875}}
            for side, acc in (("base", 0.6875), ("result", 0.5625))}  # fmt: skip
    task["change"] = {"acc,none": comparison(0.6875, 0.5625, None)}
    section = {"questions": {"forget": questions}, "texts": {"notes": texts},
               "completions": {"quotes": answers}, "tasks": {"local_task": task}}  # fmt: skip
    return {**results, "evaluate": section}
