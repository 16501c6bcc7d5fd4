"""Layers 0..l alone give the whole model's hidden state, whatever the family and the layout of the files."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from families import FAMILIES, TAPPED_LAYER, VARIANTS, VOCABULARY_SIZE, find_family, read_stored_tensors
from oracle.plain import PlainBatch, hidden_after
from srmu.errors import InputError
from srmu.surgery.attention import use_causal_blocks
from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.truncate import TruncatedModel, build_skeleton, load_truncated

SavedFamily = Callable[..., Path]
TOKEN_IDS = torch.randint(6, VOCABULARY_SIZE, (2, 21), generator=torch.Generator().manual_seed(0))
CPU = torch.device("cpu")
# Ways in which a checkpoint lies on disk, and what stands before `layers` in its names.
LAYOUTS: dict[str, tuple[str, dict[str, Any], str]] = {
    "sharded": ("llama", {"sharded": True}, "model."),
    "old GPT-2": ("gpt2", {"key_style": "gpt2_bare"}, ""),
    "old Gemma 3": ("gemma3_nested", {"key_style": "gemma3_old"}, "language_model.model."),
    "new Gemma 3": ("gemma3_nested", {"key_style": "gemma3_new"}, "model.language_model."),
    "sharded experts": ("mixtral", {"sharded": True}, "model."),
}


def load(path: Path, num_layers: int = TAPPED_LAYER + 1, dtype: torch.dtype = torch.float32) -> TruncatedModel:
    return load_truncated(open_checkpoint(path), num_layers, dtype=dtype, device=CPU)


@torch.no_grad()
def output_of(truncated: TruncatedModel) -> torch.Tensor:
    return truncated.inner(input_ids=TOKEN_IDS, use_cache=False).last_hidden_state


@torch.no_grad()
def hidden_state(path: Path, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    use_causal_blocks(model)
    return model(TOKEN_IDS, output_hidden_states=True, use_cache=False).hidden_states[TAPPED_LAYER + 1]


@pytest.mark.parametrize("name", [*FAMILIES, *VARIANTS])
def test_truncated_forward_has_the_bits_of_the_whole_model(name: str, saved_family: SavedFamily) -> None:
    truncated = load(saved_family(name))
    assert torch.equal(output_of(truncated), hidden_state(saved_family(name)))
    assert len(truncated.layers) == TAPPED_LAYER + 1
    assert truncated.vocab_size == VOCABULARY_SIZE
    assert truncated.hidden_size == TOKEN_IDS.new_empty(0, 36 if name.startswith("gemma") else 32).shape[1]
    assert not truncated.inner.training
    assert not any(parameter.requires_grad for parameter in truncated.inner.parameters())


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_of_the_files_gives_the_same(layout: str, saved_family: SavedFamily) -> None:
    name, options, prefix = LAYOUTS[layout]
    truncated = load(saved_family(name, **options))
    assert truncated.key_prefix == prefix
    assert torch.equal(output_of(truncated), hidden_state(saved_family(name)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_files_give_the_same(dtype: str, saved_family: SavedFamily) -> None:
    path, wanted = saved_family("llama", dtype=dtype), getattr(torch, dtype)
    truncated = load(path, dtype=wanted)
    assert {parameter.dtype for parameter in truncated.inner.parameters()} == {wanted}
    assert torch.equal(output_of(truncated), hidden_state(path, wanted))


def test_the_last_layer_is_tapped_before_the_final_norm(saved_family: SavedFamily) -> None:
    model = AutoModelForCausalLM.from_pretrained(saved_family("llama"), dtype=torch.float32)
    use_causal_blocks(model)
    with torch.no_grad():
        expected = hidden_after(model, PlainBatch(TOKEN_IDS, torch.ones_like(TOKEN_IDS).bool()), 4)
        normed = model(TOKEN_IDS, output_hidden_states=True).hidden_states[5]
    assert torch.equal(output_of(load(saved_family("llama"), 5)), expected)
    assert not torch.equal(normed, expected)


@pytest.fixture
def read_names(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of the tensors whose values Transformers reads, as opposed to looking up their shapes."""
    names: set[str] = set()

    class Slice:
        def __init__(self, name: str, inner: Any):
            self.name, self.inner = name, inner

        def __getitem__(self, index: Any) -> torch.Tensor:
            names.add(self.name)
            return self.inner[index]

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self.inner, attribute)

    class File:
        def __init__(self, *args: Any, **kwargs: Any):
            self.inner = safe_open(*args, **kwargs)

        def get_slice(self, name: str) -> Slice:
            return Slice(name, self.inner.get_slice(name))

        def get_tensor(self, name: str) -> torch.Tensor:
            names.add(name)
            return self.inner.get_tensor(name)

        def __enter__(self) -> "File":
            self.inner.__enter__()
            return self

        def __exit__(self, *exception: Any) -> None:
            self.inner.__exit__(*exception)

        def __getattr__(self, attribute: str) -> Any:
            return getattr(self.inner, attribute)

    monkeypatch.setattr(transformers.modeling_utils, "safe_open", File)
    return names


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma3_nested", "mixtral"])
def test_tensors_of_later_layers_are_never_read(name: str, saved_family: SavedFamily, read_names: set[str]) -> None:
    load(saved_family(name), 2)
    stored = read_stored_tensors(saved_family(name))
    layers = find_family(name).layers_path.split(".")[-1]
    within = {key for key in stored if f"{layers}.0." in key or f"{layers}.1." in key}
    within = {key for key in within if "vision" not in key}
    assert within <= read_names
    # Beside them the embeddings and the final norm, and nothing of the layers above, the head or a vision tower.
    rest = read_names - within
    assert all(any(part in key for part in ("embed_tokens", "wte", "wpe", "norm.", "ln_f")) for key in rest)
    assert not any(f".{index}." in key for key in rest for index in range(6))
    # The control: the same spy sees a whole model read everything.
    AutoModelForCausalLM.from_pretrained(saved_family(name), dtype=torch.float32)
    assert {key for key in stored if f"{layers}.3." in key} <= read_names


