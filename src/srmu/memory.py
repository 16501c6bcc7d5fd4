"""Peak memory: of this process, and of what an accelerator allocated."""

import resource
import sys
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak_memory(device: torch.device) -> None:
    """Begin a new peak, where the system can (Linux, CUDA); elsewhere the peak is that of the whole process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        _CLEAR.write_text("5")
    except OSError:
        return


def peak_memory_mb(device: torch.device) -> dict[str, float]:
    """Peak resident memory of the process, and peak allocated memory of the device, in MB (10^6 bytes)."""
    peaks = {"resident": round(_peak_resident_bytes() / 1e6, 1)}
    if device.type == "cuda":
        peaks["allocated"] = round(torch.cuda.max_memory_allocated(device) / 1e6, 1)
    return peaks


def _peak_resident_bytes() -> int:
    try:
        lines = _STATUS.read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
