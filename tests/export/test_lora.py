"""The LoRA adapter: PEFT loads it on the base and gets the result, as far as the rank reaches."""

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from srmu.errors import InputError
from srmu.export.lora import decompose, left_out, module_of, write_lora
from srmu.surgery.checkpoint import StoredTensors, open_checkpoint


def changed_copy(base: Path, out: Path, rank: int | None, endings: tuple[str, ...]) -> list[str]:
    """A copy of a checkpoint whose matrices with these endings move by a change of a rank; their names."""
    shutil.copytree(base, out)
    tensors = load_file(out / "model.safetensors")
    names = [name for name in tensors if name.endswith(endings)]
    generator = torch.Generator().manual_seed(0)
    for name in names:
        matrix = tensors[name]
        inner = rank or min(matrix.shape)
        left = torch.randn(matrix.shape[0], inner, generator=generator)
        tensors[name] = matrix + 0.1 * left @ torch.randn(inner, matrix.shape[-1], generator=generator)
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    return names


def logits(model) -> torch.Tensor:
    with torch.inference_mode():
        return model.eval()(torch.arange(12)[None] + 6).logits


# PEFT 0.21 asks Transformers for a property under its old name.
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("family", "endings"),
    [("llama", ("mlp.down_proj.weight",)), ("gpt2", ("mlp.c_proj.weight",)), ("gpt_neox", ("dense_4h_to_h.weight",))],
)
def test_peft_loads_the_adapter_and_answers_as_the_result_does(family, endings, saved_family, tmp_path):
    peft = pytest.importorskip("peft")
    base = saved_family(family)
    names = changed_copy(base, tmp_path / "result", 2, endings)
    model = AutoModelForCausalLM.from_pretrained(base)
    parameters = [name for name, _ in model.named_parameters()]
    pair = open_checkpoint(base), open_checkpoint(tmp_path / "result")
    decomposition = decompose(*pair, names, parameters, transposed=family == "gpt2")
    assert all(error < 1e-3 for error in decomposition.left_out(2).values())
    write_lora(decomposition, 2, tmp_path / "lora", base_name="base")
    before = logits(model)
    adapted = peft.PeftModel.from_pretrained(model, tmp_path / "lora")
    wanted = logits(AutoModelForCausalLM.from_pretrained(tmp_path / "result"))
    assert torch.allclose(logits(adapted), wanted, atol=1e-4)
    assert not torch.allclose(before, wanted, atol=1e-2)


def test_what_a_rank_leaves_out_is_the_root_of_the_squares_beyond_it():
    values = torch.tensor([4.0, 2.0, 2.0, 1.0])
    assert left_out(values, 4) == 0.0
    assert left_out(values, 3) == pytest.approx(1 / 5)
    assert left_out(values, 1) == pytest.approx(3 / 5)


def test_at_full_rank_the_change_is_the_runs_and_a_rank_beyond_it_is_refused(saved_family, tmp_path):
    base = saved_family("llama")
    names = changed_copy(base, tmp_path / "result", None, ("mlp.down_proj.weight",))
    pair = open_checkpoint(base), open_checkpoint(tmp_path / "result")
    decomposition = decompose(*pair, names, names)
    full = decomposition.full_rank
    assert full == min(pair[0].tensors[names[0]].shape)
    wanted = StoredTensors(pair[1])[names[0]] - StoredTensors(pair[0])[names[0]]
    assert torch.allclose(decomposition.change(names[0].removesuffix(".weight"), full), wanted, atol=1e-5)
    with pytest.raises(InputError, match=f"allow 1 to {full}"):
        write_lora(decomposition, full + 1, tmp_path / "more", base_name="b")
    assert not (tmp_path / "more").exists()


def test_what_is_no_matrix_of_one_layer_is_refused_with_the_remedy(saved_family):
    parameters = ["model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.experts.down_proj", "model.norm.weight"]
    assert module_of("layers.0.mlp.down_proj.weight", parameters) == "model.layers.0.mlp.down_proj"
    assert module_of("language_model.model.layers.0.mlp.down_proj.weight", parameters) == "model.layers.0.mlp.down_proj"
    with pytest.raises(InputError, match="srmu apply"):
        module_of("model.layers.0.mlp.experts.down_proj", parameters)
    with pytest.raises(InputError, match="srmu apply"):
        module_of("model.layers.9.mlp.down_proj.weight", parameters)
    base = open_checkpoint(saved_family("llama"))
    with pytest.raises(InputError, match="LoRA holds matrices alone"):
        decompose(base, base, ["model.norm.weight"], parameters)
