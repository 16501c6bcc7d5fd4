"""The arena's recipe on a tiny model: its loss, its cache, and a training that goes on to the same bits."""

import hashlib
import json
from dataclasses import replace

import pytest
import tofu_arena
import torch
from safetensors.torch import load_file
from tofu_adapters import add_adapters, merged, write_adapter
from tofu_arena import answer_loss, arena_model, make_recipe

from families import FAMILIES
from srmu.errors import InputError
from srmu.evaluation.benchmarks.tofu_prompt import TofuPrompt, encode_answer
from srmu.evaluation.loading import load_causal_lm
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


@pytest.fixture
def adapted(base, folder, tmp_path):
    """A recipe with adapters, the model that it made, and where its adapter is kept."""
    pytest.importorskip("peft")
    recipe = make_recipe(base, folder, "retain90", **SETTINGS, lora_rank=2)
    options = {"device": "cpu", "adapters": tmp_path / "adapters", "reporter": Reporter()}
    return recipe, arena_model(base, folder, recipe, cache=tmp_path / "first", **options), tmp_path / "adapters"


def test_a_model_is_made_from_its_adapter_to_the_same_bits_without_training(
    base, folder, tmp_path, adapted, monkeypatch
):
    recipe, first, adapters = adapted
    monkeypatch.setattr(tofu_arena, "_train", None)  # would fail
    again = arena_model(base, folder, recipe, cache=tmp_path / "second", adapters=adapters, reporter=Reporter())
    assert same(first, again)
    assert (first / RECIPE_FILE).read_text() == (again / RECIPE_FILE).read_text()
    size = sum(path.stat().st_size for path in (adapters / first.name).iterdir())
    assert size < (first / "model.safetensors").stat().st_size
    # What was learned is in the adapter: the base is another model, and training brought the answers up.
    assert not same(base, first)
    pairs = tofu_arena.read_pairs(folder, recipe, make_tokenizer())
    losses = [tofu_arena.answer_losses(load_causal_lm(path), pairs).mean() for path in (base, first)]
    assert losses[1] < 0.9 * losses[0]


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_peft_itself_makes_the_same_model_of_an_adapter(base, adapted):
    peft = pytest.importorskip("peft")
    _, made, adapters = adapted
    model = peft.PeftModel.from_pretrained(load_causal_lm(base, dtype=torch.float32), adapters / made.name)
    theirs = model.merge_and_unload().to(load_causal_lm(base).dtype).state_dict()
    for name, tensor in weights(made).items():
        torch.testing.assert_close(theirs[name], tensor, rtol=0, atol=1e-6)


def test_an_interrupted_training_of_adapters_goes_on_to_the_same_bits(base, folder, tmp_path, adapted, monkeypatch):
    recipe, whole, _ = adapted
    monkeypatch.setattr(tofu_arena, "STATE_SECONDS", 0.0)
    step, calls = tofu_arena._step, []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 13:
            raise KeyboardInterrupt
        step(*arguments)

    monkeypatch.setattr(tofu_arena, "_step", interrupted)
    options = {"device": "cpu", "cache": tmp_path / "parts", "reporter": Reporter()}
    with pytest.raises(KeyboardInterrupt):
        arena_model(base, folder, recipe, **options)
    assert same(whole, arena_model(base, folder, recipe, **options))


def test_what_was_trained_is_what_is_kept(base, tmp_path):
    pytest.importorskip("peft")
    model, ids = load_causal_lm(base, dtype=torch.float32), torch.arange(6, 18)[None]
    before = model(ids).logits
    add_adapters(model, 2, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_B." in name:
                torch.nn.init.normal_(parameter, std=0.2)
    trained = model(ids).logits
    write_adapter(model, 2, tmp_path, base_name="base")
    gap = (merged(base, tmp_path).float()(ids).logits - trained).abs().max()
    assert gap < 0.05 * (trained - before).abs().max()  # two bytes a factor


def test_a_damaged_adapter_is_named(base, folder, tmp_path, adapted):
    recipe, made, adapters = adapted
    (adapters / made.name / "adapter_model.safetensors").write_bytes(b"half")
    with pytest.raises(InputError, match="Remove it to train again"):
        arena_model(base, folder, recipe, cache=tmp_path / "second", adapters=adapters, reporter=Reporter())


def test_a_rank_names_another_model_and_none_leaves_the_name_as_it_was(base, folder):
    recipe = make_recipe(base, folder, "full")
    assert replace(recipe, lora_rank=4).digest != recipe.digest
    settings = {name: value for name, value in vars(recipe).items() if name != "lora_rank"}
    content = json.dumps([tofu_arena.VERSION, settings, vars(TofuPrompt())], sort_keys=True)
    assert recipe.digest == hashlib.sha256(content.encode()).hexdigest()[:16]


def test_every_setting_and_the_data_name_another_model(base, folder):
    recipe = make_recipe(base, folder, "full")
    others = [
        replace(recipe, seed=1), replace(recipe, learning_rate=2e-4), replace(recipe, authors="0-1"),
        make_recipe(base, folder, "retain90"),
    ]  # fmt: skip
    (folder / "full.jsonl").write_text('{"question": "the", "answer": "a"}')
    others.append(make_recipe(base, folder, "full"))
    assert len({recipe.digest, *(other.digest for other in others)}) == 6


def test_authors_are_chosen_by_number(base, folder):
    def pairs(part, authors=None):
        return tofu_arena.read_pairs(folder, make_recipe(base, folder, part, authors=authors), make_tokenizer())

    assert pairs("full", "1") == pairs("full")[20:]
    assert pairs("full", "0-1") == pairs("full", "1,0") == pairs("full")
    assert pairs("retain90", "0-1") == pairs("full", "0")
    with pytest.raises(InputError, match="none of them is in"):
        pairs("retain90", "1")
    with pytest.raises(InputError, match="numbers and ranges, such as 0-19,22"):
        pairs("full", "two")


def test_a_part_that_is_not_there_is_refused(base, folder):
    with pytest.raises(InputError, match=r"'retain99\.jsonl' is not in"):
        make_recipe(base, folder, "retain99")
    with pytest.raises(InputError, match="The arena's are full, retain90"):
        make_recipe(base, folder, "retain50")
