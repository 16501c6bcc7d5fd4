"""Ctrl-C and SIGTERM while a run trains: it ends between two steps, and can be resumed where texts may be stored."""

import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkpoint_files import all_bytes
from main_job import FORGET, RETAIN, SETTINGS, call, files_with, flags, read_metrics, write_texts
from srmu import unlearn
from srmu.errors import Interrupted
from srmu.job.unlearn import resume
from srmu.runtime.interruption import stop_requests
from srmu.solver.gradient import GradientSolver

STEPS = 8

LAUNCHED = {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}
"""What a launcher sets."""


@pytest.fixture
def base(saved_family: Callable[..., Path]) -> Path:
    return saved_family("llama")


@pytest.fixture
def command(base: Path, tmp_path: Path) -> list[str]:
    texts = write_texts(tmp_path / "texts")
    sources = ["--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl")]
    return ["unlearn", str(base), *sources, *flags(steps=STEPS, map_scope="running"), "--no-eval", "--out"]


def signal_in_step(step: int, number: int, patch: pytest.MonkeyPatch) -> None:
    """Send this process a signal while it takes a step, counted from 0."""
    original = GradientSolver.step

    def interrupted(solver: GradientSolver) -> None:
        if solver.next_step == step:
            os.kill(os.getpid(), number)
        original(solver)

    patch.setattr(GradientSolver, "step", interrupted)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_after_its_step_and_resume_gives_the_same_bits(
    number: int, code: int, command: list[str], tmp_path: Path, capsys: Any
) -> None:
    assert call(capsys, *command, str(tmp_path / "whole"))[0] == 0
    run = tmp_path / "run"
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with pytest.MonkeyPatch.context() as patch:
        signal_in_step(3, number, patch)
        found, _, errors = call(capsys, *command, str(run))
    assert found == code
    assert f"Interrupted after step 4 of {STEPS}. Continue with: srmu unlearn --resume {run}" in errors
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert sorted(path.name for path in run.iterdir()) == ["config.json", "metrics.jsonl", "state.safetensors"]
    assert files_with(run, [*FORGET, *RETAIN]) == []
    assert call(capsys, "unlearn", "--resume", str(run))[0] == 0
    assert all_bytes(run / "model")["model.safetensors"] == all_bytes(tmp_path / "whole" / "model")["model.safetensors"]
    assert read_metrics(run) == read_metrics(tmp_path / "whole")
    assert sorted(all_bytes(run)) == sorted(all_bytes(tmp_path / "whole"))


def test_a_signal_while_the_checkpoint_is_written_leaves_a_state_of_all_steps(
    command: list[str], tmp_path: Path, capsys: Any
) -> None:
    run = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("srmu.job.exporting._write_checkpoint", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
        found, _, errors = call(capsys, *command, str(run))
    assert found == 143
    assert f"after step {STEPS} of {STEPS}" in errors
    assert not (run / "model").exists()
    assert resume(run).model_dir.is_dir()


@pytest.mark.parametrize("save_every", [0, 5])
def test_texts_given_as_strings_are_stored_only_with_save_every(
    base: Path, tmp_path: Path, save_every: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    settings = {**SETTINGS, "steps": STEPS, "forget": FORGET, "retain": RETAIN, "eval": False}
    signal_in_step(2, signal.SIGINT, monkeypatch)
    with pytest.raises(Interrupted) as caught:
        unlearn(model=base, out=str(run), save_every=save_every, **settings)
    kept = ["config.json", "metrics.jsonl", "state.safetensors"] if save_every else ["metrics.jsonl"]
    assert sorted(path.name for path in run.iterdir()) == kept
    assert ("--resume" in str(caught.value)) == bool(save_every)
    assert ("save_every=N" in str(caught.value)) != bool(save_every)
    assert len(read_metrics(run)) == 3


def test_a_second_signal_strikes_at_once_and_ranks_ignore_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    for name, value in LAUNCHED.items():
        monkeypatch.setenv(name, value)
    with stop_requests() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.signal == signal.SIGTERM


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    handler, noted = signal.getsignal(signal.SIGTERM), []

    def work() -> None:
        with stop_requests():
            noted.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert noted == [handler]
