"""Greedy completions equal a plain loop without cache, padding or batch."""

import pytest
import torch

from families import FAMILIES
from srmu.errors import InputError
from srmu.evaluation.completions import complete
from tiny_tokenizers import TOKENIZERS, make_tokenizer

PROMPTS = ["the river", "a silver lantern in the old garden of a small city runs", "winter"]


def plain_completion(model, tokenizer, prompt: str, max_new_tokens: int) -> str:
    token_ids = tokenizer.encode(prompt)
    start = len(token_ids)
    for _ in range(max_new_tokens):
        with torch.no_grad():
            token = int(model(input_ids=torch.tensor([token_ids]), use_cache=False).logits[0, -1].argmax())
        if token == tokenizer.eos_token_id:
            break
        token_ids.append(token)
    return tokenizer.decode(token_ids[start:], skip_special_tokens=True)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_completions_equal_a_plain_loop(name):
    model, tokenizer = FAMILIES[name].build(), make_tokenizer(has_pad=False)
    expected = [plain_completion(model, tokenizer, prompt, 12) for prompt in PROMPTS]
    assert complete(model, tokenizer, PROMPTS, max_new_tokens=12) == expected
    assert len(set(expected)) == 3


@pytest.mark.parametrize("kind", ["no_pad", "left", "no_bos_no_pad_left"])
def test_padding_of_the_tokenizer_plays_no_part(kind):
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer(**TOKENIZERS[kind])
    together = complete(model, tokenizer, PROMPTS, max_new_tokens=8)
    assert together == [complete(model, tokenizer, [prompt], max_new_tokens=8)[0] for prompt in PROMPTS]


def test_sampling_flags_of_the_generation_config_do_not_matter():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    expected = complete(model, tokenizer, PROMPTS)
    model.generation_config.do_sample, model.generation_config.temperature = True, 5.0
    assert complete(model, tokenizer, PROMPTS) == expected


def test_text_ends_at_the_end_token():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    with torch.no_grad():
        first = int(model(input_ids=torch.tensor([tokenizer.encode("winter")])).logits[0, -1].argmax())
    model.generation_config.eos_token_id = [2, first]
    assert complete(model, tokenizer, ["winter"]) == [""]


def test_too_many_new_tokens_are_refused():
    with pytest.raises(InputError, match="128 positions"):
        complete(FAMILIES["llama"].build(), make_tokenizer(), PROMPTS, max_new_tokens=128)
