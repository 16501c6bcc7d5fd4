"""Peak of a process's anonymous resident memory: what it allocated, without the pages of files that it mapped."""

import os
import threading
import time

import torch

PAUSE = 0.005


class PeakMemory:
    """Samples from a thread while the process lives (Linux); on CUDA devices the allocator's own peak is used.

    Args:
        device: `cpu` or a CUDA device.
    """

    def __init__(self, device: str):
        self.device = torch.device(device)
        self._status = os.open("/proc/self/statm", os.O_RDONLY)
        self.baseline = self.peak = self._anonymous_bytes()
        threading.Thread(target=self._watch, daemon=True).start()

    def above_baseline(self) -> int:
        """Peak bytes above what the process held when this object was made."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return self.peak - self.baseline

    def restart(self) -> None:
        """Begin a new peak."""
        self.peak = self._anonymous_bytes()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def _watch(self) -> None:
        while True:
            self.peak = max(self.peak, self._anonymous_bytes())
            time.sleep(PAUSE)

    def _anonymous_bytes(self) -> int:
        _, resident, shared, *_ = os.pread(self._status, 128, 0).split()
        return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
