"""A finished run directory, put together from the parts of the export room."""

from pathlib import Path

import pytest
import torch

from checkpoint_files import changed_tensors, save_llama
from srmu.export.card import CardFacts, model_card, read_card
from srmu.export.delta import write_delta
from srmu.export.manifest import describe_base, describe_environment, now, without_texts
from srmu.export.patch import check_only_changed, export_checkpoint
from srmu.results.manifest import DataRecord, Manifest, ResultFiles, write_manifest
from srmu.runtime.files import file_sha256, hash_files, new_directory
from srmu.surgery.checkpoint import open_checkpoint


def write_run(base_dir: Path, run_dir: Path) -> Path:
    base = open_checkpoint(base_dir)
    changed = changed_tensors(base)
    with new_directory(run_dir) as partial:
        readme = model_card(read_card(base_dir), CardFacts(model=str(base_dir), method="srmu"))
        export_checkpoint(base, changed, partial / "model", readme=readme)
        report = check_only_changed(base, partial / "model", changed)
        write_delta(partial / "delta.safetensors", base, changed, base_shards=report.base_shards, readme=readme)
        (partial / "metrics.jsonl").write_text('{"step": 0}\n')
        run_files = {name: file_sha256(partial / name) for name in ("delta.safetensors", "metrics.jsonl")}
        manifest = Manifest(
            created=now(),
            config=without_texts({"forget": ["text:a secret sentence"], "retain": ["self"]}),
            assumed={},
            seeds={"run": 0},
            steps=3,
            learning_rates={"5.mlp.down_proj.weight": 1e-3},
            environment=describe_environment("cpu", torch.get_num_threads()),
            data=(DataRecord("default", "forget", "text", "0" * 64, 1, 1, 5),),
            base=describe_base(base, report.base_shards, model=str(base_dir), run_dir=run_dir),
            result=ResultFiles(report.result_files),
            run_files=run_files,
            changed=tuple(report.changes),
            importance={"default": {"largest": 1.0}},
            seconds={"training": 1.0},
            peak_memory_mb={"resident": 100.0},
        )
        write_manifest(partial, manifest, hash_files(partial))
    return run_dir


@pytest.fixture(scope="session")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in bfloat16; never write to it."""
    return save_llama(tmp_path_factory.mktemp("base") / "model", dtype=torch.bfloat16)


@pytest.fixture
def run_dir(base_dir: Path, tmp_path: Path) -> Path:
    """A run directory of the test's own."""
    return write_run(base_dir, tmp_path / "run")
