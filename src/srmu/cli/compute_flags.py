"""Flags that say where and how a command computes, the same for all that load a model."""

from typing import Any

import typer

DEVICE: Any = typer.Option("auto", "--device", help="auto, cpu, cuda, ...")
DEVICE_OR_ALL: Any = typer.Option("auto", "--device", help="auto, cpu, cuda, ..., all (spread over accelerators).")
DTYPE: Any = typer.Option("auto", "--dtype", help="auto, float32, bfloat16, float16.")
MEMORY_GB: Any = typer.Option(
    "auto", "--memory-gb", help="GiB that a model may take; auto = what is free. Beyond, layers stay on disk."
)
TRUST_REMOTE_CODE: Any = typer.Option(False, "--trust-remote-code", help="Run code of the checkpoint.")
