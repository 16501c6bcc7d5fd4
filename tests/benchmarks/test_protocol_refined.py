"""The last trials of the protocol's budget: the best trial's retain weight, until it is bracketed."""

import pytest


@pytest.fixture(scope="module")
def protocol(benchmark_module):
    return benchmark_module("protocol")


def trial(weight, remaining, kept, layer=2):
    return {"layer": layer, "retain_weight": weight}, remaining, kept


def test_the_weight_moves_towards_the_line_and_then_between(protocol):
    bad = trial(5.0, 0.9, 0.2, layer=3)
    assert protocol.refined([bad, trial(30.0, 0.1, 0.96)]) == {"layer": 2, "retain_weight": 90.0}
    assert protocol.refined([bad, trial(30.0, 0.4, 1.0)]) == {"layer": 2, "retain_weight": 10.0}
    assert protocol.refined([bad, trial(30.0, 0.1, 0.96), trial(120.0, 0.9, 1.0)]) == {
        "layer": 2,
        "retain_weight": 60.0,
    }


def test_a_weight_that_was_tried_is_not_tried_again(protocol):
    same = trial(30.0, 0.1, 0.97)
    assert protocol.refined([same, trial(30.0, 0.2, 0.99)]) is None
