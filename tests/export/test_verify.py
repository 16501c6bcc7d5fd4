import json
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from checkpoint_files import TRAINED, save_llama
from sealed import seal
from srmu.export.verify import verify_run
from srmu.surgery.checkpoint import open_checkpoint

NAMES = [
    "every file",
    "signature",
    "manifest",
    "results",
    "files of the model",
    "no file more or less",
    "files of the run",
    "changed tensors finite",
    "delta equals the model",
    "chain of requests",
    "nothing else differs from the base",
]


def statuses(run_dir: Path, **options: Path) -> dict[str, str]:
    return {check.name: check.status for check in verify_run(run_dir, **options)}


def flip_tensor_byte(directory: Path, name: str) -> None:
    stored = open_checkpoint(directory).tensors[name]
    content = bytearray((directory / stored.shard).read_bytes())
    content[stored.start] ^= 1
    (directory / stored.shard).write_bytes(content)


def test_a_sound_run_passes_every_check(run_dir: Path, base_dir: Path) -> None:
    expected = {**dict.fromkeys(NAMES, "pass"), "signature": "skipped"}
    assert statuses(run_dir) == expected
    assert statuses(run_dir, base=base_dir) == expected


def test_one_flipped_weight_byte_is_caught(run_dir: Path) -> None:
    flip_tensor_byte(run_dir / "model", "lm_head.weight")
    found = statuses(run_dir)
    assert found["files of the model"] == found["nothing else differs from the base"] == "fail"
    assert found["delta equals the model"] == "pass"


def test_one_flipped_byte_of_a_changed_tensor_is_caught(run_dir: Path) -> None:
    flip_tensor_byte(run_dir / "model", TRAINED[1])
    found = statuses(run_dir)
    assert found["files of the model"] == found["delta equals the model"] == "fail"


def test_a_forged_hash_does_not_hide_another_changed_tensor(run_dir: Path) -> None:
    from srmu.runtime.files import hash_files

    flip_tensor_byte(run_dir / "model", "lm_head.weight")
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["result"]["files"] = hash_files(run_dir / "model")
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    found = statuses(seal(run_dir))
    assert found.pop("nothing else differs from the base") == "fail"
    assert set(found.values()) == {"pass", "skipped"}


@pytest.mark.parametrize("name", ["pytorch_model.bin", "consolidated.safetensors", "model.gguf", "onnx/model"])
def test_weights_in_another_format_fail_even_where_the_manifest_lists_them(
    name: str, run_dir: Path, base_dir: Path
) -> None:
    from srmu.runtime.files import hash_files

    # As an earlier version copied them out of the base.
    base = Path(shutil.copytree(base_dir, run_dir.parent / "with others"))
    for place in (run_dir / "model", base):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(b"what the base knows")
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["result"]["files"] = hash_files(run_dir / "model")
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    found = statuses(run_dir, base=base)
    assert found["no file more or less"] == found["nothing else differs from the base"] == "fail"


def test_files_that_came_or_went_are_named(run_dir: Path) -> None:
    (run_dir / "model" / "extra.txt").write_text("")
    checks = {check.name: check for check in verify_run(run_dir)}
    assert checks["no file more or less"].status == "fail"
    assert "extra.txt" in checks["no file more or less"].detail
    (run_dir / "model" / "extra.txt").unlink()
    (run_dir / "model" / "config.json").unlink()
    (run_dir / "metrics.jsonl").write_text("edited")
    checks = {check.name: check for check in verify_run(run_dir)}
    assert "config.json" in checks["no file more or less"].detail
    assert checks["files of the run"].status == "fail"
    assert "metrics.jsonl" in checks["files of the run"].detail
    # Without config.json it is no checkpoint: these could not be checked, which is neither pass nor fail.
    assert checks["changed tensors finite"].status == "error"


