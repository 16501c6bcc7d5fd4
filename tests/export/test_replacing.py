"""What `--overwrite` replaces, when, and what it never touches."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkpoint_files import all_bytes
from srmu.config.settings import UnlearnConfig, make_config, to_dict
from srmu.errors import InputError
from srmu.export import replacing
from srmu.export.replacing import is_run
from srmu.export.run_directory import RunDirectory, check_output

MANIFEST = {
    "format": 1, "config": {}, "base": {"shards": {"model.safetensors": "00"}}, "run_files": {"metrics.jsonl": "00"},
    "result": {"files": {"config.json": "00"}}, "changed": [{"name": "x"}],
}  # fmt: skip
STEP = {"step": 1, "forget_loss": 0.5, "retain_loss": 0.1}


def config_of(out: Path, **changes: Any) -> UnlearnConfig:
    given: dict[str, Any] = {"model": "models/base", "forget": ("text:the vault's code",), "overwrite": True, **changes}
    return make_config({**given, "out": str(out)})


def write_run(path: Path, mark: str = "old") -> Path:
    """A directory that looks finished."""
    (path / "model").mkdir(parents=True)
    (path / "model" / "config.json").write_text(mark)
    (path / "manifest.json").write_text(json.dumps({**MANIFEST, "mark": mark}))
    return path


@pytest.fixture(autouse=True)
def manifests_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a manifest must hold is tested where it is read; here ours is told from others by its format."""

    def read(path: Path) -> dict[str, Any]:
        try:
            found = json.loads((path / "manifest.json").read_text())
        except ValueError:
            found = {}
        if not isinstance(found, dict) or found.get("format") != 1:
            raise InputError("no manifest")
        return found

    monkeypatch.setattr(replacing, "read_any_manifest", read)


NO_RUNS: dict[str, dict[str, str]] = {
    "another checkpoint": {"config.json": '{"model_type": "llama"}', "model.safetensors": "weights"},
    "a project with a config": {"config.json": "{}", "main.py": "print()"},
    "a config of something else": {"config.json": '{"model": "x", "method": "y"}'},
    "a project with metrics": {"metrics.jsonl": '{"epoch": 1}\n', "thesis.txt": "kept"},
    "metrics of something else": {"metrics.jsonl": '{"epoch": 1, "loss": 0.5}\n'},
    "a web page's manifest": {"manifest.json": '{"name": "app", "icons": []}', "index.html": ""},
    "a manifest that is a list": {"manifest.json": "[]"},
    "a manifest that is no JSON": {"manifest.json": "format = 1"},
    "only a model folder": {"model/config.json": "{}"},
    "only results": {"results.json": "{}"},
    "a run with something of the user's before it ended": {"metrics.jsonl": json.dumps(STEP), "notes.txt": "kept"},
    "texts": {"a.txt": "one"},
}


@pytest.mark.parametrize("kind", NO_RUNS)
def test_what_is_no_run_is_never_replaced(kind: str, tmp_path: Path) -> None:
    for name, content in NO_RUNS[kind].items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text(content)
    before = all_bytes(tmp_path)
    for link in (False, True):
        out = tmp_path / "out"
        if link:
            out = tmp_path.with_name(tmp_path.name + "-link")
            out.symlink_to(tmp_path / "out")
        with pytest.raises(InputError, match="other than a run"):
            RunDirectory.create(config_of(out))
    assert all_bytes(tmp_path) == before


@pytest.mark.parametrize(
    "files",
    [{"manifest.json": json.dumps(MANIFEST), "report.html": "", "attack.json": ""}, {"metrics.jsonl": json.dumps(STEP)},
     {"metrics.jsonl": ""}],
    ids=["finished, with a report", "failed", "killed before its first step"],
)  # fmt: skip
def test_a_run_stays_until_the_new_one_is_whole(files: dict[str, str], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for name, content in files.items():
        (out / name).write_text(content)
    before = all_bytes(out)
    run = RunDirectory.create(config_of(out))
    run.write_metrics([STEP])
    assert all_bytes(out) == before
    write_run(run.path, "new")
    run.finish()
    assert run.path == out
    assert json.loads((out / "manifest.json").read_text())["mark"] == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_link_leads_to_the_run_that_is_replaced_and_stays(tmp_path: Path) -> None:
    write_run(tmp_path / "disk" / "run")
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "run")
    run = RunDirectory.create(config_of(tmp_path / "out"))
    write_run(run.path, "new")
    run.finish()
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "run" / "model" / "config.json").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["disk", "out"]


