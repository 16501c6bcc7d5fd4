import json

from main_job import call


def test_a_whole_run_passes_every_check(finished_run, capsys):
    code, out, err = call(capsys, "verify", str(finished_run))
    checks = json.loads(call(capsys, "verify", str(finished_run), "--json")[1])
    assert (code, err) == (0, "")
    assert [check["name"] for check in checks if check["status"] != "pass"] == ["signature"]
    assert all(" ".join(check["name"].split()[:2]) in out for check in checks)
    # The title names the path, however long.
    assert max(map(len, out.splitlines()[1:])) <= 80


def test_a_changed_byte_fails_with_exit_code_1_and_the_file_is_named(run_copy, capsys):
    shard = next((run_copy / "model").glob("*.safetensors"))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    code, out, _ = call(capsys, "verify", str(run_copy), "--json")
    assert code == 1
    failed = {check["name"]: check["detail"] for check in json.loads(out) if check["status"] == "fail"}
    assert shard.name in failed["files of the model"]


def test_a_file_too_much_fails_and_names_that_look_like_markup_are_shown(run_copy, capsys):
    (run_copy / "model" / "[red]extra[").write_text("")
    code, out, _ = call(capsys, "verify", str(run_copy))
    assert code == 1
    assert "[red]extra[" in out


def test_the_wrong_base_is_an_error(finished_run, saved_family, capsys):
    code, out, _ = call(capsys, "verify", str(finished_run), "--base", str(saved_family("llama")), "--json")
    assert code == 1
    assert "is not the base of this run" in json.loads(out)[-1]["detail"]


def test_a_directory_that_is_no_run_is_an_error(tmp_path, capsys):
    code, out, err = call(capsys, "verify", str(tmp_path / "none"))
    assert (code, out) == (2, "")
    assert err == f"error: Run directory {str(tmp_path / 'none')!r} does not exist. Give the --out of a finished run.\n"
    assert call(capsys, "verify", str(tmp_path))[0] == 1
