"""Parts of the manifest that are looked up: the machine, the base and the runs before it, settings without texts."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from srmu.config.sources import TEXT, inline_text
from srmu.errors import InputError
from srmu.results.base_place import path_between, without_home
from srmu.results.manifest import Base, Environment, ForgottenSource, Parent, Request, costs_of, read_manifest
from srmu.results.records import read_results
from srmu.results.run_files import MANIFEST_FILE, MODEL_DIR
from srmu.runtime.files import file_sha256
from srmu.surgery.checkpoint import Checkpoint

_PACKAGES = ("srmu", "torch", "transformers", "safetensors", "tokenizers", "accelerate", "numpy")


def describe_environment(device: str, threads: int, *, processes: int = 1, dtype: str | None = None) -> Environment:
    """Versions, platform, device, threads: what a bit-identical repetition needs.

    Args:
        device: Where the run computes.
        threads: Of the processor.
        processes: That share the work.
        dtype: That the model computes in.
    """
    return Environment(
        python=platform.python_version(),
        packages={name: _version(name) for name in _PACKAGES},
        platform=platform.platform(),
        machine=platform.machine(),
        device=device,
        threads=threads,
        processes=processes,
        dtype=dtype,
    )


def describe_base(
    checkpoint: Checkpoint, shards: Mapping[str, str], *, model: str, run_dir: Path, revision: str | None = None
) -> Base:
    """The base's identity; its parent run and the chain of requests before, if it is itself the model of a run.

    Args:
        checkpoint: The base as it lies on disk.
        shards: SHA-256 of its weight files (`CheckReport.base_shards`).
        model: What the user named: a path or a hub id.
        run_dir: Where the run is written.
        revision: Hub revision, as the user named it.
    """
    # In the hub's cache the directory of a snapshot is named after its commit.
    is_snapshot = checkpoint.path.parent.name == "snapshots"
    return Base(
        model=without_home(model),
        revision=revision,
        commit=checkpoint.path.name if is_snapshot else None,
        path=without_home(str(checkpoint.path.absolute())),
        path_from_run=path_between(run_dir, checkpoint.path),
        shards=dict(shards),
        config_sha256=file_sha256(checkpoint.path / "config.json"),
        parent=_parent(checkpoint.path),
        chain=_chain(checkpoint.path),
    )


def now() -> str:
    """The time for a manifest, in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def without_texts(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with every text in it replaced by its hash."""

    def safe(entry: str) -> str:
        text = inline_text(entry)
        if text is None:
            return entry
        return f"{TEXT}sha256:" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()

    cleaned = dict(config)
    for key in ("forget", "retain"):
        if key in cleaned:
            cleaned[key] = [safe(entry) for entry in cleaned[key]]
    if "topics" in cleaned:
        cleaned["topics"] = [without_texts(topic) for topic in cleaned["topics"]]
    return cleaned


def _parent(base_dir: Path) -> Parent | None:
    """The run whose model this is, by the hash of its manifest."""
    file = base_dir.absolute().parent / MANIFEST_FILE
    if base_dir.absolute().name != MODEL_DIR or not file.is_file():
        return None
    return Parent(file.parent.name, file_sha256(file))


def _chain(base_dir: Path) -> tuple[Request, ...]:
    """The requests that made this base, oldest first: each run's identity and what it cost."""
    parent = _parent(base_dir)
    if parent is None:
        return ()
    run_dir = base_dir.absolute().parent
    try:
        manifest, results = read_manifest(run_dir), read_results(run_dir)
    except InputError:
        # The run at hand is done and must not be lost over this; verification will say what is wrong there.
        return (Request(run=parent.run, manifest_sha256=parent.manifest_sha256),)
    questions, texts = costs_of(results)
    forgotten = manifest.data_of("forget")
    return (
        *manifest.base.chain,
        Request(
            run=parent.run,
            manifest_sha256=parent.manifest_sha256,
            created=manifest.created,
            model=manifest.base.model,
            forget=tuple(ForgottenSource(each.source, each.sha256, each.documents) for each in forgotten),
            seconds=manifest.seconds,
            questions=questions,
            texts=texts,
        ),
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