def test_an_interrupted_replacement_is_resumed_under_either_name_and_then_takes_the_place(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    config = config_of(out, save_every=1)
    RunDirectory.create(config)
    for name in ("out", "out.unfinished"):
        run, found = RunDirectory.reopen(tmp_path / name)
        assert (run.path, found) == (tmp_path / "out.unfinished", config)
    assert (out / "model" / "config.json").read_text() == "old"
    write_run(run.path, "new")
    with pytest.raises(InputError, match=r"out' is finished"):  # killed between its manifest and the exchange
        RunDirectory.reopen(tmp_path / "out.unfinished")
    assert (out / "model" / "config.json").read_text() == "new"
    assert os.listdir(tmp_path) == ["out"]
    assert not (out / "config.json").exists()


def test_a_resumed_replacement_does_not_remove_what_came_to_stand_there(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    run = RunDirectory.create(config_of(out, save_every=1))
    shutil.rmtree(out)
    out.mkdir()
    (out / "thesis.txt").write_text("kept")
    with pytest.raises(InputError, match="other than a run"):
        RunDirectory.reopen(run.path)
    write_run(run.path, "new")
    run.finish()
    assert all_bytes(out) == {"thesis.txt": b"kept"}
    assert run.path == tmp_path / "out.unfinished"


def test_a_second_attempt_takes_the_place_of_the_first_unless_that_holds_something_else(tmp_path: Path) -> None:
    out = write_run(tmp_path / "out")
    RunDirectory.create(config_of(out)).write_metrics([STEP])
    RunDirectory.create(config_of(out))
    assert list((tmp_path / "out.unfinished").iterdir()) == []
    (tmp_path / "out.unfinished" / "thesis.txt").write_text("kept")
    with pytest.raises(InputError, match=r"out\.unfinished' first, which holds something other"):
        RunDirectory.create(config_of(out))
    with pytest.raises(InputError, match="as unfinished runs do"):
        check_output(config_of(tmp_path / "out.unfinished"))
    assert (tmp_path / "out.unfinished" / "thesis.txt").exists()


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_a_kill_in_the_exchange_leaves_one_whole_run_in_place(
    renames: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = write_run(tmp_path / "out")
    run = RunDirectory.create(config_of(out))
    write_run(run.path, "new")
    rename, done = os.rename, []

    def killed(source: Path, target: Path) -> None:
        if len(done) == renames:
            raise KeyboardInterrupt
        done.append(source)
        rename(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(replacing.os, "rename", killed)
        patch.setattr(replacing, "sync", lambda _: killed(tmp_path / "a", tmp_path / "b"))
        with pytest.raises(KeyboardInterrupt):
            run.finish()
    assert (run.path / "manifest.json").exists()
    assert run.path == (out if renames == 2 else tmp_path / "out.unfinished")
    check_output(config_of(out))
    assert (out / "model" / "config.json").read_text() == ("old" if renames == 0 else "new")
    assert [name for name in os.listdir(tmp_path) if name.startswith(".")] == []


def sources(folder: Path) -> dict[str, Callable[[], dict[str, Any]]]:
    """Ways in which a run may read something of the run that it is to replace."""
    run = write_run(folder / "out")
    (run / "texts").mkdir()
    file = run / "texts" / "f.jsonl"
    file.write_text("")
    (folder / "link").symlink_to(file)
    (run / "way.txt").symlink_to(folder / "outside.txt")
    (folder / "outside.txt").write_text("")
    (folder / "linked").symlink_to(run)
    topic = {"name": "t", "forget": ("a b",), "retain": (str(file),)}
    return {
        "model": lambda: {"model": str(run / "model")},
        "model through a link": lambda: {"model": str(folder / "linked" / "model")},
        "forget": lambda: {"forget": (str(file),)},
        "forget by a link": lambda: {"forget": (str(folder / "link"),)},
        "a link that lies in it": lambda: {"forget": (str(run / "way.txt"),)},
        "folder": lambda: {"forget": (str(run / "texts"),)},
        "a folder that holds it": lambda: {"retain": (str(folder),)},
        "retain": lambda: {"retain": ("general", str(file))},
        "questions": lambda: {"questions": {"forget": str(file)}},
        "topic": lambda: {"forget": (), "topics": (topic,)},
    }


@pytest.mark.parametrize("kind", [
    "model", "model through a link", "forget", "forget by a link", "a link that lies in it", "folder",
    "a folder that holds it", "retain", "questions", "topic",
])  # fmt: skip
def test_what_the_new_run_reads_is_never_replaced(kind: str, tmp_path: Path) -> None:
    changes = sources(tmp_path)[kind]()
    before = all_bytes(tmp_path)
    config = make_config({**to_dict(config_of(tmp_path / "out")), **changes})
    with pytest.raises(InputError, match="the run reads"):
        RunDirectory.create(config)
    assert all_bytes(tmp_path) == before


def test_a_run_is_told_from_other_folders(tmp_path: Path) -> None:
    assert is_run(write_run(tmp_path / "run"))
    (tmp_path / "empty").mkdir()
    assert not is_run(tmp_path / "empty")


@pytest.mark.parametrize("config", ['{"model_type": "llama"}', "[]", "{"])
def test_resuming_what_is_no_unfinished_run_deletes_nothing(config: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path / "out")
    (folder / "config.json").write_text(config)
    (folder / "state.safetensors").write_text("somebody's")
    before = all_bytes(folder)
    with pytest.raises(InputError, match="is finished"):
        RunDirectory.reopen(folder)
    assert all_bytes(folder) == before
