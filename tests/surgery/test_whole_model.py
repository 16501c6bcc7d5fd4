"""Layer by layer from disk, everything that needs a whole model gives what it gives with the model in memory."""

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from families import FAMILIES, TAPPED_LAYER, TRAINED_LAYERS
from main_job import FORGET, call, flags, read_metrics, write_texts
from srmu.evaluation.completions import complete
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.evaluation.questions import score_questions
from srmu.evaluation.texts import text_scores
from srmu.inputs.questions import Question
from srmu.inputs.self_written import write_self_texts
from srmu.job.ask import ask
from srmu.runtime.memory import GIB, fits, free_memory
from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.replay import Replayer
from srmu.surgery.streaming import is_streamed
from srmu.surgery.truncate import load_truncated
from srmu.surgery.whole_model import measuring_bytes, must_stream, rows_at_once, weight_sizes
from tiny_runs import all_equal, finish, make_solver, masters_of

CPU = torch.device("cpu")
QUESTIONS = [
    Question(prompt=text.rsplit(" ", 1)[0], choices=("stone", "cloud", "violet garden"), answer=0)
    for text in FORGET[:6]
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SRMU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize("name", FAMILIES)
def test_a_streamed_model_gives_what_it_gives_in_memory(
    name: str, saved_family: Callable[..., Path], own_cache: Path
) -> None:
    path = saved_family(name, sharded=True)
    tokenizer = load_tokenizer(path)
    whole, streamed = load_causal_lm(path), load_causal_lm(path, streamed=True)
    assert is_streamed(streamed)
    assert not is_streamed(whole)
    for _ in range(2):  # weights come back for every pass
        one, other = (text_scores(model, tokenizer, FORGET) for model in (whole, streamed))
        np.testing.assert_allclose(other.token_nll, one.token_nll, rtol=1e-5, atol=1e-5)
    one, other = (score_questions(model, tokenizer, QUESTIONS) for model in (whole, streamed))
    np.testing.assert_allclose(np.array(other.log_likelihoods), np.array(one.log_likelihoods), rtol=1e-5, atol=1e-4)
    assert complete(streamed, tokenizer, FORGET[:5]) == complete(whole, tokenizer, FORGET[:5])
    layers = [parameter for key, parameter in streamed.named_parameters() if f"{FAMILIES[name].layers_path}." in key]
    assert layers
    assert all(parameter.is_meta for parameter in layers)
    del streamed
    gc.collect()
    assert list(own_cache.iterdir()) == []


def test_a_streamed_model_writes_the_texts_that_it_writes_in_memory(saved_family: Callable[..., Path]) -> None:
    path = saved_family("llama")
    tokenizer = load_tokenizer(path)
    written = [
        write_self_texts(load_causal_lm(path, streamed=streamed), tokenizer, rows=10, tokens=12, seed=3, batch=8)
        for streamed in (False, True)
    ]
    assert written[0] == written[1]


def test_a_streamed_model_computes_in_the_asked_dtype(saved_family: Callable[..., Path]) -> None:
    path = saved_family("llama", dtype="bfloat16")
    tokenizer = load_tokenizer(path)
    for dtype in (torch.float32, torch.bfloat16):
        whole, streamed = (load_causal_lm(path, dtype=dtype, streamed=streamed) for streamed in (False, True))
        assert streamed.dtype == dtype
        np.testing.assert_allclose(
            text_scores(streamed, tokenizer, FORGET[:2]).token_nll, text_scores(whole, tokenizer, FORGET[:2]).token_nll,
            rtol=1e-5, atol=1e-5,
        )  # fmt: skip


@pytest.mark.parametrize("name", ["llama", "gemma3_nested", "gpt2", "mixtral"])
def test_layers_below_the_trained_ones_may_stay_on_disk(name: str, saved_family: Callable[..., Path]) -> None:
    checkpoint = open_checkpoint(saved_family(name))
    first = min(TRAINED_LAYERS) + 1
    both = [
        load_truncated(checkpoint, TAPPED_LAYER + 1, dtype=torch.float32, device=CPU, on_disk_below=below)
        for below in (0, first)
    ]
    places: list[set[str]] = [{parameter.device.type for parameter in layer.parameters()} for layer in both[1].layers]
    assert places == [{"meta"}] * first + [{"cpu"}] * (TAPPED_LAYER + 1 - first)
    token_ids = torch.arange(24).reshape(2, 12) + 6
    outputs: list[Tensor] = [Replayer(truncated, first).frozen_pass(token_ids).output for truncated in both]
    torch.testing.assert_close(outputs[1], outputs[0])
    solvers = [
        make_solver(checkpoint.path, truncated=truncated, trained_layers=range(first, TAPPED_LAYER + 1))
        for truncated in both
    ]
    for solver in solvers:
        finish(solver)
    assert all_equal(*(masters_of(solver) for solver in solvers))


def test_sizes_are_those_of_the_tensors(saved_family: Callable[..., Path]) -> None:
    # A layer of the tiny Llama: MLP, attention, two norms; outside: embedding, head, last norm.
    layer, outside = 3 * 32 * 48 + 32 * 96 + 64, 2 * 96 * 32 + 32
    sizes = weight_sizes(open_checkpoint(saved_family("llama", sharded=True)), torch.float32)
    assert (sizes.largest_layer, sizes.outside, sizes.whole) == (4 * layer, 4 * outside, 4 * (5 * layer + outside))
    assert weight_sizes(open_checkpoint(saved_family("llama")), torch.bfloat16).whole == sizes.whole / 2


def test_what_does_not_fit_is_streamed(saved_family: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = open_checkpoint(saved_family("llama"))
    needed = measuring_bytes(checkpoint, CPU, torch.float32, streamed=False)
    assert measuring_bytes(checkpoint, CPU, torch.float32, streamed=True) < needed
    assert must_stream(checkpoint, CPU, torch.float32, 0.99 * needed / GIB)
    assert not must_stream(checkpoint, CPU, torch.float32, 1.01 * needed / GIB)
    assert free_memory(CPU) > 0
    monkeypatch.setattr("srmu.runtime.memory.free_memory", lambda device: 1000.0)
    assert fits(900, CPU)
    assert not fits(901, CPU)
    assert must_stream(checkpoint, CPU, torch.float32, "auto")


def test_rows_are_continued_together_as_memory_allows(saved_family: Callable[..., Path]) -> None:
    whole, streamed = (load_causal_lm(saved_family("llama"), streamed=streamed) for streamed in (False, True))
    assert rows_at_once(whole, 100, 32) == 32
    assert rows_at_once(streamed, 100, 32) == 16 * 32
    # Keys and values of 5 layers, 2 heads of width 8, float32.
    assert rows_at_once(streamed, 10**5, 32) == int(2e9 // (2 * 5 * 2 * 8 * 10**5 * 4))


def test_a_run_that_fits_nowhere_ends_as_one_that_does(
    saved_family: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    texts, base = write_texts(tmp_path / "texts"), saved_family("llama")
    sources = ["--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl"), "--retain", "self"]
    command = ["unlearn", str(base), *sources, "--questions", f"asked={texts / 'questions.jsonl'}", *flags(steps=4)]
    results = []
    for name, limit in (("whole", "auto"), ("streamed", "0.0001")):
        code, output, errors = call(capsys, *command, "--memory-gb", limit, "--json", "--out", str(tmp_path / name))
        assert code == 0, errors
        assert ("passes read them from disk" in " ".join(errors.split())) == (name == "streamed")
        results.append(json.loads(output))
    for kind in ("texts", "questions"):
        for group, entry in results[0][kind].items():
            for side in ("base", "result"):
                assert results[1][kind][group][side] == pytest.approx(entry[side], rel=1e-4, abs=1e-5)
    whole, streamed = (read_metrics(tmp_path / name) for name in ("whole", "streamed"))
    assert [record["loss"] for record in streamed] == pytest.approx([record["loss"] for record in whole], rel=1e-4)
    assert call(capsys, "verify", str(tmp_path / "streamed"))[0] == 0
    answers = [ask(str(base), FORGET[:3], max_new_tokens=8, memory_gb=limit) for limit in (100.0, 0.0001)]
    assert answers[0] == answers[1]


@pytest.mark.parametrize("command", ["evaluate", "ask"])
def test_a_memory_limit_is_a_number_or_auto(
    command: str, saved_family: Callable[..., Path], tmp_path: Path, capsys: Any
) -> None:
    texts = write_texts(tmp_path / "texts")
    asked = {"evaluate": ["--questions", f"a={texts / 'questions.jsonl'}"], "ask": ["--prompt", "the river"]}[command]
    code, _, errors = call(capsys, command, str(saved_family("llama")), *asked, "--memory-gb", "much")
    assert code == 2
    assert "memory_gb='much'" in errors
