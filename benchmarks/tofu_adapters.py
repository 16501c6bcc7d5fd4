"""Models of the TOFU arena as LoRA adapters in PEFT's format, from which they are made again without training."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from srmu.errors import InputError
from srmu.evaluation.loading import load_causal_lm
from srmu.export.lora import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from srmu.runtime.files import write_json_atomic, write_tensors_atomic

SCALE = 2
"""What a product of factors is multiplied by in training; in the files it is in B already."""


def add_adapters(model: Any, rank: int, seed: int) -> None:
    """Put adapters on all linear layers but the head, in place; only they are trained.

    Args:
        model: In eval mode, so that nothing is dropped.
        rank: Of the factors.
        seed: Draws the A factors; B begins at zero.

    Raises:
        InputError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError("LoRA needs the package peft. Install it: pip install 'srmu[attack]'.") from None
    config = LoraConfig(r=rank, lora_alpha=SCALE * rank, lora_dropout=0.0, target_modules="all-linear")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_" in name)


def write_adapter(model: Any, rank: int, out: Path, *, base_name: str) -> None:
    """Write a trained model's adapters, two bytes a number, into a directory that is there."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            factor = parameter.detach() * (SCALE if ".lora_B." in name else 1)
            name = f"base_model.model.{name.replace('.default.', '.')}"
            tensors[name] = factor.to("cpu", torch.bfloat16).contiguous()
    modules = sorted({name.removeprefix("base_model.model.").partition(".lora_")[0] for name in tensors})
    config = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base_name, "r": rank,
        "lora_alpha": rank, "lora_dropout": 0.0, "bias": "none", "fan_in_fan_out": False, "inference_mode": True,
        "target_modules": modules,
    }  # fmt: skip
    write_tensors_atomic(out / ADAPTER_WEIGHTS, tensors)
    write_json_atomic(out / ADAPTER_CONFIG, config)


def merged(base: Path, adapter: Path) -> Any:
    """The base with an adapter added in float32, then rounded as the base is stored.

    Raises:
        InputError: The adapter's files are missing or damaged, or belong to another base.
    """
    model = load_causal_lm(base)
    stored = model.dtype
    model.float()
    layers = dict(model.named_modules())
    try:
        tensors = load_file(adapter / ADAPTER_WEIGHTS)
        config = json.loads((adapter / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        with torch.no_grad():
            for module in config["target_modules"]:
                factors = (tensors[f"base_model.model.{module}.lora_{factor}.weight"].float() for factor in "AB")
                a_matrix, b_matrix = factors
                layers[module].weight += b_matrix @ a_matrix
    except Exception as error:  # of the file system, the libraries, and shapes that do not fit
        reason = (str(error).splitlines() or [type(error).__name__])[0][:150]
        raise InputError(
            f"Adapter {str(adapter)!r} cannot be put on {str(base)!r} ({reason}). Remove it to train again."
        ) from error
    return model.to(stored)
