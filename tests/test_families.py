"""The tiny checkpoints hold what the tests that use them count on."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from families import (
    FAMILIES,
    TAPPED_LAYER,
    TRAINED_LAYERS,
    VARIANTS,
    VOCABULARY_SIZE,
    find_family,
    read_stored_tensors,
)
from tiny_tokenizers import TOKENIZERS, make_tokenizer

SavedFamily = Callable[..., Path]
TOKEN_IDS = torch.randint(6, VOCABULARY_SIZE, (2, 20), generator=torch.Generator().manual_seed(0))
EVERY = [*FAMILIES, *VARIANTS]
# One letter a layer: sliding or full attention; families not named have five full layers.
LAYER_KINDS = {
    "mistral": "sssss", "qwen2": "ffsss", "gemma2": "sfsfs", "gemma3": "ssfssf", "gemma3_nested": "ssfssf",
}  # fmt: skip


@pytest.mark.parametrize("name", EVERY)
def test_saved_checkpoint_gives_the_logits_of_the_built_model(name: str, saved_family: SavedFamily) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(saved_family(name), dtype="float32")
    built = find_family(name).build()
    with torch.no_grad():
        assert torch.equal(loaded(TOKEN_IDS).logits, built(TOKEN_IDS).logits)


@pytest.mark.parametrize("name", EVERY)
def test_every_trained_matrix_moves_the_tapped_layer(name: str) -> None:
    family = find_family(name)
    model = family.build()
    names = family.down_projection_names()
    assert len(names) == len(TRAINED_LAYERS)
    with torch.no_grad():
        before = model(TOKEN_IDS, output_hidden_states=True, use_cache=False).hidden_states
        for parameter_name in names:
            parameter = model.get_parameter(parameter_name)
            kept = parameter.clone()
            # Not a multiple of itself, which the norms after the matrix of Gemma and OLMo2 would undo.
            parameter.copy_(kept.flip(-1))
            after = model(TOKEN_IDS, output_hidden_states=True, use_cache=False).hidden_states
            parameter.copy_(kept)
            moved = (after[TAPPED_LAYER + 1] - before[TAPPED_LAYER + 1]).norm() / before[TAPPED_LAYER + 1].norm()
            assert moved > 0.02
    # The last hidden state is after the final norm, so more than one must come after the tapped layer's.
    assert len(before) > TAPPED_LAYER + 2


@pytest.mark.parametrize("name", EVERY)
def test_residual_norms_are_sane(name: str) -> None:
    model = find_family(name).build()
    with torch.no_grad():
        hidden_states = model(TOKEN_IDS, output_hidden_states=True, use_cache=False).hidden_states
    norms = torch.stack([hidden.norm(dim=-1) for hidden in hidden_states])
    assert norms.min() > 0.5
    assert norms.max() < 100
    assert norms[TAPPED_LAYER + 1].mean() > 1.1 * norms[0].mean()


@pytest.mark.parametrize("name", EVERY)
def test_sliding_and_full_layers_are_where_they_should_be(name: str) -> None:
    model = find_family(name).build()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        attentions = model(TOKEN_IDS, output_attentions=True, use_cache=False).attentions
    # With a window of 8, position 12 sees positions 5 to 12.
    assert all((attention[:, :, 12, 5:13] > 0).all() for attention in attentions)
    sees_the_distant_past = ["f" if (attention[:, :, 12, :5] > 0).any() else "s" for attention in attentions]
    assert "".join(sees_the_distant_past) == LAYER_KINDS.get(name, "fffff")


@pytest.mark.parametrize("name", EVERY)
def test_only_the_dropout_variant_has_dropout(name: str) -> None:
    config = find_family(name).build().config.get_text_config().to_dict()
    # The classifier's and summary's dropouts belong to heads that a causal model does not have.
    rates = [
        value
        for key, value in config.items()
        if ("dropout" in key or key.endswith("pdrop")) and not key.startswith(("summary", "classifier"))
    ]
    assert (max(rates, default=0.0) > 0) == (name == "gpt2_dropout")


def test_dropout_variant_differs_between_calls_in_train_mode_only() -> None:
    model = find_family("gpt2_dropout").build()
    with torch.no_grad():
        assert torch.equal(model(TOKEN_IDS).logits, model(TOKEN_IDS).logits)
        model.train()
        assert not torch.equal(model(TOKEN_IDS).logits, model(TOKEN_IDS).logits)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_checkpoint_is_stored_in_the_named_dtype(dtype: str, saved_family: SavedFamily) -> None:
    tensors = read_stored_tensors(saved_family("mixtral", dtype=dtype))
    assert {tensor.dtype for tensor in tensors.values()} == {getattr(torch, dtype)}
    assert all(tensor.isfinite().all() for tensor in tensors.values())


def test_sharded_checkpoint_has_several_shards_and_the_same_tensors(saved_family: SavedFamily) -> None:
    sharded, whole = saved_family("llama", sharded=True), saved_family("llama")
    index = json.loads((sharded / "model.safetensors.index.json").read_text())["weight_map"]
    assert len(set(index.values())) >= 3
    stored = read_stored_tensors(sharded)
    assert set(index) == set(stored)
    assert all(torch.equal(stored[key], tensor) for key, tensor in read_stored_tensors(whole).items())


def test_tied_embeddings_are_stored_once(saved_family: SavedFamily) -> None:
    assert "lm_head.weight" not in read_stored_tensors(saved_family("llama_tied"))
    assert "lm_head.weight" in read_stored_tensors(saved_family("llama"))


@pytest.mark.parametrize("sharded", [False, True])
@pytest.mark.parametrize(
    ("name", "key_style", "expected", "unexpected"),
    [
        ("gpt2", "gpt2_bare", "h.3.mlp.c_proj.weight", "transformer."),
        ("gemma3_nested", "gemma3_old", "language_model.model.layers.3.mlp.down_proj.weight", "model."),
        (
            "gemma3_nested",
            "gemma3_new",
            "model.language_model.layers.3.mlp.down_proj.weight",
            "language_model.",
        ),
    ],
)
def test_key_styles_load_as_the_same_model(
    name: str, key_style: str, expected: str, unexpected: str, sharded: bool, saved_family: SavedFamily
) -> None:
    path = saved_family(name, key_style=key_style, sharded=sharded)
    keys = read_stored_tensors(path)
    assert expected in keys
    assert not any(key.startswith(unexpected) for key in keys)
    loaded = AutoModelForCausalLM.from_pretrained(path, dtype="float32")
    with torch.no_grad():
        assert torch.equal(loaded(TOKEN_IDS).logits, find_family(name).build()(TOKEN_IDS).logits)


def test_old_gpt2_files_hold_mask_buffers(saved_family: SavedFamily) -> None:
    keys = read_stored_tensors(saved_family("gpt2", key_style="gpt2_bare"))
    assert keys["h.0.attn.bias"].shape == (1, 1, 128, 128)


@pytest.mark.parametrize(
    ("name", "matrix"),
    [
        ("mixtral", "model.layers.3.block_sparse_moe.experts.{}.w2.weight"),
        ("qwen3_moe", "model.layers.3.mlp.experts.{}.down_proj.weight"),
    ],
)
def test_experts_are_stored_one_by_one_under_older_names(name: str, matrix: str, saved_family: SavedFamily) -> None:
    loaded_name = "model.layers.3.mlp.experts.down_proj"
    stored = read_stored_tensors(saved_family(name))
    loaded = find_family(name).build().get_parameter(loaded_name)
    assert all(torch.equal(stored[matrix.format(expert)], loaded[expert]) for expert in range(4))
    assert loaded_name not in stored


def test_qwen3_moe_mixes_dense_and_expert_layers() -> None:
    assert find_family("qwen3_moe").down_projection_names() == [
        "model.layers.1.mlp.down_proj.weight",
        "model.layers.2.mlp.experts.down_proj",
        "model.layers.3.mlp.experts.down_proj",
    ]


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_tokenizers_keep_what_they_promise_through_a_save(kind: str, saved_family: SavedFamily) -> None:
    options = TOKENIZERS[kind]
    tokenizer = AutoTokenizer.from_pretrained(saved_family("llama", tokenizer=kind))
    text = "the river runs from the harbour ."
    token_ids = tokenizer(text).input_ids
    assert token_ids == make_tokenizer(**options)(text).input_ids
    assert len(tokenizer) <= VOCABULARY_SIZE
    assert (token_ids[0] == tokenizer.bos_token_id) == options.get("adds_bos", True)
    assert (tokenizer.pad_token_id == 0) == options.get("has_pad", True)
    assert tokenizer.padding_side == options.get("padding_side", "right")
    assert str(tokenizer.decode(token_ids, skip_special_tokens=True)).strip() == text


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_loads_a_working_tokenizer(name: str, saved_family: SavedFamily) -> None:
    tokenizer = AutoTokenizer.from_pretrained(saved_family(name))
    token_ids = tokenizer("the river runs from the harbour .").input_ids
    assert len(token_ids) >= 7
    assert max(token_ids) < VOCABULARY_SIZE
    assert tokenizer.unk_token_id not in token_ids


def test_chat_template_marks_the_speakers(saved_family: SavedFamily) -> None:
    tokenizer = AutoTokenizer.from_pretrained(saved_family("llama", tokenizer="chat"))
    messages = [{"role": "user", "content": "the river ?"}, {"role": "assistant", "content": "runs ."}]
    text = tokenizer.apply_chat_template(messages, tokenize=False)
    assert text == "<s><user> the river ? </s><model> runs . </s>"
    token_ids = tokenizer(text, add_special_tokens=False).input_ids
    assert token_ids.count(tokenizer.bos_token_id) == 1
    assert tokenizer.unk_token_id not in token_ids
