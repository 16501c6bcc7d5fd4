"""Whole models and tokenizers for evaluation, through plain Transformers."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from srmu.errors import InputError


def load_causal_lm(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "auto",
    trust_remote_code: bool = False,
    revision: str | None = None,
) -> PreTrainedModel:
    """Load a whole model, in eval mode, without progress bars.

    Args:
        path: Checkpoint directory, or hub id.
        device: As torch names it; `all` = spread over every accelerator by Accelerate.
        dtype: `auto` = as stored; otherwise `float32`, `bfloat16`, ...
        trust_remote_code: Run model code that comes with the checkpoint.
        revision: Hub revision.

    Raises:
        InputError: If it is not a causal language model that Transformers can load.
    """
    options = {
        "dtype": dtype,
        "trust_remote_code": trust_remote_code,
        "revision": revision,
        "use_safetensors": True,
    }
    if device == "all":
        options["device_map"] = "auto"
    with _quiet_loading():
        model = _load(AutoModelForCausalLM, path, "model", options)
    return model.eval() if device == "all" else model.to(device).eval()


def load_tokenizer(
    path: str | Path, *, trust_remote_code: bool = False, revision: str | None = None
) -> PreTrainedTokenizerBase:
    """Load a tokenizer.

    Raises:
        InputError: If Transformers finds none there.
    """
    return _load(AutoTokenizer, path, "tokenizer", {"trust_remote_code": trust_remote_code, "revision": revision})


def check_tokenizer_fits(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse a tokenizer that makes token ids for which the model has no embedding.

    Raises:
        InputError: With both sizes.
    """
    rows = next(model.get_input_embeddings().parameters()).shape[0]
    largest = max(tokenizer.get_vocab().values())
    if largest >= rows:
        raise InputError(
            f"The tokenizer does not fit the model: its largest token id is {largest}, the model embeds ids up to "
            f"{rows - 1}. Give the tokenizer that belongs to the checkpoint."
        )


def _load(auto_class: Any, path: str | Path, what: str, options: dict[str, Any]) -> Any:
    try:
        return auto_class.from_pretrained(str(path), **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, TypeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(
            f"The {what} of {str(path)!r} cannot be loaded: {reason}. Give a complete checkpoint directory or a hub id."
        ) from error


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Without Transformers' own bars; a caller shows its own progress."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
