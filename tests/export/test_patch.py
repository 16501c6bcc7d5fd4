import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM

from checkpoint_files import TRAINED, all_bytes, changed_tensors, save_llama
from srmu.errors import InputError, RunError
from srmu.export import patch
from srmu.export.patch import check_only_changed, export_checkpoint
from srmu.runtime import files
from srmu.surgery.checkpoint import StoredTensors, open_checkpoint, read_tensor


@pytest.mark.parametrize("tied", [False, True], ids=["untied", "tied"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_every_byte_but_the_changed_tensors_is_the_base_s(dtype: torch.dtype, tied: bool, tmp_path: Path) -> None:
    base = open_checkpoint(save_llama(tmp_path / "base", dtype=dtype, tied=tied))
    before = all_bytes(base.path)
    changed = changed_tensors(base)
    export_checkpoint(base, changed, tmp_path / "out")
    after = all_bytes(tmp_path / "out")
    for name in changed:
        stored = base.tensors[name]
        content = bytearray(before[stored.shard])
        content[stored.start : stored.end] = changed[name].reshape(-1).view(torch.uint8).numpy().tobytes()
        before[stored.shard] = bytes(content)
    assert after == before
    assert all_bytes(base.path).keys() == before.keys()

    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    state = model.state_dict()
    for name, tensor in StoredTensors(base).items():
        assert torch.equal(state[name], changed.get(name, tensor))
    assert model.generate(torch.tensor([[1, 5]]), max_new_tokens=2, do_sample=False).shape[1] > 2


def test_the_report_tells_how_much_changed(base_dir: Path, tmp_path: Path) -> None:
    base = open_checkpoint(base_dir)
    tensor = read_tensor(base, TRAINED[0])
    tensor[0, 0] += 2
    export_checkpoint(base, {TRAINED[0]: tensor}, tmp_path / "out")
    report = check_only_changed(base, tmp_path / "out", [TRAINED[0]])
    (change,) = report.changes
    before = read_tensor(base, TRAINED[0]).double()
    assert change.changed_fraction == 1 / tensor.numel()
    assert change.largest_change == float((tensor.double() - before).abs().max())
    assert change.relative_change == pytest.approx(float((tensor.double() - before).norm() / before.norm()))
    assert report.base_shards == {name: files.file_sha256(base.path / name) for name in base.shards}
    assert report.result_files == files.hash_files(tmp_path / "out")


def test_large_tensors_are_compared_in_pieces(base_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patch, "CHUNK_BYTES", 64)
    monkeypatch.setattr(patch, "_COMPARED_BYTES", 32)
    test_the_report_tells_how_much_changed(base_dir, tmp_path)


def test_the_card_alone_is_replaced(base_dir: Path, tmp_path: Path) -> None:
    base = open_checkpoint(shutil.copytree(base_dir, tmp_path / "base"))
    (base.path / "README.md").write_text("base")
    export_checkpoint(base, changed_tensors(base), tmp_path / "out", readme="ours: ü")
    assert (tmp_path / "out" / "README.md").read_bytes() == "ours: ü".encode()
    check_only_changed(base, tmp_path / "out", TRAINED)


def test_links_are_followed_as_in_the_hub_s_cache(base_dir: Path, tmp_path: Path) -> None:
    snapshot, blobs = tmp_path / "snapshot", shutil.copytree(base_dir, tmp_path / "blobs")
    snapshot.mkdir()
    for entry in blobs.iterdir():
        (snapshot / entry.name).symlink_to(entry)
        if entry.is_file():
            entry.chmod(0o444)
    before = all_bytes(blobs)
    base = open_checkpoint(snapshot)
    export_checkpoint(base, changed_tensors(base), tmp_path / "out")
    assert not any(path.is_symlink() for path in (tmp_path / "out").rglob("*"))
    check_only_changed(base, tmp_path / "out", TRAINED)
    assert all_bytes(blobs) == before


@pytest.mark.parametrize("target", ["nowhere", "."])
def test_a_link_to_nothing_or_in_a_circle_is_refused(target: str, base_dir: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(base_dir, tmp_path / "base")
    (copy / "link").symlink_to(target)
    base = open_checkpoint(copy)
    with pytest.raises(InputError, match="link"):
        export_checkpoint(base, changed_tensors(base), tmp_path / "out")
    assert os.listdir(tmp_path) == ["base"]


def broken_values(base: patch.Checkpoint) -> dict[str, dict[str, torch.Tensor]]:
    name = TRAINED[0]
    tensor = read_tensor(base, name)
    infinite = tensor.clone()
    infinite[3, 3] = torch.inf
    return {
        "is not in checkpoint": {"invented": tensor},
        "its stored dtype": {name: tensor.float()},
        "Use the base that it belongs to": {name: tensor.T},
        "is not finite": {name: infinite},
        "No tensor to change": {},
    }


@pytest.mark.parametrize(
    "words",
    [
        "is not in checkpoint",
        "its stored dtype",
        "Use the base that it belongs to",
        "is not finite",
        "No tensor to change",
    ],
)
def test_tensors_that_do_not_fit_are_refused_and_nothing_is_written(words: str, base_dir: Path, tmp_path: Path) -> None:
    base = open_checkpoint(base_dir)
    with pytest.raises((InputError, RunError), match=words):
        export_checkpoint(base, broken_values(base)[words], tmp_path / "deep" / "out")
    assert not any(tmp_path.iterdir())


def test_an_output_that_holds_something_is_refused(base_dir: Path, tmp_path: Path) -> None:
    base = open_checkpoint(base_dir)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="not an empty directory"):
        export_checkpoint(base, changed_tensors(base), tmp_path / "out")
    with pytest.raises(InputError, match="not an empty directory"):
        export_checkpoint(base, changed_tensors(base), tmp_path / "out" / "mine.txt")
    with pytest.raises(InputError, match="cannot be written"):
        export_checkpoint(base, changed_tensors(base), tmp_path / "out" / "mine.txt" / "below")
    assert all_bytes(tmp_path) == {"out": None, "out/mine.txt": b"mine"}


def test_an_empty_output_directory_is_used(base_dir: Path, tmp_path: Path) -> None:
    base = open_checkpoint(base_dir)
    (tmp_path / "out").mkdir()
    export_checkpoint(base, changed_tensors(base), tmp_path / "out")
    check_only_changed(base, tmp_path / "out", TRAINED)


def test_an_output_inside_the_base_is_refused(base_dir: Path) -> None:
    base = open_checkpoint(base_dir)
    with pytest.raises(InputError, match="lies inside the checkpoint"):
        export_checkpoint(base, changed_tensors(base), base_dir / "out")


def test_too_little_disk_space_is_refused_before_anything_is_copied(
    base_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = open_checkpoint(base_dir)
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    monkeypatch.setattr(patch, "copy_file", lambda *_: pytest.fail("copied"))
    with pytest.raises(InputError, match=r"0\.00 GB free, and the checkpoint needs"):
        export_checkpoint(base, changed_tensors(base), tmp_path / "deep" / "out")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("failure", "kind", "words"),
    [
        (OSError(errno.ENOSPC, "No space left"), InputError, "disk became full"),
        (OSError(errno.EDQUOT, "Quota exceeded"), InputError, "disk became full"),
        (OSError(errno.EIO, "Input/output error"), RunError, "Input/output error"),
        (KeyboardInterrupt("by hand"), KeyboardInterrupt, "by hand"),
    ],
)
def test_a_failure_in_the_middle_leaves_nothing(
    failure: BaseException,
    kind: type,
    words: str,
    base_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = open_checkpoint(base_dir)
    before = all_bytes(base_dir)
    written = []

    def write(*arguments: object) -> int:
        written.append(arguments)
        if len(written) == 2:
            raise failure
        return real_write(*arguments)

    real_write = os.pwrite
    monkeypatch.setattr(patch.os, "pwrite", write)
    with pytest.raises(kind, match=words):
        export_checkpoint(base, changed_tensors(base), tmp_path / "deep" / "out")
    assert len(written) == 2
    assert not any(tmp_path.iterdir())
    assert all_bytes(base_dir) == before


def test_a_write_that_did_not_reach_the_file_is_noticed(
    base_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = open_checkpoint(base_dir)
    monkeypatch.setattr(patch.os, "pwrite", lambda _, piece, __: len(piece))
    with pytest.raises(RunError, match="could not be read back"):
        export_checkpoint(base, changed_tensors(base), tmp_path / "out")


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # the child only writes files and dies
def test_what_a_killed_process_leaves_does_not_load_and_is_removed_by_the_next(base_dir: Path, tmp_path: Path) -> None:
    base = open_checkpoint(base_dir)
    child = os.fork()
    if child == 0:
        # Killed while the second of two tensors is written.
        written = []
        real_write = os.pwrite

        def write(*arguments: object) -> int:
            written.append(arguments)
            return real_write(*arguments) if len(written) < 2 else os.kill(os.getpid(), 9)

        patch.os.pwrite = write
        export_checkpoint(base, changed_tensors(base), tmp_path / "out")
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
    (leftover,) = tmp_path.iterdir()
    assert leftover.name == f".out.partial-{child}"
    with pytest.raises(InputError, match=r"has no config\.json"):
        open_checkpoint(leftover)
    (tmp_path / ".out.partial-1").mkdir()  # process 1 is alive: not ours to remove
    export_checkpoint(base, changed_tensors(base), tmp_path / "out")
    assert sorted(os.listdir(tmp_path)) == [".out.partial-1", "out"]


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)


@pytest.fixture
def exported(base_dir: Path, tmp_path: Path) -> Path:
    base = open_checkpoint(base_dir)
    export_checkpoint(base, changed_tensors(base), tmp_path / "out")
    return tmp_path / "out"


def test_a_change_outside_the_named_tensors_is_found(base_dir: Path, exported: Path) -> None:
    base = open_checkpoint(base_dir)
    other = base.tensors["model.layers.1.self_attn.q_proj.weight"]
    with pytest.raises(RunError, match=TRAINED[1]):
        check_only_changed(base, exported, TRAINED[:1])
    flip(exported / other.shard, other.end - 1)
    with pytest.raises(RunError, match=r"'model\.layers.1.self_attn.q_proj\.weight' in .* differs from the base"):
        check_only_changed(base, exported, TRAINED)


def test_another_file_that_differs_or_comes_or_goes_is_found(base_dir: Path, exported: Path) -> None:
    base = open_checkpoint(base_dir)
    flip(exported / "notes" / "ünïcode name.txt", 0)
    with pytest.raises(RunError, match=r"name\.txt' of .* differs from the base's"):
        check_only_changed(base, exported, TRAINED)
    (exported / "extra").write_text("")
    with pytest.raises(RunError, match="'extra' is only in the result"):
        check_only_changed(base, exported, TRAINED)
    (exported / "extra").unlink()
    (exported / "empty folder").rmdir()
    with pytest.raises(RunError, match="'empty folder' is only in the base"):
        check_only_changed(base, exported, TRAINED)


def test_a_run_that_changed_nothing_is_an_error(base_dir: Path, tmp_path: Path) -> None:
    base = open_checkpoint(base_dir)
    same = {name: read_tensor(base, name) for name in TRAINED}
    export_checkpoint(base, same, tmp_path / "same")
    for allowed in (False, True):
        with pytest.raises(RunError, match="No tensor differs from the base after rounding"):
            check_only_changed(base, tmp_path / "same", TRAINED, allow_unchanged=allowed)
    export_checkpoint(base, same | {TRAINED[0]: same[TRAINED[0]] + 1}, tmp_path / "half")
    with pytest.raises(RunError, match=f"'{TRAINED[1]}' was to change"):
        check_only_changed(base, tmp_path / "half", TRAINED)
    report = check_only_changed(base, tmp_path / "half", TRAINED, allow_unchanged=True)
    assert [change.changed_fraction for change in report.changes] == [1, 0]


def test_a_named_tensor_that_is_not_finite_is_found(base_dir: Path, exported: Path) -> None:
    base = open_checkpoint(base_dir)
    stored = base.tensors[TRAINED[0]]
    content = bytearray((exported / stored.shard).read_bytes())
    content[stored.end - 2 : stored.end] = b"\xc0\x7f"  # NaN in bfloat16
    (exported / stored.shard).write_bytes(content)
    with pytest.raises(RunError, match="not finite"):
        check_only_changed(base, exported, TRAINED)
