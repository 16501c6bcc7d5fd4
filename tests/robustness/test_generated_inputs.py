"""A thousand generated inputs: a corrupt one ends in exit code 2 and one sentence, a valid one works."""

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from main_job import call, write_texts
from robustness.generated_inputs import MAKERS, Case, Sound, generate, unlearn
from srmu.runtime.memory import peak_memory_mb, reset_peak_memory
from srmu.solver.gradient import GradientSolver

SECONDS, MEGABYTES = 5.0, 1000.0
HANGS = 60
"""Seconds after which a command is stopped."""


@pytest.fixture(scope="module")
def sound(saved_family: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """The inputs that are damaged; one run is interrupted after its first of two steps."""
    folder = tmp_path_factory.mktemp("sound")
    found = Sound(
        saved_family("llama"),
        saved_family("llama", sharded=True),
        write_texts(folder / "texts"),
        folder / "interrupted",
    )
    step = GradientSolver.step

    def interrupted(solver: GradientSolver) -> None:
        if solver.next_step == 1:
            raise KeyboardInterrupt
        step(solver)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(GradientSolver, "step", interrupted)
        from srmu.cli.app import main

        assert main([*unlearn(found, save_every=1), "--out", str(found.interrupted)]) == 130
    assert (found.interrupted / "state.safetensors").exists()
    return found


@contextmanager
def stopped_when_it_hangs() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TimeoutError(f"no end after {HANGS} s")

    former = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)


def problem(case: Case, capsys: Any) -> str:
    """What is wrong with how the command took this input; empty where nothing is."""
    device = torch.device("cpu")
    reset_peak_memory(device)
    # What other tests of this process left there is not the command's.
    held = peak_memory_mb(device)["resident"]
    started = time.process_time()
    try:
        with stopped_when_it_hangs():
            code, _, errors = call(capsys, *case.arguments)
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:300]}"
    seconds, peak = time.process_time() - started, peak_memory_mb(device)["resident"] - held
    told = [line for line in errors.splitlines() if line.startswith("error: ")]
    if not case.corrupt:
        return f"a valid input gave {code}: {told}" if code != 0 else limits(seconds, peak)
    if code != 2 or len(told) != 1 or errors.splitlines()[-1] != told[0]:
        return f"a corrupt input gave {code}: {errors[-400:]}"
    if "Traceback" in errors or not told[0].endswith((".", "?")) or len(told[0]) > 1500:
        return f"no sentence: {errors[-400:]}"
    if case.out is not None and case.out.exists():
        return f"{case.out} was written"
    return limits(seconds, peak)


def limits(seconds: float, peak: float) -> str:
    """Processor time, since the machine may be busy with other things; the peak is above what was held before."""
    if seconds > SECONDS or peak > MEGABYTES:
        return f"it took {seconds:.1f} s of processor time and {peak:.0f} MB"
    return ""


@pytest.mark.parametrize(
    "numbers", [range(2 * len(MAKERS)), pytest.param(range(1000), marks=pytest.mark.slow)], ids=["few", "thousand"]
)
def test_corrupt_inputs_end_in_one_sentence_and_valid_ones_work(
    numbers: range, sound: Sound, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    problems = {}
    for number in numbers:
        folder = tmp_path / str(number)
        case = generate(number, folder, sound)
        if found := problem(case, capsys):
            problems[number, case.kind] = found
        shutil.rmtree(folder)
    assert problems == {}, "\n".join(f"{key}: {value}" for key, value in problems.items())