def test_a_file_that_nothing_lists_fails_where_srmu_would_read_it_and_is_named_elsewhere(run_dir: Path) -> None:
    # The last two are what a kill right after the manifest leaves.
    for name in ("notes.txt", "config.json", "state.safetensors"):
        (run_dir / name).write_text("{}")
    check = verify_run(run_dir)[0]
    assert (check.name, check.status) == ("every file", "pass")
    assert "3 more are no part of the run, such as 'config.json'" in check.detail
    for name in ("results.json", "questions/more.jsonl", "model/more.txt"):
        (run_dir / name).parent.mkdir(exist_ok=True)
        (run_dir / name).write_text("{}")
        check = verify_run(run_dir)[0]
        assert check.status == "fail"
        assert name in check.detail
        (run_dir / name).unlink()


def test_a_missing_or_damaged_delta_does_not_pass(run_dir: Path) -> None:
    file = run_dir / "delta.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    found = statuses(run_dir)
    assert found["files of the run"] == "fail"
    assert found["delta equals the model"] == "error"
    file.unlink()
    assert statuses(run_dir)["delta equals the model"] == "fail"


def test_a_base_that_is_gone_or_replaced_is_skipped_never_passed(run_dir: Path, base_dir: Path, tmp_path: Path) -> None:
    manifest = json.loads((run_dir / "manifest.json").read_text())
    copy = tmp_path / "moved"
    manifest["base"] |= {"path": str(copy), "path_from_run": None}
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    check = verify_run(run_dir)[-1]
    assert check.status == "skipped"
    assert "give it with --base" in check.detail
    save_llama(copy, dtype=torch.bfloat16, seed=5)
    assert verify_run(run_dir)[-1].status == "skipped"
    assert verify_run(run_dir, base=copy)[-1].status == "error"
    shutil.rmtree(copy)
    assert verify_run(run_dir, base=base_dir)[-1].status == "pass"


def test_without_a_manifest_nothing_passes(tmp_path: Path) -> None:
    checks = verify_run(tmp_path)
    assert [check.name for check in checks] == NAMES
    assert [check.status for check in checks] == ["error", "skipped", "error", "error", *["skipped"] * (len(NAMES) - 4)]


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname"])
def test_a_manifest_must_not_lead_out_of_the_run(name: str, run_dir: Path) -> None:
    manifest = json.loads((run_dir / "manifest.json").read_text())
    manifest["run_files"][name] = "0"
    (run_dir / "manifest.json").write_text(json.dumps(manifest))
    (check,) = [check for check in verify_run(run_dir) if check.name == "files of the run"]
    assert check.status == "fail"
    assert "outside the run directory" in check.detail


def test_a_signature_says_who_vouches_for_the_run_as_it_is_now(run_dir: Path, tmp_path: Path) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    allowed = tmp_path / "allowed"
    for name in ("alice", "mallory"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    allowed.write_text("alice@example.com " + (tmp_path / "alice.pub").read_text())

    def sign(name: str, namespace: str = "srmu") -> None:
        (run_dir / "SHA256SUMS.sig").unlink(missing_ok=True)
        sums = run_dir / "SHA256SUMS"
        asked = ["ssh-keygen", "-q", "-Y", "sign", "-f", tmp_path / name, "-n", namespace, sums]
        subprocess.run(asked, check=True, capture_output=True)

    def signed() -> str:
        return statuses(run_dir, allowed_signers=allowed)["signature"]

    assert signed() == "fail"  # nobody did
    sign("alice")
    assert statuses(run_dir)["signature"] == "skipped"
    assert signed() == "pass"
    assert statuses(run_dir, allowed_signers=tmp_path / "none")["signature"] == "error"
    for name, namespace in (("mallory", "srmu"), ("alice", "file")):
        sign(name, namespace)
        assert signed() == "fail"
    sign("alice")
    # Forged consistently: the hashes hold, the signature does not.
    (run_dir / "metrics.jsonl").write_text("{}")
    seal(run_dir)
    found = statuses(run_dir, allowed_signers=allowed)
    assert (found["every file"], found["signature"]) == ("pass", "fail")
