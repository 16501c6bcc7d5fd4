import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, MistralConfig

from checkpoint_files import join_header
from main_job import FORGET, RETAIN, SETTINGS, inline
from srmu.config.settings import make_config
from srmu.job.estimate import PROCESS_MB, _operations_a_second, estimate
from srmu.job.plan import make_plan
from tiny_tokenizers import make_tokenizer

RATE = 1e9


@pytest.fixture(autouse=True)
def fixed_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srmu.job.estimate._operations_a_second", lambda plan: RATE)


def cost_of(base: Path, **changes: Any) -> dict[str, float]:
    given: dict[str, Any] = {**SETTINGS, "model": str(base), "forget": inline(FORGET), "retain": inline(RETAIN)}
    return estimate(make_plan(make_config({**given, **changes})))


def test_time_grows_with_the_steps_and_the_rows(saved_family):
    base = saved_family("llama")
    once = cost_of(base)["training_seconds"]
    assert cost_of(base, steps=2 * SETTINGS["steps"])["training_seconds"] == pytest.approx(2 * once)
    doubled = cost_of(base, forget_batch_size=8, retain_batch_size=8)["training_seconds"]
    assert doubled == pytest.approx(2 * once)


def test_the_operations_are_those_of_the_layers(saved_family):
    # A layer of the tiny Llama: 3 * 32 * 48 (MLP) + 32 * (32 + 16 + 16 + 32) (attention) + 2 * 32 (norms).
    layer = 3 * 32 * 48 + 32 * 96 + 64
    tokens = 8 * 13  # 4 + 4 rows of 12 words and <s>
    expected = tokens * (2 * 4 * layer + 2 * 3 * layer + 2 * 2 * layer + 2 * 3 * 32 * 48) * SETTINGS["steps"] / RATE
    assert cost_of(saved_family("llama"))["training_seconds"] == pytest.approx(expected)


def test_of_experts_only_those_that_a_token_meets_count(saved_family):
    base = saved_family("mixtral", dtype="bfloat16", sharded=True)
    experts, attention, small = 3 * 32 * 48, 32 * 96, 64 + 4 * 32
    layer = 2 * experts + attention + small
    trained = 3 * 4 * 32 * 48
    expected = 104 * (2 * 4 * layer + 2 * 3 * layer + 2 * 2 * layer + 2 * trained) * SETTINGS["steps"] / RATE
    assert cost_of(base)["training_seconds"] == pytest.approx(expected)


def test_a_small_model_is_said_to_need_little_more_than_the_process(saved_family):
    cost = cost_of(saved_family("llama"))
    assert PROCESS_MB < cost["training_mb"] < PROCESS_MB + 20
    assert cost["disk_mb"] == make_plan(
        make_config({"model": str(saved_family("llama")), "forget": inline(FORGET)})
    ).disk_bytes / 1e6  # fmt: skip


def write_headers(config: Any, folder: Path) -> Path:
    """A checkpoint in bfloat16 of which the disk holds headers and a tokenizer alone: its data are holes."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    named, weight_map, size = list(model.named_parameters()), {}, 40
    for start in range(0, len(named), size):
        header, position, shard = {}, 0, f"model-{start:05}.safetensors"
        for name, parameter in named[start : start + size]:
            end = position + 2 * parameter.numel()
            header[name] = {"dtype": "BF16", "shape": list(parameter.shape), "data_offsets": [position, end]}
            position, weight_map[name] = end, shard
        (folder / shard).write_bytes(join_header(header, b""))
        os.truncate(folder / shard, (folder / shard).stat().st_size + position)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    config.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


def mistral(hidden: int, intermediate: int, layers: int, heads: int) -> MistralConfig:
    return MistralConfig(
        hidden_size=hidden, intermediate_size=intermediate, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=8, vocab_size=32000,
    )  # fmt: skip


ZEPHYR, SEVENTY = mistral(4096, 14336, 32, 32), mistral(8192, 28672, 80, 64)


@pytest.mark.parametrize(
    ("config", "device", "dtype", "limit", "most"),
    [
        (ZEPHYR, "cuda", torch.bfloat16, 7.4, 8_000),
        (ZEPHYR, "cpu", torch.float32, 14.5, 16_000),
        (SEVENTY, "cuda", torch.bfloat16, 72.0, 80_000),
    ],
    ids=["7B under 8 GB", "7B on a machine of 16 GB", "70B on 80 GB"],
)
def test_large_models_are_predicted_to_fit_where_they_are_meant_to(
    config: MistralConfig, device: str, dtype: torch.dtype, limit: float, most: float, tmp_path: Path
) -> None:
    sides = {role: inline([" ".join([word] * 600)] * 8) for role, word in (("forget", "river"), ("retain", "stone"))}
    given = {"model": str(write_headers(config, tmp_path)), **sides}
    run = make_config({**given, "preset": "rmu", "memory_gb": limit, "device": "cpu"})
    # Arithmetic alone: neither the device nor the weights are needed.
    cost = estimate(dataclasses.replace(make_plan(run), device=torch.device(device), dtype=dtype))
    assert 0.4 * most < cost["training_mb"] < most
    assert cost["measuring_mb"] < most


def test_the_measured_rate_is_that_of_a_machine(saved_family, monkeypatch):
    monkeypatch.undo()
    plan = make_plan(make_config({"model": str(saved_family("llama")), "forget": inline(FORGET)}))
    assert 1e8 < _operations_a_second(plan) < 1e16
