"""Plain loading, and what cannot be loaded is an input error."""

import pytest
import torch

from families import FAMILIES, save_family
from srmu.errors import InputError
from srmu.evaluation import loading
from srmu.evaluation.completions import complete
from srmu.evaluation.loading import check_tokenizer_fits, load_causal_lm, load_tokenizer
from tiny_tokenizers import make_tokenizer


def test_model_is_loaded_as_stored_in_eval_mode_and_quietly(tmp_path, capfd):
    path = save_family("llama", tmp_path, dtype="bfloat16")
    capfd.readouterr()
    model = load_causal_lm(path, device="cpu")
    assert model.dtype == torch.bfloat16
    assert not model.training
    assert load_causal_lm(path, dtype="float32").dtype == torch.float32
    assert load_tokenizer(path).encode("red") == make_tokenizer().encode("red")
    assert capfd.readouterr().err == ""


def test_what_is_no_checkpoint_is_an_input_error(tmp_path):
    for load in (load_causal_lm, load_tokenizer):
        with pytest.raises(InputError, match="cannot be loaded"):
            load(tmp_path)


def test_a_tokenizer_with_ids_beyond_the_embedding_is_refused():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    rows = model.get_input_embeddings().weight.shape[0]
    check_tokenizer_fits(tokenizer, rows)
    tokenizer.add_tokens([f"word{number}" for number in range(30)])
    with pytest.raises(InputError, match="does not fit the model"):
        check_tokenizer_fits(tokenizer, rows)


def test_one_token_more_than_embeddings_is_refused_only_in_a_text():
    model, tokenizer = FAMILIES["llama"].build(), make_tokenizer()
    tokenizer.add_tokens(["spareone"])
    rows = len(tokenizer) - 1
    model.resize_token_embeddings(rows)
    check_tokenizer_fits(tokenizer, rows)
    assert complete(model, tokenizer, ["the river"], max_new_tokens=1)
    with pytest.raises(InputError, match=f"has the token {rows}, and the model has embeddings for ids up to"):
        complete(model, tokenizer, ["the spareone"], max_new_tokens=1)


def test_a_sentencepiece_model_alone_names_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "tokenizer.model").write_bytes(b"")
    monkeypatch.setattr(loading, "find_spec", lambda name: None if name == "google.protobuf" else object())
    with pytest.raises(InputError, match=r"needs protobuf\. Install: pip install sentencepiece protobuf"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_tokenizer(tmp_path)


def test_a_text_beyond_what_the_tokenizer_knows_of_is_encoded_quietly(tmp_path, monkeypatch):
    warned = []
    monkeypatch.setattr("transformers.tokenization_utils_base.logger.warning", lambda *words: warned.append(words))
    tokenizer = load_tokenizer(save_family("llama", tmp_path))
    tokenizer.model_max_length = 4
    assert len(tokenizer.encode("the river " * 4)) > 4
    assert warned == []
