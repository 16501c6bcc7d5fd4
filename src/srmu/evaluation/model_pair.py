"""What a MODEL|RUN argument means: the model to look at, and the base to compare it with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from srmu.errors import InputError
from srmu.evaluation.loading import check_tokenizer_fits, load_causal_lm, load_tokenizer
from srmu.results.base_place import find_base
from srmu.results.manifest import read_manifest
from srmu.results.run_files import MANIFEST_FILE, MODEL_DIR
from srmu.runtime.devices import choose_device
from srmu.runtime.files import file_sha256
from srmu.runtime.precision import check_dtype, choose_dtype
from srmu.runtime.processes import largest, together
from srmu.surgery.checkpoint import open_checkpoint, resolve_model
from srmu.surgery.whole_model import MemoryLimit, must_stream

ALL_DEVICES = "all"


@dataclass(frozen=True)
class ModelPair:
    """A model, and a base where there is one.

    Attributes:
        model: Checkpoint directory.
        base: Checkpoint directory, or none.
        run_dir: The run whose result the model is, where the argument named a run.
    """

    model: Path
    base: Path | None
    run_dir: Path | None


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to be measured."""

    model: Any
    tokenizer: Any


def resolve_pair(model: str, base: str | None = None) -> ModelPair:
    """Find the checkpoints that the arguments name.

    Args:
        model: A finished run directory, a checkpoint directory, or a hub id.
        base: The same for the base; of a run, none given = the base in its manifest.

    Raises:
        InputError: A run is unfinished, its base is gone, or `base` is not the run's base.
    """
    run_dir = _run_directory(model)
    if run_dir is None:
        return ModelPair(_checkpoint(model), None if base is None else _checkpoint(base), None)
    return ModelPair(run_dir / MODEL_DIR, _base_of(run_dir, base), run_dir)


def load_for_measuring(
    path: Path, *, device: str, dtype: str, memory_gb: MemoryLimit = "auto", trust_remote_code: bool = False
) -> LoadedModel:
    """Load a checkpoint and its tokenizer.

    Args:
        path: Checkpoint directory.
        device: As torch names it, `auto`, or `all`: spread over every accelerator by Accelerate, for models that one
            cannot hold.
        dtype: `auto` = as stored where the device multiplies that natively, else float32.
        memory_gb: GiB that the model may take, or `auto` for what is free; beyond, its layers stay on disk.
        trust_remote_code: Run code that comes with the checkpoint.

    Raises:
        InputError: If something does not exist or does not fit.
    """
    with together():
        place = choose_device("auto" if device == ALL_DEVICES else device)
        checkpoint = open_checkpoint(path)
        compute = choose_dtype(check_dtype(dtype), place, checkpoint.dtypes)
        tokenizer = load_tokenizer(path, trust_remote_code=trust_remote_code)
    spread = device == ALL_DEVICES and place.type != "cpu"
    # The same on all ranks: the batches that they share depend on it.
    streamed = not spread and largest(must_stream(checkpoint, place, compute, memory_gb)) > 0
    with together():
        model = load_causal_lm(
            path,
            device=ALL_DEVICES if spread else place,
            dtype=compute,
            trust_remote_code=trust_remote_code,
            streamed=streamed,
        )
        check_tokenizer_fits(tokenizer, next(model.get_input_embeddings().parameters()).shape[0])
    return LoadedModel(model, tokenizer)


def free(device: str) -> None:
    """Give memory of a dropped model back to the accelerator before the next is loaded."""
    import gc

    gc.collect()
    if device != "cpu" and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _run_directory(argument: str) -> Path | None:
    path = Path(argument)
    if (path / MANIFEST_FILE).is_file():
        read_manifest(path)
        return path
    # A run that was interrupted holds its metrics, or a state to resume from, but no manifest.
    if path.is_dir() and ((path / "metrics.jsonl").exists() or (path / "state.safetensors").exists()):
        raise InputError(
            f"The run in {argument!r} is not finished: it has no {MANIFEST_FILE}. Finish it with "
            f"srmu unlearn --resume {argument}."
        )
    return None


def _checkpoint(argument: str) -> Path:
    run_dir = _run_directory(argument)
    path = resolve_model(argument, None) if run_dir is None else run_dir / MODEL_DIR
    return open_checkpoint(path).path


def _base_of(run_dir: Path, base: str | None) -> Path:
    """The base of a run, proved by the hashes of its weight files."""
    recorded = read_manifest(run_dir).base
    if base is None:
        path = find_base(run_dir, recorded)
        if not path.is_dir():
            raise InputError(
                f"The base of run {str(run_dir)!r} is not at {str(path)!r} any more. Give it with --base, or look at "
                f"{str(run_dir / MODEL_DIR)!r} alone."
            )
    else:
        path = _checkpoint(base)
    shards = {shard: file_sha256(path / shard) for shard in open_checkpoint(path).shards}
    if shards != recorded.shards:
        raise InputError(
            f"Checkpoint {str(path)!r} is not the base of run {str(run_dir)!r}: its weight files differ from those in "
            "the manifest. Give the checkpoint that the run began with."
        )
    return path
