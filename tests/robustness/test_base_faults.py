"""Bases that are damaged, not what they say, or change while a run reads them: one sentence, exit code 2 or 3."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from main_job import call, flags, write_texts
from srmu.solver.gradient import GradientSolver


@pytest.fixture
def base(saved_family: Callable[..., Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved_family("llama"), tmp_path / "base"))


@pytest.fixture
def unlearn(base: Path, tmp_path: Path, capsys: Any) -> Callable[..., tuple[int, str]]:
    texts = write_texts(tmp_path / "texts")

    def run(*more: str) -> tuple[int, str]:
        sources = ["--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl")]
        out = ["--out", str(tmp_path / "run")]
        code, _, errors = call(capsys, "unlearn", str(base), *sources, *flags(steps=2), "--no-eval", *out, *more)
        told = [line for line in errors.splitlines() if line.startswith("error: ")]
        assert len(told) == 1, errors
        assert "Traceback" not in errors
        assert not (tmp_path / "run" / "model").exists()
        return code, told[0]

    return run


def rewrite(base: Path, name: str, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
    """Change one tensor of a checkpoint of one file."""
    tensors = load_file(base / "model.safetensors")
    save_file(tensors | {name: change(tensors[name]).contiguous()}, base / "model.safetensors", {"format": "pt"})


def last(value: float) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(tensor: torch.Tensor) -> torch.Tensor:
        changed = tensor.clone()
        changed.view(-1)[-1] = value
        return changed

    return change


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "model.layers.0.self_attn.q_proj.weight",
        "model.layers.3.mlp.down_proj.weight",
        "model.layers.4.mlp.up_proj.weight",
        "model.norm.weight",
        "lm_head.weight",
    ],
)
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_value_that_is_not_finite_is_named_wherever_it_lies(
    name: str, value: float, base: Path, unlearn: Any
) -> None:
    rewrite(base, name, last(value))
    code, told = unlearn()
    assert code == 2
    assert f"{name!r}" in told
    assert "not finite" in told


def test_float8_without_a_scale_is_refused_before_anything_is_computed(base: Path, unlearn: Any) -> None:
    rewrite(base, "model.layers.3.mlp.down_proj.weight", lambda tensor: tensor.to(torch.float8_e4m3fn))
    code, told = unlearn()
    assert code == 2
    assert "F8_E4M3" in told
    assert "quantization_config" in told


@pytest.mark.parametrize("value", [10**9, 1e9, 10**30, 10**15])
@pytest.mark.parametrize("key", ["num_hidden_layers", "num_attention_heads", "num_key_value_heads"])
def test_counts_that_no_file_could_hold_end_at_once(key: str, value: float, base: Path, unlearn: Any) -> None:
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {key: value}))
    code, told = unlearn()
    assert code == 2
    assert key in told


@pytest.mark.parametrize("name", ["forget_batch_size", "retain_batch_size", "num_self_written", "steps", "max_length"])
def test_sizes_that_would_fill_the_memory_are_refused(name: str, unlearn: Any) -> None:
    code, told = unlearn(f"--{name.replace('_', '-')}", str(10**15))
    assert code == 2
    assert f"{name}={10**15}, which must be at most" in told


def during_training(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    step = GradientSolver.step

    def act_then_step(solver: GradientSolver) -> None:
        if solver.next_step == 1:
            act()
        step(solver)

    monkeypatch.setattr(GradientSolver, "step", act_then_step)


def test_weights_that_are_exchanged_while_a_run_trains_end_it(
    base: Path, unlearn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    during_training(monkeypatch, lambda: rewrite(base, "model.layers.4.mlp.up_proj.weight", lambda tensor: tensor + 1))
    code, told = unlearn()
    assert code == 3
    assert "'model.safetensors' of the base changed while the run trained" in told


def test_a_file_that_is_cut_short_while_a_run_trains_ends_it(
    base: Path, unlearn: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = base / "model.safetensors"

    def exchange() -> None:
        # The file itself stays mapped; its name leads to a shorter one.
        file.with_name("cut").write_bytes(file.read_bytes()[: file.stat().st_size // 3])
        os.replace(file.with_name("cut"), file)

    during_training(monkeypatch, exchange)
    code, told = unlearn()
    assert code in (2, 3)
    assert "model.safetensors" in told or "tensor" in told.lower()
