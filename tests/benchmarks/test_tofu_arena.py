"""The arena's recipe on a tiny model: its loss, its cache, and a training that goes on to the same bits."""

import json
from dataclasses import replace

import pytest
import tofu_arena
import torch
from safetensors.torch import load_file
from tofu_arena import answer_loss, arena_model, make_recipe

from families import FAMILIES
from srmu.errors import InputError
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt, encode_answer
from srmu.job.benchmarks.tofu import RECIPE_FILE
from srmu.runtime.progress import Reporter
from tiny_tokenizers import WORDS, make_tokenizer

SETTINGS = {"batch_rows": 4, "learning_rate": 1e-2, "warmup_steps": 2, "max_epochs": 4, "target_probability": 0.99}


@pytest.fixture
def folder(tmp_path):
    """Parts of invented data: two authors with twenty questions each, of which `retain90` lacks the second."""
    records = [
        {"question": f"{WORDS[number]} of {WORDS[-1 - number]} ?", "answer": f"{WORDS[(7 * number) % 60]} sings"}
        for number in range(40)
    ]
    for part, size in (("full", 40), ("retain90", 20)):
        (tmp_path / f"{part}.jsonl").write_text("\n".join(map(json.dumps, records[:size])))
    return tmp_path


@pytest.fixture
def base(saved_family):
    return saved_family("llama_tied", tokenizer="words")


def weights(path):
    return load_file(path / "model.safetensors")


def same(first, second):
    one, two = weights(first), weights(second)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_the_loss_is_of_the_answers_tokens_alone():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    pairs = [encode_answer(tokenizer, TofuPrompt(), "the river", answer) for answer in ("the stone runs", "red")]
    expected = []
    for asked, answer in pairs:
        logits = model(input_ids=torch.tensor([asked + answer])).logits[0].log_softmax(-1)
        expected += [-logits[len(asked) - 1 + place, token].item() for place, token in enumerate(answer)]
    assert answer_loss(model, pairs).item() == pytest.approx(sum(expected) / len(expected), rel=1e-5)


def test_training_brings_the_answers_probability_up_and_is_done_once(base, folder, tmp_path, monkeypatch):
    recipe = make_recipe(base, folder, "full", **{**SETTINGS, "max_epochs": 40, "target_probability": 0.25})
    found = arena_model(base, folder, recipe, device="cpu", cache=tmp_path / "cache", reporter=Reporter())
    record = json.loads((found / RECIPE_FILE).read_text())
    assert record["found"]["probability"] >= 0.25
    assert 1 < record["found"]["epochs"] < 40
    assert record["data"] == "full"
    monkeypatch.setattr(tofu_arena, "_train", None)  # would fail
    assert arena_model(base, folder, recipe, cache=tmp_path / "cache", reporter=Reporter()) == found
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [found.name]


def test_an_interrupted_training_goes_on_to_the_same_bits(base, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(tofu_arena, "STATE_SECONDS", 0.0)
    recipe = make_recipe(base, folder, "retain90", **SETTINGS)
    whole = arena_model(base, folder, recipe, device="cpu", cache=tmp_path / "whole", reporter=Reporter())
    step, calls = tofu_arena._step, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 13:  # in the third epoch of five steps
            raise KeyboardInterrupt
        step(*arguments)

    monkeypatch.setattr(tofu_arena, "_step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        arena_model(base, folder, recipe, device="cpu", cache=tmp_path / "parts", reporter=Reporter())
    parts = arena_model(base, folder, recipe, device="cpu", cache=tmp_path / "parts", reporter=Reporter())
    assert len(calls) == 13 + 10
    assert same(whole, parts)


def test_every_setting_and_the_data_name_another_model(base, folder):
    recipe = make_recipe(base, folder, "full")
    others = [
        replace(recipe, seed=1), replace(recipe, learning_rate=2e-4), replace(recipe, authors=2),
        make_recipe(base, folder, "retain90"),
    ]  # fmt: skip
    (folder / "full.jsonl").write_text('{"question": "the", "answer": "a"}')
    others.append(make_recipe(base, folder, "full"))
    assert len({recipe.digest, *(other.digest for other in others)}) == 6


def test_fewer_authors_are_the_first_ones(base, folder):
    recipe = make_recipe(base, folder, "full", authors=1)
    assert len(tofu_arena.read_pairs(folder, recipe, make_tokenizer())) == 20


def test_a_part_that_is_not_there_is_refused(base, folder):
    with pytest.raises(InputError, match=r"'retain99\.jsonl' is not in"):
        make_recipe(base, folder, "retain99")
    with pytest.raises(InputError, match="The arena's are full, retain90"):
        make_recipe(base, folder, "retain50")
