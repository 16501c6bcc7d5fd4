import json
import shutil
from pathlib import Path

import pytest

from checkpoint_files import save_llama
from export.conftest import write_run
from sealed import seal
from srmu.errors import InputError
from srmu.export.manifest import describe_base, without_texts
from srmu.export.verify import verify_run
from srmu.results.base_place import find_base, without_home
from srmu.results.manifest import Parent, read_manifest
from srmu.runtime.files import file_sha256, write_json_atomic
from srmu.surgery.checkpoint import open_checkpoint


def test_a_manifest_reads_back_and_tells_what_was_done(run_dir: Path, base_dir: Path) -> None:
    manifest = read_manifest(run_dir)
    assert manifest.base.path == str(base_dir)
    assert manifest.base.config_sha256 == file_sha256(base_dir / "config.json")
    assert manifest.base.parent is None
    assert manifest.environment.packages["torch"]
    assert {change.changed_fraction for change in manifest.changed} == {1.0}
    assert "config.json" in manifest.result.files


def test_no_text_reaches_the_manifest(run_dir: Path) -> None:
    assert "secret" not in (run_dir / "manifest.json").read_text()
    assert read_manifest(run_dir).config["forget"][0].startswith("text:sha256:")


def test_paths_hub_data_sets_and_self_stay_readable(tmp_path: Path) -> None:
    kept = [str(tmp_path), "hub:someone/data:part", "self", "general"]
    config = {
        "forget": kept,
        "topics": [{"name": "t", "forget": ["text:a text of mine"], "retain": kept}],
        "steps": 3,
    }
    cleaned = without_texts(config)
    assert cleaned["forget"] == cleaned["topics"][0]["retain"] == kept
    assert "mine" not in json.dumps(cleaned)
    assert cleaned["steps"] == 3


def test_no_home_stands_in_a_manifest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "alice"))
    base_dir = save_llama(tmp_path / "alice" / "models" / "base")
    run = write_run(base_dir, tmp_path / "alice" / "runs" / "first")
    assert "alice" not in (run / "manifest.json").read_text()
    base = read_manifest(run).base
    assert (base.model, base.path, base.path_from_run) == ("~/models/base", "~/models/base", "../../models/base")
    assert find_base(run, base) == base_dir
    other = write_run(base_dir, tmp_path / "disk" / "run")
    assert read_manifest(other).base.path_from_run is None
    config = {"model": str(base_dir), "questions": {"a": str(tmp_path / "alice" / "q.jsonl")}, "out": "runs/x"}
    assert without_home(config) == {"model": "~/models/base", "questions": {"a": "~/q.jsonl"}, "out": "runs/x"}
    assert without_home(str(tmp_path / "alice2")) == str(tmp_path / "alice2")


def test_a_run_and_its_base_that_were_moved_together_are_found(tmp_path: Path) -> None:
    base_dir = save_llama(tmp_path / "here" / "base")
    run = write_run(base_dir, tmp_path / "here" / "runs" / "first")
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = tmp_path / "there" / "runs" / "first"
    assert run.name == moved.name
    assert {check.name: check.status for check in verify_run(moved)}["nothing else differs from the base"] == "pass"


def test_the_model_of_a_run_names_its_parent(run_dir: Path) -> None:
    base = describe_base(open_checkpoint(run_dir / "model"), {}, model="x", run_dir=run_dir)
    assert base.parent == Parent("run", file_sha256(run_dir / "manifest.json"))


def test_a_snapshot_of_the_hub_s_cache_names_its_commit(tmp_path: Path, base_dir: Path) -> None:
    (tmp_path / "snapshots").mkdir()
    (tmp_path / "snapshots" / "abc123").symlink_to(base_dir)
    base = describe_base(
        open_checkpoint(tmp_path / "snapshots" / "abc123"), {}, model="someone/x", run_dir=tmp_path, revision="main"
    )
    assert (base.model, base.revision, base.commit) == ("someone/x", "main", "abc123")


def test_numbers_that_json_lacks_are_refused_and_the_old_file_stays(tmp_path: Path) -> None:
    write_json_atomic(tmp_path / "file.json", {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json_atomic(tmp_path / "file.json", {"a": float("nan")})
    assert json.loads((tmp_path / "file.json").read_text()) == {"a": 1}


def test_what_is_no_manifest_is_refused(run_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run directory"):
        read_manifest(tmp_path)
    file = run_dir / "manifest.json"
    content = json.loads(file.read_text())
    for broken in (b"{", b"[]", b"\xff", json.dumps(content | {"format": 99}).encode()):
        file.write_bytes(broken)
        seal(run_dir)
        with pytest.raises(InputError, match=r"manifest\.json"):
            read_manifest(run_dir)
    for edit in (
        {"result": {}},
        {"base": None},
        {"changed": []},
        {"changed": [{"name": 3}]},
        {"run_files": {"a": 1}},
    ):
        file.write_text(json.dumps(content | edit))
        seal(run_dir)
        with pytest.raises(InputError, match="is damaged"):
            read_manifest(run_dir)
