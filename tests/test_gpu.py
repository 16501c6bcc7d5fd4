"""What only a machine with a CUDA device can show: `make test-gpu`."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoint_files import all_bytes
from main_job import call, flags, read_metrics, write_texts
from runtime.test_interruption import signal_in_step
from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.truncate import load_truncated
from tiny_runs import all_equal, finish, make_solver, masters_of

pytestmark = pytest.mark.gpu
CUDA = torch.device("cuda")
FAMILIES = ("llama", "gemma2", "gpt_neox", "qwen3_moe")


@pytest.fixture
def command(saved_family: Callable[..., Path], tmp_path: Path) -> list[str]:
    texts = write_texts(tmp_path / "texts")
    sources = ["--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl")]
    questions = ["--questions", f"forget={texts / 'questions.jsonl'}"]
    return ["unlearn", str(saved_family("llama")), *sources, *questions, *flags(steps=12), "--out"]


@pytest.mark.parametrize("family", FAMILIES)
def test_both_devices_take_the_same_steps(family: str, saved_family: Callable[..., Path]) -> None:
    path, results = saved_family(family), []
    for device in (torch.device("cpu"), CUDA):
        truncated = load_truncated(open_checkpoint(path), 4, dtype=torch.float32, device=device)
        solver = make_solver(path, truncated=truncated, learning_rate=1e-3)
        results.append((finish(solver), masters_of(solver)))
    for one, other in zip(*(records for records, _ in results), strict=True):
        for name in ("forget_loss", "gradient_norm"):
            assert other[name] == pytest.approx(one[name], rel=1e-3)
    for name, master in results[1][1].items():
        assert master.device.type == "cuda"
        assert float((master.cpu() - results[0][1][name]).norm() / results[0][1][name].norm()) < 1e-3


def test_the_same_seed_gives_the_same_bits(saved_family: Callable[..., Path]) -> None:
    path = saved_family("llama")
    truncated = load_truncated(open_checkpoint(path), 4, dtype=torch.bfloat16, device=CUDA)
    solvers = [make_solver(path, truncated=truncated, per_token_signs=0.5) for _ in range(2)]
    for solver in solvers:
        finish(solver)
    assert all_equal(*map(masters_of, solvers))


def test_a_run_is_measured_verified_and_interrupted_as_on_a_processor(
    command: list[str], tmp_path: Path, capsys: Any
) -> None:
    whole, run = tmp_path / "whole", tmp_path / "run"
    code, _, errors = call(capsys, *command, str(whole))
    assert code == 0, errors
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["environment"]["device"].startswith("cuda")
    assert manifest["peak_memory_mb"]["allocated"] > 0
    assert call(capsys, "verify", str(whole))[0] == 0
    with pytest.MonkeyPatch.context() as patch:
        signal_in_step(3, 15, patch)
        assert call(capsys, *command, str(run))[0] == 143
    assert call(capsys, "unlearn", "--resume", str(run))[0] == 0
    assert all_bytes(run / "model")["model.safetensors"] == all_bytes(whole / "model")["model.safetensors"]
    assert read_metrics(run) == read_metrics(whole)


def test_both_devices_measure_alike(saved_family: Callable[..., Path], tmp_path: Path, capsys: Any) -> None:
    texts, found = write_texts(tmp_path / "texts"), {}
    asked = ["--questions", f"forget={texts / 'questions.jsonl'}", "--texts", f"retain={texts / 'retain.jsonl'}"]
    command = ["evaluate", str(saved_family("llama")), *asked, "--dtype", "float32", "--json", "--device"]
    for device in ("cpu", "cuda"):
        code, output, errors = call(capsys, *command, device)
        assert code == 0, errors
        found[device] = _numbers(json.loads(output))
    assert len(found["cpu"]) > 3
    assert found["cuda"] == pytest.approx(found["cpu"], rel=1e-3)


def test_settings_are_chosen_and_recorded(command: list[str], tmp_path: Path, capsys: Any) -> None:
    code, _, errors = call(capsys, *command, str(tmp_path / "run"), "--search")
    assert code == 0, errors
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["auto"]["trials"]


def _numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for part in value.values() for number in _numbers(part)]
    if isinstance(value, list):
        return [number for part in value for number in _numbers(part)]
    return [float(value)] if isinstance(value, float) else []
