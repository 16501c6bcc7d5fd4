"""Where to compute."""

import torch

from srmu.errors import InputError
from srmu.runtime.processes import local_rank, world_size


def choose_device(name: str) -> torch.device:
    """`auto` is the first accelerator, else the CPU; of several ranks each takes an accelerator of its own.

    Raises:
        InputError: If torch does not know the device, or the machine lacks it, or has fewer than ranks.
    """
    if name == "auto":
        accelerator = torch.accelerator.current_accelerator(check_available=True)
        name = "cpu" if accelerator is None else accelerator.type
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0][:120]
        raise InputError(
            f"device={name!r} was asked for, but this machine cannot use it ({reason}). Try --device cpu."
        ) from None
    return device if world_size() == 1 or device.type == "cpu" else _own_device(device)


def device_name(device: torch.device) -> str:
    """As torch names it, with what a CUDA device is called."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else str(device)


def _own_device(device: torch.device) -> torch.device:
    if ":" in str(device):
        raise InputError(
            f"device={str(device)!r} names one device, and {world_size()} processes were launched. Use --device auto."
        )
    if local_rank() >= torch.accelerator.device_count():
        raise InputError(
            f"More processes were launched on this machine than it has devices of type {device.type!r} "
            f"({torch.accelerator.device_count()}). Launch one for each device."
        )
    return torch.device(device.type, local_rank())
