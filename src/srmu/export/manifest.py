"""The manifest: what a run was, in hashes, counts and settings. It never holds a text."""

import hashlib
import importlib.metadata
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from srmu.config.sources import TEXT, inline_text
from srmu.errors import InputError
from srmu.export.patch import TensorChange
from srmu.results.manifest import MANIFEST_FORMAT, read_manifest
from srmu.results.records import read_results
from srmu.results.run_files import MANIFEST_FILE, MODEL_DIR
from srmu.runtime.files import file_sha256
from srmu.surgery.checkpoint import Checkpoint

_PACKAGES = ("srmu", "torch", "transformers", "safetensors", "tokenizers", "accelerate", "numpy")


@dataclass(frozen=True)
class DataRecord:
    """One source of texts.

    Attributes:
        topic: Topic that it belongs to.
        role: "forget", "retain" or "questions".
        source: File name without its folder, hub data set, "self", or "text" for a string given in Python.
        sha256: Hash of its texts.
        documents: Number of documents.
        rows: Number of rows of tokens.
        tokens: Number of real tokens in them.
        dropped: Documents left out (empty, or too short).
    """

    topic: str
    role: str
    source: str
    sha256: str
    documents: int
    rows: int
    tokens: int
    dropped: int = 0


def build_manifest(
    *,
    config: Mapping[str, Any],
    assumed: Mapping[str, str],
    seeds: Mapping[str, int],
    steps: int,
    learning_rates: Mapping[str, float],
    environment: Mapping[str, Any],
    data: Sequence[DataRecord],
    base: Mapping[str, Any],
    result_files: Mapping[str, str],
    run_files: Mapping[str, str],
    changes: Sequence[TensorChange],
    importance: Mapping[str, Any],
    seconds: Mapping[str, float],
    peak_memory_mb: Mapping[str, float],
    auto: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Put a manifest together from what the parts of a run know.

    Args:
        config: The resolved config (`config.to_dict`); texts in it are replaced by their hashes.
        assumed: Settings that the preset's sources do not give, with where each comes from
            (`config.ASSUMED`).
        seeds: By use ("run", "misdirection", ...).
        steps: Optimizer steps taken.
        learning_rates: Full rate of each trained parameter, by its name in the loaded model.
        environment: From `describe_environment`.
        data: One entry a source of texts.
        base: From `describe_base`.
        result_files: SHA-256 of every file under `model/` (`CheckReport.result_files`).
        run_files: SHA-256 of the run's other finished files (delta, metrics, importance), relative to the
            run.
        changes: One entry a changed tensor (`CheckReport.changes`).
        importance: Summary of the map: numbers only.
        seconds: Wall time by stage.
        peak_memory_mb: Peak memory in MB, by device or stage.
        auto: What `--auto` tried and chose, if it did.
    """
    return {
        "format": MANIFEST_FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": without_texts(config),
        "assumed": dict(assumed),
        "seeds": dict(seeds),
        "steps": steps,
        "learning_rates": dict(learning_rates),
        "environment": dict(environment),
        "data": [asdict(record) for record in data],
        "base": dict(base),
        "result": {"files": dict(result_files)},
        "run_files": dict(run_files),
        "changed": [asdict(change) for change in changes],
        "importance": dict(importance),
        "seconds": dict(seconds),
        "peak_memory_mb": dict(peak_memory_mb),
        **({} if auto is None else {"auto": dict(auto)}),
    }


def describe_environment(device: str, threads: int) -> dict[str, Any]:
    """Versions, platform, device and thread count: what a bit-identical repetition needs."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "device": device,
        "threads": threads,
    }


def describe_base(
    checkpoint: Checkpoint, shards: Mapping[str, str], *, model: str, revision: str | None = None
) -> dict[str, Any]:
    """The base's identity; its parent run and the chain of requests before, if it is itself the model of a run.

    Args:
        checkpoint: The base as it lies on disk.
        shards: SHA-256 of its weight files (`CheckReport.base_shards`).
        model: What the user named: a path or a hub id.
        revision: Hub revision, as the user named it.
    """
    # In the hub's cache the directory of a snapshot is named after its commit.
    is_snapshot = checkpoint.path.parent.name == "snapshots"
    return {
        "model": model,
        "revision": revision,
        "commit": checkpoint.path.name if is_snapshot else None,
        "path": str(checkpoint.path.absolute()),
        "shards": dict(shards),
        "config_sha256": file_sha256(checkpoint.path / "config.json"),
        "parent": _parent(checkpoint.path),
        "chain": _chain(checkpoint.path),
    }


def without_texts(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config with every text that stands in it replaced by its hash."""

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


def _parent(base_dir: Path) -> dict[str, str] | None:
    """The run whose model this is, by the hash of its manifest."""
    file = base_dir.absolute().parent / MANIFEST_FILE
    if base_dir.absolute().name != MODEL_DIR or not file.is_file():
        return None
    return {"run": file.parent.name, "manifest_sha256": file_sha256(file)}


def _chain(base_dir: Path) -> list[dict[str, Any]]:
    """The requests that made this base, oldest first: each run's identity and what it cost."""
    parent = _parent(base_dir)
    if parent is None:
        return []
    run_dir = base_dir.absolute().parent
    try:
        manifest = read_manifest(run_dir)
        return [*manifest["base"].get("chain", []), {**parent, **_cost(manifest, read_results(run_dir))}]
    except (InputError, LookupError, TypeError, AttributeError):
        # The run at hand is done and must not be lost over this; verification will say what is wrong there.
        return [dict(parent)]


def _cost(manifest: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """What one request asked for and what it cost, in numbers that its own files hold."""
    return {
        "created": manifest.get("created"),
        "model": manifest["base"].get("model"),
        "forget": [
            {key: entry.get(key) for key in ("source", "sha256", "documents")}
            for entry in manifest.get("data", [])
            if entry.get("role") == "forget"
        ],
        "seconds": manifest.get("seconds", {}),
        "questions": {
            name: {"base": entry["base"]["accuracy"], "result": entry["result"]["accuracy"]}
            for name, entry in results.get("questions", {}).items()
        },
        "texts": {
            name: {"base": entry["base"]["nll"], "result": entry["result"]["nll"]}
            for name, entry in results.get("texts", {}).items()
        },
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
