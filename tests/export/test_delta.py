import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from checkpoint_files import TRAINED, all_bytes, changed_tensors, join_header, save_llama, split_header
from srmu.errors import InputError
from srmu.export.delta import apply_delta, read_delta, write_delta
from srmu.runtime.files import file_sha256
from srmu.surgery.checkpoint import open_checkpoint


@pytest.mark.parametrize("of_run", [True, False], ids=["run", "file"])
def test_the_checkpoint_is_rebuilt_bit_for_bit(of_run: bool, base_dir: Path, run_dir: Path, tmp_path: Path) -> None:
    delta = run_dir if of_run else run_dir / "delta.safetensors"
    apply_delta(base_dir, delta, tmp_path / "rebuilt")
    rebuilt = all_bytes(tmp_path / "rebuilt")
    assert rebuilt == all_bytes(run_dir / "model")
    assert rebuilt["README.md"] is not None


def test_another_card_can_be_given(base_dir: Path, run_dir: Path, tmp_path: Path) -> None:
    apply_delta(base_dir, run_dir, tmp_path / "rebuilt", readme="mine")
    assert (tmp_path / "rebuilt" / "README.md").read_text() == "mine"


def test_the_delta_is_a_plain_safetensors_file(base_dir: Path, run_dir: Path) -> None:
    expected = changed_tensors(open_checkpoint(base_dir))
    loaded = load_file(run_dir / "delta.safetensors")
    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_mixed_dtypes_and_further_metadata_are_kept(tmp_path: Path) -> None:
    tensors = {
        "a": torch.ones(3, dtype=torch.bfloat16),
        "b": torch.ones(5),
        "c": torch.ones((), dtype=torch.float64),
    }
    (tmp_path / "config.json").write_text("{}")
    save_file(tensors, tmp_path / "model.safetensors")
    base = open_checkpoint(tmp_path)
    changed = {name: tensor * 2 for name, tensor in tensors.items()}
    write_delta(tmp_path / "delta", base, changed, base_shards={"model.safetensors": "0"}, metadata={"run": "ü"})
    with safe_open(tmp_path / "delta", framework="pt") as opened:
        assert opened.metadata()["run"] == "ü"
        assert all(torch.equal(opened.get_tensor(name), changed[name]) for name in changed)
    assert read_delta(tmp_path / "delta").readme is None


def test_another_base_is_refused_by_its_changed_tensors(run_dir: Path, tmp_path: Path) -> None:
    other = save_llama(tmp_path / "other", dtype=torch.bfloat16, seed=1)
    with pytest.raises(InputError, match=r"is not the base of this delta: its tensor .* has SHA-256 .*, expected"):
        apply_delta(other, run_dir, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_result_itself_is_not_taken_for_the_base(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not the base"):
        apply_delta(run_dir / "model", run_dir, tmp_path / "out")


def test_a_base_that_differs_elsewhere_is_refused_by_its_files(base_dir: Path, run_dir: Path, tmp_path: Path) -> None:
    other = shutil.copytree(base_dir, tmp_path / "other")
    stored = open_checkpoint(other).tensors["lm_head.weight"]
    content = bytearray((other / stored.shard).read_bytes())
    content[stored.start] ^= 1
    (other / stored.shard).write_bytes(content)
    with pytest.raises(InputError, match=f"its file '{stored.shard}' has SHA-256"):
        apply_delta(other, run_dir, tmp_path / "out")


def test_a_base_of_other_names_or_shards_is_refused(base_dir: Path, run_dir: Path, tmp_path: Path) -> None:
    single = tmp_path / "single"
    single.mkdir()
    shutil.copy(base_dir / "config.json", single)
    tensors = {name: tensor for file in base_dir.glob("*.safetensors") for name, tensor in load_file(file).items()}
    save_file(tensors, single / "model.safetensors")
    with pytest.raises(InputError, match=r"its weight files are model\.safetensors, expected"):
        apply_delta(single, run_dir, tmp_path / "out")
    del tensors[TRAINED[1]]
    save_file(tensors, single / "model.safetensors")
    with pytest.raises(InputError, match=f"it has no tensor '{TRAINED[1]}'"):
        apply_delta(single, run_dir, tmp_path / "out")


def test_a_damaged_delta_is_refused(base_dir: Path, run_dir: Path, tmp_path: Path) -> None:
    file = run_dir / "delta.safetensors"
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"of the delta .* is damaged"):
        apply_delta(base_dir, run_dir, tmp_path / "out")
    file.write_bytes(content[:-1])
    with pytest.raises(InputError, match="truncated"):
        apply_delta(base_dir, run_dir, tmp_path / "out")


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"srmu_delta": "0"}, "its format is '0'"),
        ({"base_shards": "not json"}, "does not list its base_shards"),
        ({"base_tensors": "[]"}, "does not list its base_tensors"),
        ({"result_tensors": '{"x": "y"}'}, "hashes of its own tensors"),
    ],
)
def test_metadata_that_cannot_be_trusted_is_refused(edit: dict, words: str, run_dir: Path) -> None:
    file = run_dir / "delta.safetensors"
    header, data = split_header(file.read_bytes())
    header["__metadata__"] |= edit
    file.write_bytes(join_header(header, data))
    with pytest.raises(InputError, match=words):
        read_delta(file)


def test_a_weight_file_is_no_delta(base_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no delta"):
        read_delta(min(base_dir.glob("*.safetensors")))
    with pytest.raises(InputError, match="There is no delta"):
        read_delta(tmp_path)


def test_the_same_delta_is_written_twice_alike(base_dir: Path, tmp_path: Path) -> None:
    base = open_checkpoint(base_dir)
    changed = changed_tensors(base)
    for name, order in (("a", TRAINED), ("b", TRAINED[::-1])):
        write_delta(tmp_path / name, base, {tensor: changed[tensor] for tensor in order}, base_shards={"x": "y"})
    assert file_sha256(tmp_path / "a") == file_sha256(tmp_path / "b")
