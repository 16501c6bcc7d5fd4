"""Whole models and tokenizers for evaluation, through plain Transformers."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from srmu.errors import InputError
from srmu.inputs.chat_template import check_template_ends
from srmu.surgery.layers import find_decoder_layers
from srmu.surgery.model_class import auto_class, check_decoder, whole_skeleton
from srmu.surgery.quiet import quiet_loading
from srmu.surgery.streaming import streaming_options, tie_folder

SENTENCEPIECE = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
"""Package -> module, of what Transformers needs to read a tokenizer.model."""
SPARE_TOKENS = 0.02
"""Of a vocabulary, the share that may have no embedding."""


def load_causal_lm(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    dtype: str | torch.dtype = "auto",
    trust_remote_code: bool = False,
    revision: str | None = None,
    streamed: bool = False,
) -> PreTrainedModel:
    """Load a whole model, in eval mode, without progress bars.

    Args:
        path: Checkpoint directory, or hub id.
        device: As torch names it; `all` = spread over every accelerator by Accelerate.
        dtype: `auto` = as stored; otherwise `float32`, `bfloat16`, ...
        trust_remote_code: Run model code that comes with the checkpoint.
        revision: Hub revision.
        streamed: Leave the decoder layers on disk; every pass reads each in its turn.

    Raises:
        InputError: If it is not a causal language model that Transformers can load, or its files lack weights.
    """
    options = {
        "dtype": dtype,
        "trust_remote_code": trust_remote_code,
        "revision": revision,
        "use_safetensors": True,
    }
    if device == "all":
        options["device_map"] = "auto"
    config = _load(AutoConfig, path, "model", {"trust_remote_code": trust_remote_code, "revision": revision})
    check_decoder(config)
    if streamed:
        options |= _stay_on_disk(config, torch.device(device), trust_remote_code)
    with quiet_loading():
        model, found = _load(auto_class(config), path, "model", {**options, "output_loading_info": True})
    if streamed:
        tie_folder(model, options)
    if missing := sorted(found["missing_keys"]):
        raise InputError(
            f"The model of {str(path)!r} is not complete: its files lack {missing[0]!r} ({len(missing)} in all). "
            "Copy or download the checkpoint again."
        )
    ready: PreTrainedModel = model.eval() if device == "all" or streamed else model.to(device).eval()
    if not streamed:
        _try_out(ready, path)
    return ready


def _try_out(model: PreTrainedModel, path: str | Path) -> None:
    """Compute one token: what `config.json` says of heads, windows and caches shows only there.

    Raises:
        InputError: It cannot be computed.
    """
    try:
        with torch.inference_mode():
            model(torch.zeros((1, 1), dtype=torch.long, device=model.device))
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # whatever layers and caches make of values that nobody checked
        raise InputError(
            f"The model of {str(path)!r} was loaded and cannot be computed ({_first_line(error)}). Check its "
            "config.json, or copy or download the checkpoint again."
        ) from error


def _stay_on_disk(config: Any, device: torch.device, trust_remote_code: bool) -> dict[str, Any]:
    """Options that leave the decoder layers of a model of this config in its files."""
    depth = config.get_text_config(decoder=True).num_hidden_layers
    skeleton = whole_skeleton(config, trust_remote_code=trust_remote_code)
    name, _ = find_decoder_layers(skeleton, depth)
    return streaming_options(skeleton, name, range(depth), device)


def load_tokenizer(
    path: str | Path, *, trust_remote_code: bool = False, revision: str | None = None
) -> PreTrainedTokenizerBase:
    """Load a tokenizer.

    Raises:
        InputError: If Transformers finds none there, or lacks what a SentencePiece model needs; or it cannot encode, or
            its chat template has no end.
    """
    folder = Path(path)
    alone = (folder / "tokenizer.model").is_file() and not (folder / "tokenizer.json").is_file()
    if alone and (absent := [name for name, module in SENTENCEPIECE.items() if not _is_installed(module)]):
        raise InputError(
            f"The tokenizer of {str(path)!r} is a SentencePiece model (tokenizer.model) without a tokenizer.json, and "
            f"reading it needs {' and '.join(absent)}. Install: pip install {' '.join(SENTENCEPIECE)}"
        )
    options = {"trust_remote_code": trust_remote_code, "revision": revision}
    tokenizer: PreTrainedTokenizerBase = _load(AutoTokenizer, path, "tokenizer", options)
    try:
        tokenizer.decode(tokenizer("Two words")["input_ids"])
    except Exception as error:  # settings of any type are taken, and used later
        raise InputError(
            f"The tokenizer of {str(path)!r} was loaded and cannot encode ({_first_line(error)}). Check its "
            "tokenizer_config.json, or copy or download the checkpoint again."
        ) from error
    check_template_ends(tokenizer, str(path))
    # What is too long is cut or refused here, in words of ours; Transformers would warn, once per process.
    tokenizer.deprecation_warnings["sequence-length-is-longer-than-the-specified-maximum"] = True
    return tokenizer


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # of the package that it is in
        return False


def check_tokenizer_fits(tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Refuse a tokenizer of another model.

    Some checkpoints have a few tokens more than embeddings, which no text makes; where one does, it is refused then.

    Args:
        tokenizer: Of the checkpoint, as it should be.
        rows: Of the token embedding.

    Raises:
        InputError: With both sizes.
    """
    ids = tokenizer.get_vocab().values()
    if sum(token >= rows for token in ids) > max(1, int(SPARE_TOKENS * len(ids))):
        raise InputError(
            f"The tokenizer does not fit the model: its largest token id is {max(ids)}, the model has embeddings for "
            f"ids up to {rows - 1}. Use the tokenizer that came with the model."
        )


def _load(auto_class: Any, path: str | Path, what: str, options: dict[str, Any]) -> Any:
    try:
        return auto_class.from_pretrained(str(path), **options)
    except Exception as error:  # a damaged file meets errors of every kind in the libraries
        raise InputError(
            f"The {what} of {str(path)!r} cannot be loaded: {_first_line(error)}. Give a complete checkpoint directory "
            "or a hub id."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300].rstrip(".")
