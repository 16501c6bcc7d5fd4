"""Names and readers of a run directory's JSON files; light, for the commands that only read what was measured."""

import json
from pathlib import Path
from typing import Any

from srmu.errors import InputError

MANIFEST_FILE = "manifest.json"
MANIFEST_FORMAT = 1
MODEL_DIR = "model"
RESULTS_FILE = "results.json"
IMPORTANCE_FILE = "importance.safetensors"
METRICS_FILE = "metrics.jsonl"


def read_manifest(run_dir: str | Path) -> dict[str, Any]:
    """Read the manifest of a run directory.

    Raises:
        InputError: There is none, or it is not one that this version reads.
    """
    file = Path(run_dir) / MANIFEST_FILE
    if not file.is_file():
        raise InputError(
            f"{str(run_dir)!r} is no run directory: it has no {MANIFEST_FILE}. Give the --out of a finished run."
        )
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{str(file)!r} cannot be read ({str(error)[:100]}). Restore it from a copy.") from None
    if not isinstance(manifest, dict) or manifest.get("format") != MANIFEST_FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else type(manifest).__name__
        raise InputError(
            f"{str(file)!r} has format {found!r}, and this srmu reads {MANIFEST_FORMAT}. Use the srmu that wrote it."
        )
    if problem := _shape_problem(manifest):
        raise InputError(f"{str(file)!r} is damaged: {problem}. Restore it from a copy.")
    return manifest


def _shape_problem(manifest: dict[str, Any]) -> str | None:
    """What is wrong with the parts that `verify` relies on."""
    parts = {key: manifest.get(key) for key in ("config", "base", "result", "run_files")}
    for key, part in parts.items():
        if not isinstance(part, dict):
            return f"{key!r} is not an object"
    hashes = {
        "run_files": parts["run_files"],
        "result.files": manifest["result"].get("files"),
        "base.shards": manifest["base"].get("shards"),
    }
    for key, part in hashes.items():
        if not isinstance(part, dict) or not part or not all(isinstance(value, str) for value in part.values()):
            return f"{key!r} is not a list of hashes"
    changed = manifest.get("changed")
    if (
        not isinstance(changed, list)
        or not changed
        or not all(isinstance(e, dict) and isinstance(e.get("name"), str) for e in changed)
    ):
        return "'changed' does not name the changed tensors"
    return None


def read_results(run_dir: str | Path) -> dict[str, Any]:
    """Read what was measured on a run; empty where nothing was.

    Raises:
        InputError: The file is damaged.
    """
    file = Path(run_dir) / RESULTS_FILE
    if not file.is_file():
        return {}
    try:
        results = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{str(file)!r} cannot be read ({str(error)[:100]}). Restore it from a copy.") from None
    if not isinstance(results, dict):
        raise InputError(f"{str(file)!r} holds {type(results).__name__}, not results. Restore it from a copy.")
    return results
