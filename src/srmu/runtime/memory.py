"""Memory: what this process took at most, what an accelerator allocated, what is free."""

import resource
import sys
from pathlib import Path

import torch

from srmu.runtime.processes import processes_here

GIB = 1024**3
# Of free memory: allocators and the system need some of it.
_USABLE = 0.9
_CGROUP = Path("/sys/fs/cgroup")
# M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD of glibc's mallopt; the first cannot be larger.
_MALLOC_SIZES = {-3: 32 * 1024**2, -1: 256 * 1024**2, -2: 64 * 1024**2}
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


def keep_freed_memory() -> None:
    """Let the C library keep what a step frees for the next one, where it is glibc; elsewhere nothing changes.

    By default it gives blocks of a batch's size back to the system, which then clears the same pages again at every
    step. What is larger, such as weights, still goes back.
    """
    import ctypes

    if not sys.platform.startswith("linux") or not hasattr(libc := ctypes.CDLL(None), "gnu_get_libc_version"):
        return
    for parameter, size in _MALLOC_SIZES.items():
        libc.mallopt(parameter, size)


def fits(needed: float, device: torch.device, limit_gb: float | str = "auto") -> bool:
    """Whether so many bytes may be allocated on a device.

    Args:
        needed: In bytes.
        device: Where.
        limit_gb: GiB that may be taken; `auto` = nine tenths of what is free.
    """
    return needed <= (_USABLE * free_memory(device) if limit_gb == "auto" else float(limit_gb) * GIB)


def free_memory(device: torch.device) -> float:
    """Bytes that this process may still allocate; of processes on one machine's CPUs, each has its share."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    import psutil

    free = float(psutil.virtual_memory().available)
    try:
        limit, used = ((_CGROUP / name).read_text().strip() for name in ("memory.max", "memory.current"))
        cached = next(line for line in (_CGROUP / "memory.stat").read_text().splitlines() if line.startswith("file "))
        if limit != "max":
            free = min(free, float(limit) - float(used) + float(cached.split()[1]))
    except (OSError, StopIteration):
        pass  # no such limit on this system
    return free / processes_here()


def _peak_resident_bytes() -> int:
    try:
        lines = _STATUS.read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM:"))) * 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
