import json

import pytest

from main_job import call, write_texts


def test_the_machine_is_described_without_a_model(capsys):
    code, out, err = call(capsys, "doctor", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["srmu"]
    assert found["device"]
    assert set(found) >= {"python", "torch", "transformers", "memory", "disk free here", "extras missing"}


def test_a_checkpoint_and_texts_are_described(small_base, tmp_path, monkeypatch, capsys):
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    code, out, _ = call(
        capsys, "doctor", str(small_base), "--forget", "forget.txt", "--retain", "retain.jsonl", "--json"
    )
    found = json.loads(out)
    # A random model knows none of it.
    assert code in (0, 1)
    assert found["checkpoint"].startswith("llama, 5 layers, ")
    assert found["layer by default"] == "2 of 0 to 4"
    lines = {line["name"]: line for line in found["texts"]}
    assert len(lines) == 10
    assert lines["number of texts"]["state"] == "ok"
    assert lines["known to the model"]["state"] != "ok"
    assert lines["time"]["found"].startswith("about ")
    assert {line["state"] for line in found["texts"]} <= {"ok", "warn", "bad"}
    assert {path.name for path in tmp_path.iterdir()} == {"forget.txt", "retain.jsonl", "questions.jsonl"}
    code, out, _ = call(capsys, "doctor", str(small_base))
    assert max(map(len, out.splitlines())) <= 80
    assert "layer by default" in out


@pytest.mark.parametrize("arguments", [["./none"], ["BASE", "--forget", "none.txt"], ["BASE", "--forget", "a b"]])
def test_what_could_not_start_gives_exit_code_2(small_base, tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "doctor", *(str(small_base) if part == "BASE" else part for part in arguments))
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    assert "exist" in err


def test_texts_that_will_not_do_give_exit_code_1_and_a_table_that_fits(small_base, tmp_path, monkeypatch, capsys):
    write_texts(tmp_path)
    monkeypatch.chdir(tmp_path)
    same = ["--forget", "forget.txt", "--retain", "forget.txt"]
    code, out, _ = call(capsys, "doctor", str(small_base), *same)
    assert code == 1
    assert max(map(len, out.splitlines())) <= 80
    assert "16 of 16 are retain texts too" in " ".join(out.split())
    assert call(capsys, "doctor", "--forget", "forget.txt")[0] == 2
