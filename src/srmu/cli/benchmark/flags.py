"""Arguments that all benchmarks have, and how their results come out."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import typer

from srmu.results.benchmarks.records import BENCHMARK_FORMAT, BenchmarkRecord, Benchmarks

if TYPE_CHECKING:
    from srmu.job.benchmarks.common import ComputeOptions
    from srmu.runtime.progress import Reporter

R = TypeVar("R")

MODEL: Any = typer.Argument(..., metavar="MODEL|RUN", help="Checkpoint directory, hub id or run directory.")
JSON: Any = typer.Option(False, "--json", help="Print as JSON.")


def compute_options(device: str, dtype: str, memory_gb: str, trust_remote_code: bool) -> "ComputeOptions":
    """The flags of device, dtype and memory as one value."""
    from srmu.config.settings import parse_memory
    from srmu.job.benchmarks.common import ComputeOptions

    return ComputeOptions(
        device=device, dtype=dtype, memory_gb=parse_memory(memory_gb), trust_remote_code=trust_remote_code
    )


def reporter() -> "Reporter":
    """Of several processes one speaks."""
    from srmu.cli.console import TerminalReporter
    from srmu.runtime.processes import main_process
    from srmu.runtime.progress import Reporter

    return TerminalReporter() if main_process() else Reporter()


def show_or_print(result: R, show: Callable[[R], None], found: Benchmarks, *, json_output: bool) -> int:
    """The tables of a result, or its JSON; the exit code."""
    from srmu.cli.console import print_json
    from srmu.results.schema import to_json
    from srmu.runtime.processes import main_process

    if not main_process():
        return 0
    if json_output:
        print_json(to_json(BenchmarkRecord(format=BENCHMARK_FORMAT, benchmarks=found)))
    else:
        show(result)
    return 0
