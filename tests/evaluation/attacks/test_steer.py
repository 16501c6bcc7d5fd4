"""Steering: the vector undoes a push, another of its length does not, and the base stays as it is."""

import pytest
import torch

from srmu.evaluation.attacks import hidden
from srmu.evaluation.attacks.cells import Cells, CellsFile
from srmu.evaluation.attacks.steer import random_like, steer


@pytest.fixture
def pushed(make_setting, knowing):
    """A setting whose result is the base with a long vector added after its second layer."""
    setting = make_setting(knowing, knowing)
    model = setting.subjects["result"].model()
    vector = 40 * torch.nn.functional.normalize(torch.randn(64, generator=torch.Generator().manual_seed(3)), dim=0)

    def push(module, arguments, output):
        return (output[0] + vector, *output[1:]) if isinstance(output, tuple) else output + vector

    handle = model.model.layers[1].register_forward_hook(push)
    yield setting
    handle.remove()


def test_steering_brings_back_what_a_push_hides(pushed):
    record = steer(pushed, Cells(CellsFile(None), "x"))
    assert record.forget_before < 0.6
    assert record.forget_after == 1.0
    assert record.chosen["result"]["layer"] == 1
    assert record.chosen["result"]["length"] == 1.0
    assert record.control.forget < 0.6
    assert (record.base_after, record.counts) == (1.0, True)


def test_a_model_is_the_same_after_steering(make_setting, knowing):
    setting = make_setting(knowing, knowing)
    model, texts = setting.subjects["base"].model(), ["the capital of forgetland01 is"]
    before = hidden.last_hidden_states(model, setting.tokenizer, texts)
    vector = torch.arange(64.0)
    with hidden.with_added(model, 1, vector):
        during = hidden.last_hidden_states(model, setting.tokenizer, texts)
    assert torch.equal(during[0], before[0])
    assert not torch.equal(during[1], before[1])
    assert torch.equal(hidden.last_hidden_states(model, setting.tokenizer, texts), before)


def test_the_random_vector_is_as_long_and_points_elsewhere():
    vector = torch.randn(64, generator=torch.Generator().manual_seed(1))
    other = random_like(vector, 0)
    assert other.norm() == pytest.approx(float(vector.norm()), rel=1e-5)
    assert abs(torch.cosine_similarity(vector, other, dim=0)) < 0.5
    assert torch.equal(random_like(vector, 0), other)
