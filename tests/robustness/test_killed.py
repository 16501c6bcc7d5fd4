"""SIGKILL at any moment from start to export: no output that loads or a correct one, and a resume to the same bits."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from checkpoint_files import all_bytes
from main_job import read_metrics, write_texts

TESTS = Path(__file__).parents[1]
DRIVER = Path(__file__).with_name("kill_driver.py")
SEED = 8
# Records of time, machine and process: they differ between any two runs.
TIMED = ("manifest.json", "metrics.jsonl", "SHA256SUMS")


def kill_runs(checkpoint: Path, folder: Path, moments: int) -> dict[str, Any]:
    write_texts(folder / "texts")
    paths = os.pathsep.join(str(path) for path in (TESTS.parent / "src", TESTS))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [sys.executable, str(DRIVER), str(checkpoint), str(folder), str(moments), str(SEED)],
        env=environment, check=True, timeout=1800,
    )  # fmt: skip
    return json.loads((folder / "told.json").read_text())


@pytest.mark.parametrize("moments", [2, pytest.param(50, marks=pytest.mark.slow)])
def test_a_killed_run_leaves_nothing_wrong_and_ends_as_the_undisturbed_one(
    moments: int, saved_family: Callable[..., Path], tmp_path: Path
) -> None:
    told = kill_runs(saved_family("llama"), tmp_path, moments)
    whole, weights = tmp_path / "whole", (tmp_path / "whole" / "model" / "model.safetensors").read_bytes()
    expected = {name: content for name, content in all_bytes(whole).items() if name not in TIMED}
    assert len(told["runs"]) == moments
    for number, entry in enumerate(told["runs"]):
        log = (tmp_path / f"log{number}.txt").read_text()
        assert entry["code"] == 0, (entry, log)
        assert "Traceback" not in log
        for seen in (tmp_path / f"seen{number}").glob("*"):
            assert seen.read_bytes() == weights, entry
        run = tmp_path / f"run{number}"
        found = {name: content for name, content in all_bytes(run).items() if name not in TIMED}
        assert found.keys() == expected.keys(), entry
        assert [name for name in expected if found[name] != expected[name]] == [], entry
        assert read_metrics(run) == read_metrics(whole)
    # Every second run is killed in its training, which it then goes on with.
    assert {entry["how"] for entry in told["runs"][1::2]} == {"resumed"}
