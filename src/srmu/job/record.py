"""What a finished run writes about itself: the model's card, the delta, the map, the results and the manifest."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from srmu.config.presets import ASSUMED
from srmu.config.settings import to_dict
from srmu.evaluation.run_questions import write_run_questions
from srmu.export.card import CardFacts, card_results, model_card, read_card
from srmu.export.delta import write_delta
from srmu.export.manifest import describe_base, describe_environment, now, without_texts
from srmu.export.patch import CARD, CheckReport
from srmu.job.plan import Plan
from srmu.objective.importance import describe_map
from srmu.results.base_place import without_home
from srmu.results.manifest import DataRecord, Manifest, ResultFiles, read_manifest, write_manifest
from srmu.results.records import Results, write_results
from srmu.results.run_files import DELTA_FILE, IMPORTANCE_FILE, METRICS_FILE, MODEL_DIR, RESULTS_FILE
from srmu.results.study import SearchRecord
from srmu.runtime.devices import device_name
from srmu.runtime.files import file_sha256, write_atomic, write_tensors_atomic
from srmu.runtime.memory import peak_memory_mb
from srmu.runtime.processes import world_size
from srmu.solver.staged import StagedSolver
from srmu.surgery.checkpoint import StoredTensors, open_checkpoint

SHOWN = (
    "steering_coefficient", "coefficient_unit", "retain_weight", "learning_rate", "steps", "seed",
    "importance_map", "statistic",
)  # fmt: skip
"""Settings that the card names."""


def run_card(
    plan: Plan, records: Sequence[DataRecord], changed: Sequence[str] = (), results: Results | None = None
) -> str:
    """The card of the result; it says what changed and what was measured once the run is over."""
    config = plan.config
    return model_card(
        read_card(plan.checkpoint.path),
        CardFacts(
            model=config.model.model,
            hub_id=not Path(config.model.model).expanduser().exists(),
            method=config.target.method + (f", repaired at layer {plan.repair_layer}" if plan.repair_layer else ""),
            preset=config.preset,
            layer=plan.layer_id,
            data=records,
            settings={name: config.get(name) for name in SHOWN},
            assumed=ASSUMED.get(config.preset, {}),
            changed=changed,
            results=card_results(results or Results()),
            audit=None if results is None else results.audit,
        ),
    )


def write_card(path: Path, plan: Plan, records: Sequence[DataRecord], report: CheckReport, results: Results) -> None:
    """Put what was measured into the model's card, and the card into the delta, which rebuilds the model."""
    names = [change.name for change in report.changes]
    card = run_card(plan, records, names, results)
    write_atomic(path / MODEL_DIR / CARD, card.encode())
    report.result_files[CARD] = file_sha256(path / MODEL_DIR / CARD)
    result = open_checkpoint(path / MODEL_DIR)
    changed = StoredTensors(dataclasses.replace(result, tensors={name: result.tensors[name] for name in names}))
    write_delta(path / DELTA_FILE, plan.checkpoint, changed, base_shards=report.base_shards, readme=card)


def write_records(
    path: Path, plan: Plan, records: Sequence[DataRecord], solver: StagedSolver, report: CheckReport,
    results: Results, *, seconds: Mapping[str, float], chosen: SearchRecord | None,
) -> Manifest:  # fmt: skip
    """Write map, results, questions, hashes and, as the last file of a run, its manifest; return the manifest."""
    tensors, summary = importance_record(solver)
    write_tensors_atomic(path / IMPORTANCE_FILE, tensors)
    config = plan.config
    questions = write_run_questions(path, plan.questions)
    files = (DELTA_FILE, IMPORTANCE_FILE, METRICS_FILE, *questions)
    run_files = {name: file_sha256(path / name) for name in files}
    manifest = Manifest(
        created=now(),
        config=without_home(without_texts(to_dict(config))),
        assumed=ASSUMED.get(config.preset, {}),
        seeds={"run": config.training.seed},
        steps=solver.next_step,
        learning_rates={f"{layer}.{name}": rate for (layer, name), rate in solver.learning_rates.items()},
        environment=describe_environment(
            device_name(plan.device),
            torch.get_num_threads(),
            processes=world_size(),
            # What `auto` came to depends on the machine.
            dtype=str(plan.dtype).removeprefix("torch."),
        ),
        data=tuple(records),
        base=describe_base(
            plan.checkpoint, report.base_shards, model=config.model.model, run_dir=path, revision=config.model.revision
        ),
        result=ResultFiles(report.result_files),
        run_files=run_files,
        changed=tuple(report.changes),
        importance=summary,
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
        peak_memory_mb=peak_memory_mb(plan.device),
        auto=chosen,
    )
    digests = {**run_files, **{f"{MODEL_DIR}/{name}": digest for name, digest in report.result_files.items()}}
    if results.measured:
        write_results(path, results)
        digests[RESULTS_FILE] = file_sha256(path / RESULTS_FILE)
    write_manifest(path, manifest, digests)
    return read_manifest(path)


def importance_record(solver: StagedSolver) -> tuple[dict[str, Tensor], dict[str, dict[str, float]]]:
    """The map and the vector of each topic as tensors, and what they are like in numbers."""
    tensors, summary = {}, {}
    for topic in solver.stages[0].topics:
        if topic.erasure is not None:
            tensors[f"{topic.name}.centroid"] = topic.erasure.centroid.float().cpu().contiguous()
            continue
        if topic.counterfactuals is not None:
            continue
        tensors[f"{topic.name}.direction"] = topic.direction.float().cpu().contiguous()
        if topic.importance is not None:
            importance = topic.importance.float().cpu()
            tensors[f"{topic.name}.importance_map"] = importance.contiguous()
            summary[topic.name] = describe_map(importance)
    return tensors, summary
