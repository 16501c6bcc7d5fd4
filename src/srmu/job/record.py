"""What a finished run writes about itself: the model's card, the delta, the map, the results and the manifest."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from srmu.config.presets import ASSUMED
from srmu.config.settings import to_dict
from srmu.evaluation.run_questions import write_run_questions
from srmu.export.card import card_results, model_card, read_card
from srmu.export.delta import DELTA_FILE, write_delta
from srmu.export.manifest import DataRecord, build_manifest, describe_base, describe_environment
from srmu.export.patch import CARD, CheckReport
from srmu.job.plan import Plan
from srmu.objective.importance import describe_map
from srmu.results.manifest import read_manifest
from srmu.results.run_files import IMPORTANCE_FILE, MANIFEST_FILE, METRICS_FILE, MODEL_DIR, RESULTS_FILE
from srmu.runtime.devices import device_name
from srmu.runtime.files import file_sha256, write_atomic, write_json_atomic, write_tensors_atomic
from srmu.runtime.memory import peak_memory_mb
from srmu.runtime.processes import world_size
from srmu.solver.gradient import GradientSolver
from srmu.surgery.checkpoint import StoredTensors, open_checkpoint

SHOWN = (
    "steering_coefficient", "coefficient_unit", "retain_weight", "learning_rate", "steps", "seed",
    "importance_map", "statistic",
)  # fmt: skip
"""Settings that the card names."""


def run_card(plan: Plan, records: Sequence[DataRecord], **measured: Any) -> str:
    """The card of the result; `measured` is what stands in it once the run is over."""
    config = plan.config
    return model_card(
        read_card(plan.checkpoint.path),
        {
            "model": config.model.model,
            "hub_id": not Path(config.model.model).exists(),
            "method": config.target.method,
            "preset": config.preset,
            "layer": plan.layer_id,
            "data": [dataclasses.asdict(record) for record in records],
            "settings": {name: config.get(name) for name in SHOWN},
            "assumed": ASSUMED.get(config.preset, {}),
            **measured,
        },
    )


def write_card(
    path: Path, plan: Plan, records: Sequence[DataRecord], report: CheckReport, results: Mapping[str, Any]
) -> None:
    """Put what was measured into the model's card, and the card into the delta, which rebuilds the model."""
    names = [change.name for change in report.changes]
    card = run_card(plan, records, changed=names, results=card_results(results))
    write_atomic(path / MODEL_DIR / CARD, card.encode())
    report.result_files[CARD] = file_sha256(path / MODEL_DIR / CARD)
    result = open_checkpoint(path / MODEL_DIR)
    changed = StoredTensors(dataclasses.replace(result, tensors={name: result.tensors[name] for name in names}))
    write_delta(path / DELTA_FILE, plan.checkpoint, changed, base_shards=report.base_shards, readme=card)


def write_records(
    path: Path, plan: Plan, records: Sequence[DataRecord], solver: GradientSolver, report: CheckReport,
    results: dict[str, Any], *, seconds: Mapping[str, float], chosen: dict[str, Any] | None,
) -> dict[str, Any]:  # fmt: skip
    """Write map, results, questions and, as the last file of a run, its manifest; return the manifest."""
    tensors, summary = importance_record(solver)
    write_tensors_atomic(path / IMPORTANCE_FILE, tensors)
    if results:
        write_json_atomic(path / RESULTS_FILE, results)
    config = plan.config
    questions = write_run_questions(path, plan.questions)
    manifest = build_manifest(
        config=to_dict(config),
        assumed=ASSUMED.get(config.preset, {}),
        seeds={"run": config.training.seed},
        steps=solver.next_step,
        learning_rates={f"{layer}.{name}": rate for (layer, name), rate in solver.learning_rates.items()},
        environment={
            **describe_environment(device_name(plan.device), torch.get_num_threads()),
            "processes": world_size(),
            # What `auto` came to depends on the machine.
            "dtype": str(plan.dtype).removeprefix("torch."),
        },
        data=list(records),
        base=describe_base(
            plan.checkpoint, report.base_shards, model=config.model.model, revision=config.model.revision
        ),
        result_files=report.result_files,
        run_files={name: file_sha256(path / name) for name in (DELTA_FILE, IMPORTANCE_FILE, METRICS_FILE, *questions)},
        changes=report.changes,
        importance=summary,
        auto=chosen,
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
        peak_memory_mb=peak_memory_mb(plan.device),
    )
    write_json_atomic(path / MANIFEST_FILE, manifest)
    return read_manifest(path)


def importance_record(solver: GradientSolver) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The map and the vector of each topic as tensors, and what they are like in numbers."""
    tensors, summary = {}, {}
    for topic in solver.topics:
        tensors[f"{topic.name}.direction"] = topic.direction.float().cpu().contiguous()
        if topic.importance is not None:
            importance = topic.importance.float().cpu()
            tensors[f"{topic.name}.importance_map"] = importance.contiguous()
            summary[topic.name] = describe_map(importance)
    return tensors, summary
