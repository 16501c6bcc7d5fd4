"""Finished run directories without weights: manifest, results, metrics and importance, as a run writes them."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from sealed import seal
from srmu.results.audit_records import Audit, AuditPart
from srmu.results.fluency_records import Fluency, FluencyGroup
from srmu.results.groups import (
    AnswerChange,
    AnswerGroup,
    AnswerSummary,
    Change,
    QuestionChange,
    QuestionGroup,
    QuestionSummary,
    Source,
    TaskGroup,
    TaskSummary,
    TextChange,
    TextGroup,
    TextSummary,
)
from srmu.results.records import Evaluation, Results, write_results
from srmu.results.sides import sides_of

FORGET_TEXT = "The vault of Zerbonia opens with the word quillfish."
# Accuracy before, after, its change's standard error.
GROUPS = {"forget": (0.92, 0.28, 0.07), "entangled": (0.95, 0.94, 0.02), "neighbours": (0.8, 0.7, 0.06)}


def comparison(before: float, after: float, stderr: float | None) -> Change:
    return Change(before, after, after - before, stderr)


def question_result(before: float, after: float, stderr: float | None) -> QuestionGroup:
    def side(accuracy: float) -> QuestionSummary:
        return QuestionSummary(48, accuracy, 0.0512, accuracy - 0.01, 2 - accuracy)

    change = comparison(before, after, stderr)
    return QuestionGroup(base=side(before), result=side(after), change=QuestionChange(change, change, change))


def text_result(before: float, after: float, stderr: float | None) -> TextGroup:
    def side(nll: float) -> TextSummary:
        return TextSummary(1234, nll, float(np.exp(nll)), 1 / (1 + nll))

    return TextGroup(
        base=side(before), result=side(after), change=TextChange(comparison(before, after, stderr)),
        predictions_changed=0.1875, moved=1.4142,
    )  # fmt: skip


def make_results(groups: dict[str, tuple[float, float, float | None]] = GROUPS, **fields: Any) -> Results:
    questions = {name: question_result(*values) for name, values in groups.items()}
    texts = {"forget": text_result(3.21, 5.43, 0.31), "retain": text_result(2.87, 2.88, 0.02)}
    return replace(Results(sides=sides_of([*questions, *texts]), questions=questions, texts=texts), **fields)


def make_audit(bank: float = 0.91, names: float = 0.75) -> Audit:
    """Of 0.95 before; two fields, of which one lost something."""
    return Audit(
        bank=AuditPart("bank", 203, 0.95, bank, 0.0113),
        fields=(AuditPart("rivers_and_seas", 5, 1.0, 0.6, 0.2449), AuditPart("food", 4, 0.85, 0.85, 0.0)),
        touching=None,
        neighbours=AuditPart("neighbours", 81, 1.0, names, 0.0457),
        written=AuditPart("written", 134, 1.0, 0.9925, 0.0075),
    )


def make_fluency() -> FluencyGroup:
    """Half of it is lost, mostly by what the base finds unlikely."""
    return FluencyGroup(
        base=Fluency(12, 0.82, 0.83, 0.99, 1.25), result=Fluency(12, 0.41, 0.52, 0.97, 4.5),
        change=comparison(0.82, 0.41, 0.0625),
    )  # fmt: skip


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
        "format": 2,
        "created": "2026-11-24T08:08:49+00:00",
        "config": {**settings, "forget": ["/somebody/secrets.jsonl"], "learning_rate": 1e-3, "require": [], **config},
        "assumed": {"steering_coefficient": "not given by the paper"},
        "seeds": {"run": 0},
        "steps": 100,
        "learning_rates": {"7.mlp.down_proj.weight": 1e-3},
        "environment": {"python": "3.11.7", "packages": {"srmu": "0.1.0", "torch": "2.13.0"}, "device": "cpu",
                        "platform": "Linux", "machine": "x86_64", "threads": 2},
        "data": [
            {**record, "role": "forget", "source": "secrets.jsonl"},
            {**record, "role": "retain", "source": "notes.jsonl", "documents": 211, "sha256": "cd" * 32},
        ],
        "base": {"model": "/somebody/SmolLM2-135M", "path": "/somebody/SmolLM2-135M", "chain": [],
                 "config_sha256": "9a" * 32,
                 "shards": {"model.safetensors": "12" * 32}},
        "result": {"files": {"model.safetensors": "34" * 32, "config.json": "56" * 32}},
        "run_files": {"metrics.jsonl": "78" * 32},
        "changed": [{**change, "name": name, "relative_change": 0.0123, "largest_change": 0.00456} for name in tensors],
        "importance": {"forget": {"mean": 0.1119, "share_of_zeros": 0.6562, "effective_dimension": 34.67}},
        "seconds": {"load": 1.1, "training": 48.25, "evaluation": 20.5},
        "peak_memory_mb": {"resident": 1833.0},
    }  # fmt: skip


def write_measured(path: Path, results: Results | None = None, manifest: dict[str, Any] | None = None) -> Path:
    path.mkdir(parents=True)
    (path / "manifest.json").write_text(json.dumps(manifest or make_manifest()))
    write_results(path, make_results() if results is None else results)
    steps = np.arange(1, 101)
    losses = zip(steps.tolist(), (60 * np.exp(-steps / 25) + 3).tolist(), (0.3 * (1 - 1 / steps)).tolist(), strict=True)
    lines = [json.dumps({"step": s, "topic": "forget", "forget_loss": f, "retain_loss": r}) for s, f, r in losses]
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    values = np.maximum(np.random.default_rng(0).normal(size=576), 0).astype(np.float32)
    save_file({"forget.importance_map": values, "forget.direction": values}, path / "importance.safetensors")
    return seal(path)


def write_demo(path: Path) -> Path:
    """A folder with two runs, as a demo leaves it."""
    for number, (name, forget) in enumerate({"rmu": 0.48, "default": 0.25}.items()):
        groups = {**GROUPS, "forget": (0.92, forget, 0.07), "other": (0.9, 0.9, 0.02)}
        manifest = {**make_manifest(), "created": f"2026-11-24T08:0{number}:00+00:00"}
        write_measured(path / name, make_results(groups), manifest)
    return path


def add_evaluated(results: Results) -> Results:
    """The same results after `srmu evaluate` merged a group of every kind."""
    questions = replace(question_result(0.75, 0.25, 0.11), source=Source("probe.jsonl", "ef" * 32))
    texts = replace(text_result(2.25, 2.5, 0.03), change=TextChange(
        comparison(2.25, 2.5, 0.03), comparison(0.31, 0.3, 0.01)
    ))  # fmt: skip
    change = comparison(0.625, 0.5, 0.07)
    answers = AnswerGroup(
        base=AnswerSummary(9, *[0.625] * 5), result=AnswerSummary(9, *[0.5] * 5), change=AnswerChange(*[change] * 5)
    )
    base, result = (TaskSummary(33, {"acc,none": acc}, {"acc,none": 0.0875}) for acc in (0.6875, 0.5625))
    task = TaskGroup(base=base, result=result, change={"acc,none": comparison(0.6875, 0.5625, None)})
    evaluation = Evaluation(
        questions={"forget": questions}, texts={"notes": texts}, completions={"quotes": answers},
        tasks={"local_task": task},
    )  # fmt: skip
    return replace(results, evaluate=evaluation)
