"""Parameters of the loaded layers and tensors in the files match both ways, whatever the files call them."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from families import FAMILIES, TAPPED_LAYER, TRAINED_LAYERS, VARIANTS, find_family, read_stored_tensors
from srmu.errors import InputError
from srmu.surgery.checkpoint import open_checkpoint, read_tensor
from srmu.surgery.layers import ROLES
from srmu.surgery.names import check_names, stored_results, stored_tensors
from srmu.surgery.truncate import load_truncated
from tiny_runs import load_tiny

SavedFamily = Callable[..., Path]
STYLES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in (*FAMILIES, *VARIANTS)),
    ("gpt2", {"key_style": "gpt2_bare"}),
    ("gemma3_nested", {"key_style": "gemma3_old"}),
    ("gemma3_nested", {"key_style": "gemma3_new"}),
]


def parameters_of(path: Path) -> dict[str, torch.Tensor]:
    """Every parameter of the trained layers that has a role."""
    truncated = load_tiny(path)
    chosen = {}
    for layer_id in TRAINED_LAYERS:
        known = dict(truncated.layers[layer_id].named_parameters())
        for name in (name for names in ROLES.values() for name in names if name in known):
            chosen[f"{truncated.layers_name}.{layer_id}.{name}"] = known[name].detach()
    return chosen


@pytest.mark.parametrize(("name", "options"), STYLES)
def test_what_is_written_is_what_transformers_loads(
    name: str, options: dict[str, Any], saved_family: SavedFamily, tmp_path: Path
) -> None:
    path = saved_family(name, **options)
    truncated, checkpoint = load_tiny(path), open_checkpoint(path)
    parameters = parameters_of(path)
    mapping = check_names(truncated, checkpoint, list(parameters))
    changed = {key: value + 1 for key, value in parameters.items()}
    stored = stored_tensors(truncated, checkpoint, changed)
    before = read_stored_tensors(path)
    assert sorted(stored) == sorted(key for keys in mapping.values() for key in keys)
    assert all(torch.equal(stored[key], before[key] + 1) for key in stored)
    shutil.copytree(path, tmp_path / "x")
    save_file({**before, **stored}, tmp_path / "x" / "model.safetensors", metadata={"format": "pt"})
    whole = AutoModelForCausalLM.from_pretrained(tmp_path / "x", dtype=torch.float32)
    for key, value in changed.items():
        full = key.replace(truncated.layers_name, find_family(name).layers_path, 1)
        assert torch.equal(whole.get_parameter(full), value)


def test_experts_are_single_tensors_in_the_files(saved_family: SavedFamily) -> None:
    path = saved_family("mixtral")
    mapping = check_names(load_tiny(path), open_checkpoint(path), ["layers.2.mlp.experts.down_proj"])
    names = mapping["layers.2.mlp.experts.down_proj"]
    assert sorted(names) == [f"model.layers.2.block_sparse_moe.experts.{expert}.w2.weight" for expert in range(4)]
    path = saved_family("qwen3_moe")
    mapping = check_names(
        load_tiny(path), open_checkpoint(path), ["layers.1.mlp.down_proj.weight", "layers.3.mlp.experts.down_proj"]
    )
    assert mapping["layers.1.mlp.down_proj.weight"] == ["model.layers.1.mlp.down_proj.weight"]
    assert sorted(mapping["layers.3.mlp.experts.down_proj"]) == [
        f"model.layers.3.mlp.experts.{expert}.down_proj.weight" for expert in range(4)
    ]


def test_half_precision_values_are_matched_in_the_compute_dtype(saved_family: SavedFamily) -> None:
    checkpoint = open_checkpoint(saved_family("llama"))
    truncated = load_truncated(checkpoint, TAPPED_LAYER + 1, dtype=torch.bfloat16, device=torch.device("cpu"))
    assert check_names(truncated, checkpoint, ["layers.3.mlp.down_proj.weight"])


def test_values_that_differ_from_the_files_are_refused(saved_family: SavedFamily) -> None:
    other = open_checkpoint(saved_family("llama", seed=1))
    with pytest.raises(InputError, match=r"'model.layers.2.mlp.down_proj.weight', but their values differ"):
        check_names(load_tiny(saved_family("llama")), other, ["layers.2.mlp.down_proj.weight"])


def test_a_parameter_without_a_counterpart_is_refused(saved_family: SavedFamily) -> None:
    path = saved_family("llama")
    for name, shape in (("layers.2.mlp.extra.weight", (2, 2)), ("layers.2.mlp.down_proj.weight", (2, 2))):
        with pytest.raises(InputError, match=f"'.*{name}' with shape .*hold no such tensor"):
            stored_tensors(load_tiny(path), open_checkpoint(path), {name: torch.zeros(shape)})


@pytest.mark.parametrize("compute", [torch.float32, torch.bfloat16, torch.float16])
def test_what_did_not_move_keeps_its_stored_bits_in_any_compute_dtype(
    compute: torch.dtype, saved_family: SavedFamily
) -> None:
    checkpoint = open_checkpoint(saved_family("llama"))
    truncated = load_truncated(checkpoint, 4, dtype=compute, device=torch.device("cpu"))
    name = "layers.3.mlp.down_proj.weight"
    master = truncated.inner.get_parameter(name).detach().float().clone()
    master[0, 0] += 1.0
    ((stored, result),) = stored_results(truncated, checkpoint, {name: master}).items()
    base = read_tensor(checkpoint, stored)
    assert result.dtype == base.dtype == torch.float32
    assert result[0, 0] == pytest.approx(base[0, 0] + 1.0)
    result[0, 0] = base[0, 0]
    assert torch.equal(result, base)
