"""Pickled weights become safetensors and run nothing; quantised ones become bfloat16."""

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, GptOssConfig, GptOssForCausalLM, LlamaConfig, LlamaForCausalLM

from families import find_family, read_stored_tensors, save_family
from main_job import call
from srmu.errors import InputError
from srmu.job.convert import convert
from srmu.surgery.checkpoint import open_checkpoint


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    """A checkpoint as of 2022: tied weights twice, one file."""
    path = save_family("llama_tied", tmp_path / "old")
    (path / "model.safetensors").unlink()
    model = find_family("llama_tied").build()
    torch.save(model.state_dict(), path / "pytorch_model.bin")
    (path / "optimizer.pt").write_bytes(b"PK\x03\x04")
    return path


def test_pickled_weights_become_safetensors_with_the_same_values(pickled: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(InputError, match=r"pickled weights only.*srmu convert"):
        open_checkpoint(pickled)
    code, out, _ = call(capsys, "convert", str(pickled), str(tmp_path / "new"), "--json")
    assert code == 0
    state = find_family("llama_tied").build().state_dict()
    stored = read_stored_tensors(tmp_path / "new")
    assert json.loads(out)["num_tensors"] == len(stored) == len(state)
    assert all(torch.equal(stored[name], tensor) for name, tensor in state.items())
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert {"config.json", "tokenizer.json", "model.safetensors"} <= names
    assert not names & {"pytorch_model.bin", "optimizer.pt"}
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "new")
    assert torch.equal(loaded.model.layers[2].mlp.down_proj.weight, state["model.layers.2.mlp.down_proj.weight"])


