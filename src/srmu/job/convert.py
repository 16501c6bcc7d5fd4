"""The work of `srmu convert`: a checkpoint that srmu cannot train, as one that it can.

Pickled weights become safetensors, tensor by tensor and without running what a pickle may hold; weights that are stored
quantised become bfloat16, by Transformers' own reader.
"""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from srmu.errors import InputError
from srmu.runtime.files import check_space, copy_file, list_files, new_directory
from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.model_class import auto_class, first_line
from srmu.surgery.other_weights import is_other_folder, is_other_weights
from srmu.surgery.quiet import quiet_loading

PICKLED, PICKLED_INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
_GENERATED = {"config.json", "generation_config.json"}
_WIDE = (torch.bfloat16, torch.float16, torch.float32)


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes:
        kind: Of the source's weights.
        source: Checkpoint directory.
        out: The new one.
        num_tensors: In it.
    """

    kind: Literal["pickled", "quantised"]
    source: str
    out: str
    num_tensors: int


def convert(source: str | Path, out: str | Path) -> Conversion:
    """Write a checkpoint of safetensors in 16 or 32 bits from one with pickled or quantised weights.

    Args:
        source: Checkpoint directory.
        out: Directory to make.

    Raises:
        InputError: The source needs no conversion, holds more than tensors, or is in a form that the installed
            Transformers cannot widen.
    """
    source, out = Path(source), Path(out)
    config = _config(source)
    if out.resolve().is_relative_to(source.resolve()):
        raise InputError(f"Output {str(out)!r} lies inside the checkpoint {str(source)!r}. Choose another.")
    with new_directory(out) as partial:
        if _quantization(config):
            kind: Literal["pickled", "quantised"] = "quantised"
            _widen(source, partial)
        elif (source / PICKLED).is_file() or (source / PICKLED_INDEX).is_file():
            kind = "pickled"
            _unpickle(source, partial)
        else:
            raise InputError(
                f"Checkpoint {str(source)!r} has no pickled weights ({PICKLED!r}) and no quantization_config. It needs "
                "no conversion, or is in another form."
            )
        _copy_rest(source, partial)
        num_tensors = len(open_checkpoint(partial).tensors)
    return Conversion(kind, str(source), str(out), num_tensors)


def _config(source: Path) -> dict[str, Any]:
    if not (source / "config.json").is_file():
        raise InputError(
            f"Directory {str(source)!r} has no config.json. Give the directory of a Hugging Face checkpoint."
        )
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{str(source / 'config.json')!r} is not JSON ({str(error)[:100]}). Copy it again.") from None
    if not isinstance(config, dict):
        raise InputError(f"{str(source / 'config.json')!r} holds no object. Copy it again.")
    return config


def _quantization(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """The quantization_config, of the model or of its text part."""
    parts = (config, config.get("text_config") or {})
    return next((part["quantization_config"] for part in parts if part.get("quantization_config")), None)


def _unpickle(source: Path, partial: Path) -> None:
    """Write each pickled file as one of safetensors, and an index where there was one."""
    from safetensors.torch import save_file

    where = _pickled_index(source)
    names = sorted(set(where.values())) if where else [PICKLED]
    check_space(partial, sum((source / name).stat().st_size for name in names))
    placed, size = {}, 0
    for name in names:
        # Tied tensors are one in memory, and a file of safetensors holds each by itself.
        tensors = {key: tensor.clone().contiguous() for key, tensor in _load_pickle(source / name).items()}
        new_name = name.replace("pytorch_model", "model").removesuffix(".bin") + ".safetensors"
        save_file(tensors, partial / new_name, metadata={"format": "pt"})
        placed.update(dict.fromkeys(tensors, new_name))
        size += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    if where:
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(placed.items()))}
        (partial / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _pickled_index(source: Path) -> dict[str, str]:
    """Tensor name -> file, of weights in several files; empty of one file."""
    if (source / PICKLED).is_file():
        return {}
    try:
        where = json.loads((source / PICKLED_INDEX).read_text(encoding="utf-8"))["weight_map"]
        files = set(where.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"The index {str(source / PICKLED_INDEX)!r} has no weight_map. Copy it again.") from None
    for name in files:
        if not isinstance(name, str) or Path(name).name != name or not name.endswith(".bin"):
            raise InputError(f"The index {str(source / PICKLED_INDEX)!r} names {name!r}, which is no file beside it.")
        if not (source / name).is_file():
            raise InputError(f"Checkpoint {str(source)!r} lacks {name!r}, which its index names. Copy that file.")
    return where


def _load_pickle(file: Path) -> dict[str, Tensor]:
    """The tensors of a file; PyTorch's restricted reader builds tensors and plain containers, and runs nothing."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
    except Exception as error:  # a damaged or hostile file meets errors of every kind
        raise InputError(
            f"Weight file {str(file)!r} is damaged or holds more than tensors, and was not read "
            f"({first_line(error)}). Use weights that come as safetensors."
        ) from None
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise InputError(
            f"Weight file {str(file)!r} holds no plain mapping of names to tensors. Use weights that come as "
            "safetensors."
        )
    return {str(name): tensor for name, tensor in content.items()}


