"""Loss per token and first choices equal the model's own, however texts are batched and cut."""

import numpy as np
import pytest
import torch

from families import FAMILIES
from srmu.errors import InputError
from srmu.evaluation import logits as logits_module
from srmu.evaluation.texts import share_of_changed_predictions, text_scores
from tiny_tokenizers import make_tokenizer

TEXTS = ["the river runs north", "a", "silver lantern in the old garden of a small city", "winter was red"]


def by_the_model_alone(model, row: list[int]) -> tuple[np.ndarray, np.ndarray]:
    with torch.no_grad():
        logits = model(input_ids=torch.tensor([row])).logits[0, :-1].double()
    return -logits.log_softmax(-1)[range(len(row) - 1), row[1:]].numpy(), logits.argmax(-1).numpy()


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2", "gemma3", "gemma3_nested", "qwen3_moe", "gpt_neox"])
def test_scores_equal_the_model_alone(name):
    model, tokenizer = FAMILIES[name].build(), make_tokenizer(has_pad=False, padding_side="left")
    scores = text_scores(model, tokenizer, TEXTS, batch_tokens=16)
    expected = [by_the_model_alone(model, tokenizer.encode(text)) for text in TEXTS]
    np.testing.assert_allclose(scores.token_nll, np.concatenate([nll for nll, _ in expected]), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(scores.top_ids, np.concatenate([top for _, top in expected]))
    np.testing.assert_allclose(scores.document_nll, [nll.mean() for nll, _ in expected], rtol=1e-5)
    assert scores.perplexity == pytest.approx(np.exp(scores.token_nll.mean(dtype=np.float64)), rel=1e-6)


def test_long_texts_are_split_into_windows_and_nothing_else_is_lost():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    row = np.random.default_rng(0).integers(3, 96, 23).tolist()
    scores = text_scores(model, tokenizer, [row, [5, 6]], window=10)
    expected = [by_the_model_alone(model, part)[0] for part in (row[:10], row[10:20], row[20:], [5, 6])]
    np.testing.assert_allclose(scores.token_nll, np.concatenate(expected), rtol=1e-5, atol=1e-5)
    assert scores.document_tokens.tolist() == [20, 1]


def test_a_document_of_one_token_has_no_loss():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer(adds_bos=False)
    scores = text_scores(model, tokenizer, ["red", "red river"])
    assert np.isnan(scores.document_nll[0])
    assert scores.document_tokens.tolist() == [0, 1]


def test_texts_without_anything_to_predict_are_refused():
    with pytest.raises(InputError, match="nothing to predict"):
        text_scores(FAMILIES["llama"].build(), make_tokenizer(adds_bos=False), ["red", ""])


def test_changed_predictions_are_counted():
    tokenizer = make_tokenizer()
    before = text_scores(FAMILIES["llama"].build(0), tokenizer, TEXTS)
    after = text_scores(FAMILIES["llama"].build(1), tokenizer, TEXTS)
    assert share_of_changed_predictions(before, before) == 0.0
    assert share_of_changed_predictions(before, after) == np.mean(before.top_ids != after.top_ids) > 0.5
    with pytest.raises(ValueError, match="different texts"):
        share_of_changed_predictions(before, text_scores(FAMILIES["llama"].build(), tokenizer, TEXTS[:3]))


def test_logits_in_memory_are_bounded(monkeypatch):
    """With room for the logits of 20 positions, no head call sees more than that."""
    monkeypatch.setattr(logits_module, "_CPU_LOGITS", 20 * 96)
    model, seen = FAMILIES["llama"].build(), []
    model.lm_head.register_forward_hook(lambda module, arguments, output: seen.append(output.shape[1]))
    text_scores(model, make_tokenizer(), TEXTS * 4)
    assert len(seen) > 1
    assert max(seen) <= 20


def test_scores_from_a_place_on_are_those_of_the_whole_text():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    rows = [tokenizer.encode(text) for text in TEXTS]
    begin = [1 + number % 3 for number in range(len(rows))]
    whole = text_scores(model, tokenizer, rows)
    part = text_scores(model, tokenizer, rows, begin=begin)
    counts = np.concatenate([np.arange(1, len(row)) >= start for row, start in zip(rows, begin, strict=True)])
    assert counts.sum() < len(counts)
    np.testing.assert_allclose(part.token_nll, whole.token_nll[counts], rtol=1e-5)
    assert (part.target_ids == whole.target_ids[counts]).all()
    assert part.document_tokens.tolist() == [len(row) - start for row, start in zip(rows, begin, strict=True)]


def test_the_beginning_of_a_long_text_may_fill_whole_windows():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    row = list(range(5, 30))
    whole = text_scores(model, tokenizer, [row], window=10)
    part = text_scores(model, tokenizer, [row], window=10, begin=[13])
    # Windows of 9, 9 and 4 predicted tokens: of the second 7 are left.
    assert whole.num_tokens == 22
    np.testing.assert_allclose(part.token_nll, whole.token_nll[-11:], rtol=1e-5)