def test_several_pickled_files_keep_their_division(pickled: Path, tmp_path: Path) -> None:
    state = torch.load(pickled / "pytorch_model.bin", weights_only=True)
    (pickled / "pytorch_model.bin").unlink()
    names = [f"pytorch_model-0000{number}-of-00002.bin" for number in (1, 2)]
    parts = [dict(list(state.items())[:10]), dict(list(state.items())[10:])]
    for name, part in zip(names, parts, strict=True):
        # The form of before PyTorch 1.6 too.
        torch.save(part, pickled / name, _use_new_zipfile_serialization=name == names[0])
    where = {key: name for name, part in zip(names, parts, strict=True) for key in part}
    (pickled / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": where}))
    convert(pickled, tmp_path / "new")
    opened = open_checkpoint(tmp_path / "new")
    assert opened.shards == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    assert set(opened.tensors) == set(state)
    (pickled / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": "../x.bin"}}))
    with pytest.raises(InputError, match="no file beside it"):
        convert(pickled, tmp_path / "other")


class Hostile:
    """Makes a folder where it is unpickled."""

    def __init__(self, path: str):
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("content", ["hostile", "list", "nothing"])
def test_a_pickle_of_anything_else_is_refused_and_not_run(content: str, pickled: Path, tmp_path: Path) -> None:
    made = tmp_path / "ran"
    weights = {"hostile": {"a": Hostile(str(made))}, "list": [torch.zeros(2)], "nothing": {}}[content]
    torch.save(weights, pickled / "pytorch_model.bin")
    with pytest.raises(InputError, match="Use weights that come as safetensors"):
        convert(pickled, tmp_path / "new")
    assert not made.exists()
    assert not (tmp_path / "new").exists()


def test_what_needs_no_conversion_is_refused(tmp_path: Path) -> None:
    path = save_family("llama", tmp_path / "plain")
    with pytest.raises(InputError, match="needs no conversion"):
        convert(path, tmp_path / "new")
    with pytest.raises(InputError, match="lies inside"):
        convert(path, path / "new")


def save_fp8(path: Path, block: int = 16) -> LlamaForCausalLM:
    """A checkpoint in blocks of FP8 as DeepSeek stores them; the model whose weights are what the files say."""
    config = LlamaConfig(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    stored = {}
    for name, tensor in model.state_dict().items():
        if "proj" not in name:
            stored[name] = tensor
            continue
        rows, columns = (size // block for size in tensor.shape)
        blocks = tensor.float().view(rows, block, columns, block)
        scale = blocks.abs().amax((1, 3)) / 448
        narrow = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
        stored[name] = narrow.view(tensor.shape)
        stored[name + "_scale_inv"] = scale
        tensor.copy_((narrow.float() * scale[:, None, :, None]).view(tensor.shape))
    path.mkdir()
    save_file(stored, path / "model.safetensors", metadata={"format": "pt"})
    quantised = {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [block, block]}
    (path / "config.json").write_text(json.dumps({**config.to_dict(), "quantization_config": quantised}))
    return model


def test_fp8_becomes_bfloat16_with_the_values_that_it_stands_for(tmp_path: Path) -> None:
    model = save_fp8(tmp_path / "fp8")
    with pytest.raises(InputError, match=r"already quantised.*srmu convert"):
        open_checkpoint(tmp_path / "fp8")
    assert convert(tmp_path / "fp8", tmp_path / "new").kind == "quantised"
    opened = open_checkpoint(tmp_path / "new")
    assert opened.dtypes == {"BF16"}
    stored = read_stored_tensors(tmp_path / "new")
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(stored[name], tensor)


FP4 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])
"""What the sixteen patterns of four bits stand for."""


def packed_in_fp4(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Blocks and scales of experts `[experts, in, out]` as gpt-oss stores them, and the values that they stand for."""
    experts, inside, outside = weight.shape
    blocks = weight.transpose(1, 2).float().reshape(experts, outside, inside // 32, 32)
    exponents = blocks.abs().amax(-1).log2().floor() - 2
    scaled = blocks / exponents.exp2()[..., None]
    patterns = (scaled[..., None] - FP4).abs().argmin(-1).to(torch.uint8)
    values = FP4[patterns.long()] * exponents.exp2()[..., None]
    packed = patterns[..., 0::2] | patterns[..., 1::2] << 4
    wide = values.reshape(experts, outside, inside).transpose(1, 2)
    return packed.contiguous(), (exponents + 127).to(torch.uint8), wide


def test_mxfp4_becomes_bfloat16_with_the_values_that_it_stands_for(tmp_path: Path) -> None:
    config = GptOssConfig(
        vocab_size=64, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, num_local_experts=4, num_experts_per_tok=2,
    )  # fmt: skip
    torch.manual_seed(0)
    stored, expected = {}, {}
    for name, tensor in GptOssForCausalLM(config).to(torch.bfloat16).state_dict().items():
        expected[name] = tensor
        if name.endswith(("experts.gate_up_proj", "experts.down_proj")):
            stored[f"{name}_blocks"], stored[f"{name}_scales"], expected[name] = packed_in_fp4(tensor)
        else:
            stored[name] = tensor
    (tmp_path / "mxfp4").mkdir()
    save_file(stored, tmp_path / "mxfp4" / "model.safetensors", metadata={"format": "pt"})
    quantised = {"quant_method": "mxfp4", "modules_to_not_convert": ["model.layers.*.self_attn", "lm_head"]}
    described = {**config.to_dict(), "architectures": ["GptOssForCausalLM"], "quantization_config": quantised}
    (tmp_path / "mxfp4" / "config.json").write_text(json.dumps(described))
    assert convert(tmp_path / "mxfp4", tmp_path / "new").kind == "quantised"
    found = read_stored_tensors(tmp_path / "new")
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name].float(), tensor.float()), name


def test_a_form_that_transformers_cannot_widen_is_refused(tmp_path: Path) -> None:
    path = save_family("llama", tmp_path / "plain")
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "invented"}}))
    with pytest.raises(InputError, match=r"quantised.*Use the checkpoint that it was made from"):
        convert(path, tmp_path / "new")
    assert not (tmp_path / "new").exists()