def damaged(path: Path, target: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    shutil.copytree(path, target)
    tensors = read_stored_tensors(path)
    change(tensors)
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    return target


def test_a_tensor_that_is_missing_is_named(saved_family: SavedFamily, tmp_path: Path) -> None:
    path = damaged(saved_family("llama"), tmp_path / "x", lambda t: t.pop("model.layers.1.mlp.down_proj.weight"))
    with pytest.raises(InputError, match=r"'layers.1.mlp.down_proj.weight' of layers 0 to 3 .* \(1 in all\)"):
        load(path)


def test_a_tensor_of_another_shape_is_named(saved_family: SavedFamily, tmp_path: Path) -> None:
    def change(tensors: dict[str, torch.Tensor]) -> None:
        tensors["model.layers.1.mlp.down_proj.weight"] = torch.zeros(32, 40)

    path = damaged(saved_family("llama"), tmp_path / "x", change)
    with pytest.raises(InputError, match=r"'layers.1.mlp.down_proj.weight' of layers 0 to 3 .* another shape"):
        load(path)


def test_a_missing_expert_is_refused(saved_family: SavedFamily, tmp_path: Path) -> None:
    name = "model.layers.1.block_sparse_moe.experts.2.w2.weight"
    path = damaged(saved_family("mixtral"), tmp_path / "x", lambda t: t.pop(name))
    with pytest.raises(InputError, match=r"'layers.1.mlp.experts.down_proj'"):
        load(path)


def test_tensors_that_are_not_read_may_be_missing(saved_family: SavedFamily, tmp_path: Path) -> None:
    path = damaged(saved_family("llama"), tmp_path / "x", lambda t: t.pop("model.layers.4.mlp.down_proj.weight"))
    assert torch.equal(output_of(load(path)), hidden_state(saved_family("llama")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "no_such_family"}, "family 'no_such_family' was asked for, which this version"),
        ({"vocab_size": 128}, r"'embed_tokens.weight' with shape \[128, 32\] was asked for"),
    ],
)
def test_a_config_that_does_not_fit_is_refused(
    changes: dict[str, Any], message: str, saved_family: SavedFamily, tmp_path: Path
) -> None:
    path = damaged(saved_family("llama"), tmp_path / "x", lambda _: None)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **changes}))
    with pytest.raises(InputError, match=message):
        load(path)


@pytest.mark.parametrize("name", FAMILIES)
def test_skeleton_has_names_and_shapes_without_weights(name: str, saved_family: SavedFamily) -> None:
    skeleton = build_skeleton(open_checkpoint(saved_family(name)), TAPPED_LAYER + 1)
    truncated = load(saved_family(name))
    shapes = {key: value.shape for key, value in skeleton.layers.named_parameters()}
    assert shapes == {key: value.shape for key, value in truncated.layers.named_parameters()}
    assert all(value.is_meta for value in skeleton.inner.parameters())
    assert (skeleton.key_prefix, skeleton.layers_name) == (truncated.key_prefix, truncated.layers_name)


def test_loading_leaves_the_verbosity_of_transformers_alone(saved_family: SavedFamily) -> None:
    logging = transformers.utils.logging
    logging.set_verbosity_info()
    try:
        load(saved_family("llama"), 1)
        assert logging.get_verbosity() == logging.INFO
    finally:
        logging.set_verbosity_error()
