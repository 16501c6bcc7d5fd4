"""Rounding through a GGUF file: what is rounded, how far, and what is left alone."""

import pytest
import torch

from srmu.evaluation.attacks.cells import Cells, CellsFile
from srmu.evaluation.attacks.gguf_file import BLOCK, gguf_q4, read_gguf_, through_gguf_, write_gguf
from srmu.evaluation.attacks.outcome import Skipped
from srmu.evaluation.loading import load_causal_lm

gguf = pytest.importorskip("gguf")


def test_matrices_are_rounded_as_the_package_rounds_them_and_norms_are_not(make_setting, knowing, tmp_path):
    model = make_setting(knowing, knowing).subjects["base"].fresh("float32")
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    write_gguf(model, tmp_path / "model.gguf")
    read_gguf_(model, tmp_path / "model.gguf")
    for name, parameter in model.named_parameters():
        blocks = before[name].reshape(-1, BLOCK) if before[name].dim() > 1 else None
        if blocks is None:
            assert torch.equal(parameter, before[name]), name
            continue
        # Q4_0 has 16 levels of an eighth of the largest entry of a block, Q8_0 255 of a 127th.
        bits = 1 / 8 if ".layers." in name else 1 / 127
        step = blocks.abs().amax(1, keepdim=True) * bits
        moved = (parameter.detach().reshape(-1, BLOCK) - blocks).abs()
        assert (moved <= step * 1.01).all(), name
        assert moved.max() > 0, name
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(tmp_path / "model.gguf").tensors}
    assert kinds["model.layers.1.mlp.down_proj.weight"] == "Q4_0"
    assert (kinds["model.embed_tokens.weight"], kinds["model.norm.weight"]) == ("Q8_0", "F32")


def test_of_gpt2_blocks_run_along_the_inputs_as_in_llama_cpp(saved_family):
    model = load_causal_lm(saved_family("gpt2"))
    name = "transformer.h.0.mlp.c_proj.weight"
    weights = torch.randn(64, 32, generator=torch.Generator().manual_seed(0)) * 1e-3
    # One output is large: only blocks along the inputs keep the others' precision.
    weights[:, 3] *= 1e6
    with torch.no_grad():
        parameter = model.get_parameter(name)
        weights = weights[: parameter.shape[0], : parameter.shape[1]]
        parameter.copy_(weights)
    through_gguf_(model)
    small = torch.arange(weights.shape[1]) != 3
    moved = (model.get_parameter(name) - weights)[:, small].abs()
    assert moved.max() <= weights[:, small].abs().max() / 7


def test_what_was_forgotten_stays_so_and_the_noised_base_stands_beside_it(make_setting, knowing, twin):
    record = gguf_q4(make_setting(knowing, twin), Cells(CellsFile(None), "x"))
    assert record.status == "result"
    assert record.base_after > 0.8
    assert record.forget_after < 0.6
    assert record.control.model == "noised base"
    assert record.settings["layers"] == "Q4_0"


def test_without_the_package_it_is_skipped(make_setting, knowing, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    with pytest.raises(Skipped, match="pip install"):
        through_gguf_(object())
