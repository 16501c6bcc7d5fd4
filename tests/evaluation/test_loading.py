"""Plain loading, and what cannot be loaded is an input error."""

import pytest
import torch

from families import FAMILIES, save_family
from srmu.errors import InputError
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
    check_tokenizer_fits(model, tokenizer)
    tokenizer.add_tokens([f"word{number}" for number in range(30)])
    with pytest.raises(InputError, match="does not fit the model"):
        check_tokenizer_fits(model, tokenizer)