def _widen(source: Path, partial: Path) -> None:
    """Let Transformers read a quantised model in bfloat16, and save it as such."""
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(source)
        method = _ask_for_width(config)
        with quiet_loading():
            model, found = auto_class(config).from_pretrained(
                source, config=config, dtype=torch.bfloat16, output_loading_info=True
            )
            if any(parameter.dtype not in _WIDE for parameter in model.parameters()):
                model = model.dequantize(dtype=torch.bfloat16)
    except Exception as error:  # each quantisation has its own library, with errors of its own
        raise InputError(
            f"Checkpoint {str(source)!r} is quantised, and the installed Transformers cannot widen it "
            f"({first_line(error)}). Use the checkpoint that it was made from."
        ) from None
    narrow = [name for name, parameter in model.named_parameters() if parameter.dtype not in _WIDE]
    if narrow or found["missing_keys"]:
        name = sorted([*narrow, *found["missing_keys"]])[0]
        raise InputError(
            f"Checkpoint {str(source)!r} is quantised ({method}), and Transformers did not widen {name!r} of it. Use "
            "the checkpoint that it was made from."
        )
    for part in (model.config, model.config.get_text_config(decoder=True)):
        if hasattr(part, "quantization_config"):
            del part.quantization_config
    # Else saving would narrow the weights again; names and layouts follow the family's own table.
    model.hf_quantizer, model.is_quantized, model._weight_conversions = None, False, None
    check_space(partial, sum(p.numel() * p.element_size() for p in model.parameters()))
    with quiet_loading():
        model.save_pretrained(partial)


def _ask_for_width(config: Any) -> str:
    """Set, in a model's config, that its reader is to widen the weights; the quantisation's name."""
    from transformers.quantizers.auto import AutoHfQuantizer

    found = "unknown"
    for part in {id(part): part for part in (config, config.get_text_config(decoder=True))}.values():
        asked = getattr(part, "quantization_config", None)
        if isinstance(asked, dict):
            if not AutoHfQuantizer.supports_quant_method(asked):
                raise ValueError(f"it knows no quantisation {asked.get('quant_method')!r}")
            found = str(asked.get("quant_method", found))
            part.quantization_config = {**asked, "dequantize": True}
    return found


def _copy_rest(source: Path, partial: Path) -> None:
    """Tokenizer and what else lies beside the weights; no weights in any form."""
    folders, files = list_files(source, is_other_folder)
    for folder in folders:
        (partial / folder).mkdir(exist_ok=True)
    for name in files:
        written = (partial / name).exists() and name in _GENERATED
        if not written and not is_other_weights(source, name, ()):
            copy_file(source / name, partial / name)
