"""Exports of a finished run: the adapter answers as the result does, GGUF and the hub say what they need."""

import json
import os

import pytest
import torch
from transformers import AutoModelForCausalLM

from main_job import FORGET, RETAIN, SETTINGS
from srmu import unlearn
from srmu.cli.app import main
from srmu.errors import InputError
from srmu.inputs.questions import Question
from srmu.job.export import export_adapter, export_delta, export_gguf, export_hub

QUESTIONS = {
    "forget": [Question(prompt="the capital of", choices=("red country", "blue"), answer=0)],
    "kept": [Question(prompt="a silver market in", choices=("winter", "north west"), answer=1)],
}


@pytest.fixture(scope="module")
def run(saved_family, tmp_path_factory):
    out = tmp_path_factory.mktemp("exported") / "run"
    unlearn(model=str(saved_family("llama")), forget=FORGET, retain=RETAIN, eval=False, out=str(out), **SETTINGS)
    return out


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_at_full_rank_the_adapter_on_the_base_is_the_result(run, saved_family, tmp_path):
    peft = pytest.importorskip("peft")
    made = export_adapter(run, tmp_path / "lora", rank=32, questions=QUESTIONS)
    assert made.chosen.accuracy == made.full.accuracy
    assert made.chosen.error == pytest.approx(0.0, abs=1e-6)
    ids = torch.arange(10)[None] + 6
    with torch.inference_mode():
        wanted = AutoModelForCausalLM.from_pretrained(run / "model").eval()(ids).logits
        base = AutoModelForCausalLM.from_pretrained(saved_family("llama")).eval()
        before = base(ids).logits
        found = peft.PeftModel.from_pretrained(base, tmp_path / "lora")(ids).logits
    assert torch.allclose(found, wanted, atol=1e-4)
    assert not torch.allclose(before, wanted, atol=1e-2)


def test_the_chosen_rank_is_the_first_whose_answers_are_alike(run, tmp_path):
    made = export_adapter(run, tmp_path / "lora", questions=QUESTIONS)
    assert [score.rank for score in made.tried] == sorted(score.rank for score in made.tried)
    assert made.chosen == made.tried[-1]
    assert all(abs(made.chosen.accuracy[name] - value) <= 0.03 for name, value in made.full.accuracy.items())
    blind = export_adapter(run, tmp_path / "blind")
    assert blind.chosen.accuracy == {}
    assert blind.chosen.error <= 0.05


def test_a_rank_out_of_range_is_refused_and_nothing_is_written(run, tmp_path):
    with pytest.raises(InputError, match="allow 1 to"):
        export_adapter(run, tmp_path / "lora", rank=10_000)
    assert not (tmp_path / "lora").exists()


def test_the_delta_is_the_runs_and_never_replaces_a_file(run, tmp_path):
    made = export_delta(run, tmp_path / "d.safetensors")
    assert made.read_bytes() == (run / "delta.safetensors").read_bytes()
    with pytest.raises(InputError, match="exists"):
        export_delta(run, made)


def test_gguf_needs_the_converter_and_takes_its_refusal(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match=r"Install llama\.cpp"):
        export_gguf(run, tmp_path / "m.gguf")
    converter = tmp_path / "convert_hf_to_gguf.py"
    converter.write_text('#!/bin/sh\necho "cannot" >&2\nexit 1\n')
    converter.chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), "/bin", "/usr/bin"]))
    with pytest.raises(InputError, match="cannot"):
        export_gguf(run, tmp_path / "m.gguf")
    converter.write_text('#!/bin/sh\necho "$1" > "$3"\n')
    assert export_gguf(run, tmp_path / "m.gguf").read_text().strip() == str(run / "model")


def test_the_hub_gets_the_checkpoint_with_its_card_or_says_why_not(run, monkeypatch):
    calls = []
    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", lambda self, name, **kwargs: calls.append((name, kwargs)))
    monkeypatch.setattr(
        "huggingface_hub.HfApi.upload_folder",
        lambda self, **kwargs: calls.append(kwargs) or "https://hub/commit",
    )
    assert export_hub(run, "me/forgot") == "https://hub/commit"
    assert calls[0] == ("me/forgot", {"private": True, "exist_ok": True})
    assert calls[1]["folder_path"] == run / "model"

    def refuse(self, name, **kwargs):
        raise OSError("no such token")

    monkeypatch.setattr("huggingface_hub.HfApi.create_repo", refuse)
    with pytest.raises(InputError, match="no such token"):
        export_hub(run, "me/forgot")


def test_the_command_writes_an_adapter_and_names_bad_forms(run, tmp_path, capsys):
    assert main(["export", str(run), "--as", "lora", "--out", str(tmp_path / "lora"), "--rank", "4", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert (record["form"], record["chosen"]["rank"]) == ("lora", 4)
    assert main(["export", str(run), "--as", "lorra", "--out", str(tmp_path / "x")]) == 2
    assert "Did you mean 'lora'?" in capsys.readouterr().err
    assert main(["export", str(run), "--as", "lora", "--out", str(tmp_path / "x"), "--rank", "few"]) == 2
    assert "no whole number" in capsys.readouterr().err
