"""A run's evidence from end to end on a tiny model: report and card without texts, gate, chain, trackers."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from accelerate.logging import get_logger

from main_job import FORGET, call, files_with, flags, write_texts
from results.report.test_page import assert_numbers_are_recorded
from srmu.config.settings import make_config, to_dict
from srmu.errors import InputError
from srmu.results.manifest import read_manifest
from srmu.runtime import trackers


@pytest.fixture(scope="session")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("evidence"))


@pytest.fixture
def unlearn(texts: Path, saved_family: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def run(out: str, *more: str, base: Path | None = None) -> tuple[int, str, str]:
        model = base or saved_family("llama_tied")
        sides = ["--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl")]
        questions = ["--questions", f"forget={texts / 'questions.jsonl'}"]
        settings = flags(steps=3)
        return call(capsys, "unlearn", str(model), *sides, *questions, *settings, "--out", str(tmp_path / out), *more)

    return run


def test_no_file_of_a_run_with_its_report_holds_a_forget_text(
    unlearn: Callable[..., tuple[int, str, str]], texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert unlearn("first")[0] == 0
    run = tmp_path / "first"
    assert call(capsys, "report", str(run))[0] == 0
    assert {path.name for path in run.iterdir()} == {
        "manifest.json", "results.json", "metrics.jsonl", "importance.safetensors", "delta.safetensors", "model",
        "report.html", "questions", "SHA256SUMS",
    }  # fmt: skip
    assert files_with(run, FORGET) == []
    # The same search finds them where they are.
    assert files_with(texts, FORGET) == ["forget.txt", "questions.jsonl"]
    assert assert_numbers_are_recorded((run / "report.html").read_text(), run) > 40
    card = (run / "model" / "README.md").read_text()
    results = json.loads((run / "results.json").read_text())
    before, after = (results["texts"]["retain"][side]["perplexity"] for side in ("base", "result"))
    assert f"| {before:.3f} | {after:.3f} |" in card
    assert f"value: {after}" in card
    assert call(capsys, "verify", str(run))[0] == 0


def test_a_run_that_fails_its_own_requirements_exits_1_and_is_kept(
    unlearn: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, out, _ = unlearn("first", "--require", "forget<=1", "--require", "other>=0.5", "--json")
    assert code == 1
    assert [entry["status"] for entry in json.loads(out)["gate"]] == ["pass", "missing"]
    assert read_manifest(tmp_path / "first").requirements == ("forget<=1", "other>=0.5")


def test_a_run_on_a_run_is_followed_and_reported(
    unlearn: Callable[..., tuple[int, str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    assert unlearn("first")[0] == unlearn("second", base=first / "model")[0] == 0
    code, out, _ = call(capsys, "verify", str(second), "--json")
    assert code == 0
    (check,) = [check for check in json.loads(out) if check["name"] == "chain of requests"]
    assert check["status"] == "pass"
    assert call(capsys, "report", str(second))[0] == 0
    page = (second / "report.html").read_text()
    assert "Requests one after another" in page
    assert_numbers_are_recorded(page, second)


class Recorder:
    """Stands in for one of accelerate's trackers."""

    requires_logging_directory = False
    calls: list = []  # noqa: RUF012

    def __init__(self, project: str, **options: str):
        self.calls.append(("new", project, options))

    def start(self) -> None:
        # Each of accelerate's own does so, and its log asks for a state.
        get_logger(__name__).debug("started")
        self.calls.append(("start",))

    def store_init_configuration(self, values: dict) -> None:
        self.calls.append(("config", values))

    def log(self, values: dict, step: int) -> None:
        self.calls.append(("log", step, values))

    def finish(self) -> None:
        self.calls.append(("finish",))


def test_each_step_s_metrics_go_to_the_tracker_that_was_asked_for(
    unlearn: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate import PartialState
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    PartialState._reset_state()
    monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, "wandb", Recorder)
    monkeypatch.setattr(trackers, "check_tracker", lambda name: None)
    monkeypatch.setattr("srmu.job.unlearn.check_tracker", lambda name: None)
    Recorder.calls = []
    assert unlearn("untracked")[0] == 0
    assert Recorder.calls == []
    assert unlearn("tracked", "--track", "wandb")[0] == 0
    assert [call[0] for call in Recorder.calls] == ["new", "start", "config", "log", "log", "log", "finish"]
    assert Recorder.calls[0][1:] == ("srmu", {"name": "tracked"})
    assert Recorder.calls[2][1]["steps"] == 3
    assert [call[1] for call in Recorder.calls[3:6]] == [1, 2, 3]
    assert any(key.endswith("/forget_loss") for key in Recorder.calls[3][2])


def test_tensorboard_files_are_written_into_the_run(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    config = make_config({"model": "x", "track": "tensorboard"})
    tracker = trackers.open_tracker("tensorboard", tmp_path, to_dict(config))
    tracker.log([{"step": 1, "topic": "forget", "forget_loss": 2.0, "retain_loss": None}])
    tracker.finish()
    assert list((tmp_path / "tensorboard").rglob("events.out.tfevents.*"))


TRACKIO_RUN = """
import json, sys
from pathlib import Path
from srmu.runtime.trackers import open_tracker
tracker = open_tracker("trackio", Path("runs/first"), {"steps": 2, "layer": 3, "forget": ["a text"]})
losses = [{"step": step, "topic": "forget", "forget_loss": 2.0 / step, "retain_loss": None} for step in (1, 2)]
tracker.log(losses)
tracker.finish()
from trackio.sqlite_storage import SQLiteStorage
logs = SQLiteStorage.get_logs("srmu", "first")
print(json.dumps([[log["step"], log["forget/forget_loss"]] for log in logs]))
config = SQLiteStorage.get_run_config("srmu", "first")
print(json.dumps({key: value for key, value in config.items() if not key.startswith("_")}))
"""


def test_trackio_itself_keeps_each_step_in_its_local_folder_and_prints_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("trackio", reason="trackio is not installed")
    # Its folder is read once, when it is imported.
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    monkeypatch.setenv("PYTHONPATH", str(Path(trackers.__file__).parents[2]))
    done = subprocess.run([sys.executable, "-c", TRACKIO_RUN], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    losses, config = map(json.loads, done.stdout.splitlines())
    assert losses == [[1, 2.0], [2, 1.0]]
    assert config == {"steps": 2, "layer": 3}


def test_a_tracker_that_is_unknown_or_not_installed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="Did you mean 'wandb'"):
        make_config({"model": "x", "track": "wandbb"})
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="not installed"):
        trackers.check_tracker("mlflow")
    trackers.check_tracker(None)
