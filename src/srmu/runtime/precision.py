"""In which precision a device computes."""

import typing
from collections.abc import Set

import torch

from srmu.config.groups import Dtype
from srmu.errors import InputError, nearest_hint


def choose_dtype(name: str, device: torch.device, stored: Set[str]) -> torch.dtype:
    """`auto` is the stored dtype where the device multiplies it natively, else float32.

    Args:
        name: `auto`, or as torch names it.
        device: Where to compute.
        stored: Dtypes of the checkpoint's tensors, as safetensors names them.
    """
    if name != "auto":
        return getattr(torch, name)
    if device.type == "cpu":
        return torch.bfloat16 if "BF16" in stored and cpu_multiplies_bfloat16() else torch.float32
    if not stored & {"BF16", "F16"}:
        return torch.float32
    return torch.bfloat16 if "BF16" in stored else torch.float16


def mixed_precision(device: torch.device) -> torch.autocast:
    """A context in which a float32 model multiplies in bfloat16, on a CPU that does so natively."""
    return torch.autocast("cpu", torch.bfloat16, enabled=device.type == "cpu" and cpu_multiplies_bfloat16())


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for products of bfloat16: about four times as fast as float32, else slower."""
    # A PyTorch that does not say computes in float32.
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return any(capabilities.get(name, False) for name in ("avx512_bf16", "amx_bf16"))


def check_dtype(dtype: str) -> str:
    """Refuse a name that is no compute dtype.

    Raises:
        InputError: With the nearest name.
    """
    known = typing.get_args(Dtype)
    if dtype not in known:
        raise InputError(
            f"dtype={dtype!r} was asked for.{nearest_hint(dtype, known)} Choose one of {', '.join(known)}."
        )
    return dtype
