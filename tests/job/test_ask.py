"""`srmu ask`: base and result side by side."""

import json

import pytest

from export.conftest import write_run
from srmu.cli.app import main
from srmu.errors import InputError
from srmu.evaluation.completions import complete
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.job.ask import read_prompts

PROMPTS = ["the river runs", "copper mirror"]


@pytest.fixture(scope="module")
def base(saved_family):
    return saved_family("llama", tokenizer="words")


def ask_json(capsys, *arguments):
    code = main(["ask", *map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return json.loads(captured.out)


def test_a_run_answers_beside_its_base(base, tmp_path, capsys):
    run = write_run(base, tmp_path / "run")
    flags = [part for prompt in PROMPTS for part in ("--prompt", prompt)]
    answers = ask_json(capsys, run, *flags, "--max-new-tokens", 5)
    tokenizer = load_tokenizer(base)
    for name, path in (("base", base), ("result", run / "model")):
        expected = complete(load_causal_lm(path), tokenizer, PROMPTS, max_new_tokens=5)
        assert [entry[name] for entry in answers] == expected
    assert [entry["prompt"] for entry in answers] == PROMPTS
    assert any(entry["base"] != entry["result"] for entry in answers)
    assert main(["ask", str(run), "--prompt", "the river [runs]"]) == 0
    shown = capsys.readouterr().out
    assert "base" in shown
    assert "result" in shown
    assert "[runs]" in shown
    assert not (run / "results.json").exists()


def test_a_model_alone_answers_prompts_of_a_file(base, tmp_path, capsys):
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join([PROMPTS[0], "", PROMPTS[1]]))
    answers = ask_json(capsys, base, "--prompts", file, "--max-new-tokens", 2)
    assert [list(entry) for entry in answers] == [["prompt", "result"]] * 2


def test_a_model_against_itself_answers_the_same(base, capsys):
    (entry,) = ask_json(capsys, base, "--base", base, "--prompt", PROMPTS[0])
    assert entry["base"] == entry["result"]


def test_prompts_of_json_lines_are_strings_or_objects(tmp_path):
    file = tmp_path / "p.jsonl"
    file.write_text('"a b"\n{"prompt": "c"}\n{"question": "d", "choices": []}\n')
    assert read_prompts(file) == ["a b", "c", "d"]


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "holds no prompt"), ("{", "line 1: not JSON"), ('{"text": "a"}', "line 1: a prompt must be a text")],
)
def test_a_bad_prompt_file_is_refused(tmp_path, content, message):
    file = tmp_path / "p.jsonl"
    file.write_text(content)
    with pytest.raises(InputError, match=message):
        read_prompts(file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No prompt was given"),
        (["--prompt", "a", "--max-new-tokens", "0"], "max_new_tokens=0"),
        (["--prompt", "a", "--chat"], "no chat template"),
        (["--prompts", "none.txt"], "cannot be read"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(base, capsys, arguments, message):
    assert main(["ask", str(base), *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown


def test_a_base_that_is_not_the_runs_base_is_refused(base, tmp_path, capsys, saved_family):
    run = write_run(base, tmp_path / "run")
    other = saved_family("llama", tokenizer="words", seed=1)
    assert main(["ask", str(run), "--base", str(other), "--prompt", "a"]) == 2
    assert "is not the base of run" in capsys.readouterr().err
