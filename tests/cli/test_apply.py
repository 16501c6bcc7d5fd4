import json

import pytest

from checkpoint_files import all_bytes
from main_job import call


@pytest.mark.parametrize("source", ["", "delta.safetensors"])
def test_base_and_delta_give_the_model_bit_for_bit(finished_run, small_base, tmp_path, capsys, source):
    out = tmp_path / "rebuilt"
    code, printed, err = call(capsys, "apply", str(finished_run / source), "--base", str(small_base), "--out", str(out))
    assert (code, err, printed) == (0, "", f"checkpoint: {out}\n")
    assert all_bytes(out) == all_bytes(finished_run / "model")


def test_json_names_the_checkpoint(finished_run, small_base, tmp_path, capsys):
    out = str(tmp_path / "rebuilt")
    code, printed, _ = call(capsys, "apply", str(finished_run), "--base", str(small_base), "--out", out, "--json")
    assert (code, json.loads(printed)) == (0, {"model_dir": out})


def test_the_wrong_base_is_refused_and_nothing_is_written(finished_run, saved_family, tmp_path, capsys):
    for base in (saved_family("llama"), saved_family("llama_tied", seed=1), finished_run / "model"):
        code, printed, err = call(
            capsys, "apply", str(finished_run), "--base", str(base), "--out", str(tmp_path / "rebuilt")
        )
        assert (code, printed) == (2, "")
        assert err.startswith("error: Checkpoint")
        assert "is not the base of this delta" in err
        assert err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_delta_or_no_free_output_is_refused(finished_run, small_base, tmp_path, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("kept")
    before = all_bytes(tmp_path)
    for delta, out, names in (
        (tmp_path / "full", tmp_path / "new", "There is no delta"),
        (small_base / "config.json", tmp_path / "new", "config.json"),
        (finished_run, tmp_path / "full", "not an empty directory"),
        (finished_run, small_base / "new", "lies inside the checkpoint"),
    ):
        code, _, err = call(capsys, "apply", str(delta), "--base", str(small_base), "--out", str(out))
        assert code == 2
        assert names in err
        assert err.count("\n") == 1
    assert all_bytes(tmp_path) == before
