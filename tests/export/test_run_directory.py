import json
from pathlib import Path
from typing import Any

import pytest
import torch

from checkpoint_files import all_bytes
from srmu.config.settings import UnlearnConfig, make_config
from srmu.errors import InputError
from srmu.export.run_directory import RunDirectory, check_output


def config_of(out: Path | str | None, **changes: Any) -> UnlearnConfig:
    given: dict[str, Any] = {"model": "models/base", "forget": ("text:the vault's code",), "out": out and str(out)}
    return make_config({**given, **changes})


def test_without_out_runs_get_names_of_their_own_under_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = [RunDirectory.create(config_of(None)).path for _ in range(3)]
    assert len(set(names)) == 3
    assert all(path.parent == Path("runs") and path.name.startswith("base-srmu-") for path in names)


def test_a_model_named_by_a_dot_gives_the_name_of_its_folder(tmp_path, monkeypatch):
    (tmp_path / "my-model").mkdir()
    monkeypatch.chdir(tmp_path / "my-model")
    assert check_output(config_of(None, model=".")).name.startswith("my-model-srmu-")


def test_the_output_is_checked_without_being_made(tmp_path):
    assert check_output(config_of(tmp_path / "a" / "b")) == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []


def test_an_empty_directory_is_free_and_a_full_one_is_not(tmp_path):
    check_output(config_of(tmp_path))
    (tmp_path / "metrics.jsonl").write_text("")
    with pytest.raises(InputError, match="not empty"):
        RunDirectory.create(config_of(tmp_path))
    check_output(config_of(tmp_path, overwrite=True))


def test_only_a_run_is_overwritten(tmp_path):
    (tmp_path / "thesis.txt").write_text("kept")
    with pytest.raises(InputError, match="other than a run"):
        RunDirectory.create(config_of(tmp_path, overwrite=True))
    assert all_bytes(tmp_path) == {"thesis.txt": b"kept"}


def test_a_file_in_the_way_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(InputError, match="file' is a file"):
            check_output(config_of(out))


def test_the_config_is_stored_only_for_a_run_that_can_be_resumed(tmp_path):
    assert list(RunDirectory.create(config_of(tmp_path / "a")).path.iterdir()) == []
    with pytest.raises(InputError, match="no run to resume"):
        RunDirectory.reopen(tmp_path / "a")
    config = config_of(tmp_path / "b", save_every=5, steps=7, questions={"forget": "q.jsonl"})
    run = RunDirectory.create(config)
    assert RunDirectory.reopen(run.path)[1] == config
    run.drop_state()
    assert list(run.path.iterdir()) == []


def test_a_finished_run_is_not_reopened(tmp_path):
    run = RunDirectory.create(config_of(tmp_path / "a", save_every=1))
    (run.path / "manifest.json").write_text("{}")
    with pytest.raises(InputError, match="finished"):
        RunDirectory.reopen(run.path)


def test_a_state_comes_back_and_later_metrics_are_cut_off(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_metrics([{"step": step, "loss": 0.5} for step in (1, 2, 3)])
    run.save_state({"next_step": torch.tensor(2), "master.0.x": torch.arange(3.0)})
    state = run.load_state()
    assert state is not None
    assert torch.equal(state["master.0.x"], torch.arange(3.0))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1, 2]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "state.safetensors"]


def test_without_a_state_the_metrics_begin_again(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_metrics([{"step": 1}])
    assert run.load_state() is None
    assert list(tmp_path.iterdir()) == []


def test_metrics_are_json_even_where_a_number_is_not_finite(tmp_path):
    run = RunDirectory(tmp_path)
    run.write_metrics([{"step": 1, "loss": float("nan"), "norm": float("inf"), "topic": "a"}])
    assert json.loads((tmp_path / "metrics.jsonl").read_text()) == {"step": 1, "loss": None, "norm": None, "topic": "a"}


def test_what_may_hold_texts_or_a_state_is_for_its_owner_alone(tmp_path):
    run = RunDirectory.create(config_of(tmp_path / "a", save_every=1))
    run.save_state({"next_step": torch.tensor(2)})
    for name in ("config.json", "state.safetensors"):
        assert (run.path / name).stat().st_mode & 0o777 == 0o600
