"""Weights in other formats beside those that are read must not come into a result: they would know everything."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from checkpoint_files import TRAINED, all_bytes, changed_tensors
from srmu.errors import RunError
from srmu.export.delta import apply_delta, write_delta
from srmu.export.patch import check_only_changed, copied_files, export_checkpoint
from srmu.surgery.checkpoint import open_checkpoint

OTHERS = (
    "pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json", "model.bin",
    "consolidated.safetensors", "consolidated.00.pth", "original/consolidated.00.pth", "original/params.json",
    "model-Q4_K_M.gguf", "sub/model.gguf", "ggml-model-q4_0.bin", "onnx/model.onnx", "onnx/model.onnx_data",
    "onnx/weights_without_ending", "decoder.onnx", "openvino/openvino_model.xml", "openvino_model.bin", "model.pt",
    "weights.PTH", "last.ckpt", "tf_model.h5", "flax_model.msgpack", "flax_model.msgpack.index.json", "model.keras",
    "saved_model/saved_model.pb", "saved_model/variables/variables.data-00000-of-00001", "rust_model.ot",
    "model.ckpt.data-00000-of-00001", "coreml/text.mlpackage/Data/weights/weight.bin",
    "float32_model.mlpackage/Data/com.apple.CoreML/model.mlmodel", "64.tflite", "model.npz", "model.nemo",
    "adapter_model.bin", "adapters/a/adapter_model.safetensors", "model.fp16.safetensors", "backup/model.safetensors",
    "model.fp16.safetensors.index.json", "checkpoint-500/notes", "global_step10/mp_rank_00", "optimizer.pt",
    "weights.tar.gz", "weights.zip", ".git/lfs/objects/ab/cd/abcd", ".cache/huggingface/download/model.incomplete",
)  # fmt: skip
KEPT = (
    "training_args.bin", "tokenizer.model", "merges.txt", "vocab.txt.gz", "modeling_custom.py", "images/plot.png",
    "special_tokens_map.json", "LICENSE", "onnx_is_no_folder_here.txt", "chat_template.jinja", "short",
    "evaluation/results.json",
)  # fmt: skip


@pytest.fixture
def base(base_dir: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base_dir, tmp_path / "base"))


def put(place: Path, name: str, content: bytes = b"what the base knows") -> None:
    (place / name).parent.mkdir(parents=True, exist_ok=True)
    (place / name).write_bytes(content)


def test_the_kinds_that_are_kept_are_copied_and_the_others_left_out_and_named(base: Path, tmp_path: Path) -> None:
    before = all_bytes(base)
    for name in (*OTHERS, *KEPT):
        put(base, name, b"" if name == "short" else b"what the base knows")
    opened = open_checkpoint(base)
    left_out = copied_files(opened)[2]
    for name in OTHERS:
        assert any(name == entry or (entry.endswith("/") and name.startswith(entry)) for entry in left_out), name
    changed = changed_tensors(opened)
    export_checkpoint(opened, changed, tmp_path / "out")
    files = {name for name, content in all_bytes(tmp_path / "out").items() if content is not None}
    assert files == {name for name, content in before.items() if content is not None} | set(KEPT)
    report = check_only_changed(opened, tmp_path / "out", list(changed))
    assert list(report.left_out) == left_out


@pytest.mark.parametrize("name", OTHERS)
def test_such_a_file_that_comes_to_a_result_later_is_found(name: str, base: Path, tmp_path: Path) -> None:
    opened = open_checkpoint(base)
    changed = changed_tensors(opened)
    export_checkpoint(opened, changed, tmp_path / "out")
    # Also where the base has it: then base and result hold the same files.
    for place in (base, tmp_path / "out"):
        put(place, name)
    with pytest.raises(RunError, match="holds weights in another format"):
        check_only_changed(opened, tmp_path / "out", list(changed))


@pytest.mark.parametrize("name", ["weights", "model.safetensors.old", "notes/a.txt", "data.json"])
@pytest.mark.parametrize("kind", ["safetensors", "gguf", "torch", "hdf5"])
def test_a_renamed_file_of_weights_is_known_by_what_it_begins_with(
    kind: str, name: str, base: Path, tmp_path: Path
) -> None:
    written = tmp_path / "written"
    if kind == "safetensors":
        save_file({"a": torch.ones(4)}, written)
    elif kind == "torch":
        torch.save({"a": torch.ones(1 << 19)}, written)
    else:
        written.write_bytes({"gguf": b"GGUF\x03\0\0\0", "hdf5": b"\x89HDF\r\n\x1a\n"}[kind] + bytes(64))
    put(base, name, written.read_bytes())
    assert copied_files(open_checkpoint(base))[2] == [name]


def test_of_two_layouts_of_safetensors_only_the_one_that_is_read_is_copied(base: Path, tmp_path: Path) -> None:
    tensors = {}
    for shard in base.glob("*.safetensors"):
        from safetensors.torch import load_file

        tensors |= load_file(shard)
    save_file(tensors, base / "model.safetensors")
    opened = open_checkpoint(base)
    assert opened.shards == ("model.safetensors",)
    export_checkpoint(opened, changed_tensors(opened), tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").glob("*.safetensors*")] == ["model.safetensors"]


def test_a_broken_link_in_a_folder_that_is_left_out_is_no_hindrance(base: Path, tmp_path: Path) -> None:
    (base / ".git").mkdir()
    (base / ".git" / "gone").symlink_to("nowhere")
    opened = open_checkpoint(base)
    export_checkpoint(opened, changed_tensors(opened), tmp_path / "out")
    assert not (tmp_path / "out" / ".git").exists()


def test_a_checkpoint_rebuilt_from_its_delta_has_no_such_file_either(base: Path, tmp_path: Path) -> None:
    put(base, "pytorch_model.bin")
    opened = open_checkpoint(base)
    changed = changed_tensors(opened)
    export_checkpoint(opened, changed, tmp_path / "out")
    report = check_only_changed(opened, tmp_path / "out", list(TRAINED))
    write_delta(tmp_path / "delta.safetensors", opened, changed, base_shards=report.base_shards)
    apply_delta(base, tmp_path / "delta.safetensors", tmp_path / "again")
    assert all_bytes(tmp_path / "again") == all_bytes(tmp_path / "out")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["model_type"] == "llama"
