"""Misdirection vectors: what they are, and that a seed means the same everywhere."""

import hashlib

import pytest
import torch

from srmu.objective.direction import TokenDirections, draw_direction


def signs(seed: int = 0, topic_index: int = 0, size: int = 4096) -> torch.Tensor:
    return draw_direction("srmu", "signs", size, seed=seed, topic_index=topic_index)


def test_signs_are_fair_and_differ_by_seed_and_topic() -> None:
    vector = signs()
    assert set(vector.tolist()) == {-1.0, 1.0}
    assert abs(vector.mean()) < 0.05
    assert torch.equal(vector, signs())
    for other in (signs(seed=1), signs(topic_index=1)):
        assert abs((vector * other).mean()) < 0.05


def test_signs_have_the_stored_digest() -> None:
    digest = hashlib.sha256(signs(seed=7, topic_index=2).to(torch.int8).numpy().tobytes()).hexdigest()
    assert digest == "3dc8063d3a026238bd1958f85c22e68f50d6fdd8418ca5fa2049a8d6c2af8014"


def test_uniform_vector_has_the_stored_digest() -> None:
    vector = draw_direction("srmu", "uniform", 4096, seed=7, topic_index=0)
    digest = hashlib.sha256(vector.numpy().tobytes()).hexdigest()
    assert digest == "19c77eaa143e51739f610fe222f1159ce9b38dbaa42dd44f1419555d50da7d14"


@pytest.mark.parametrize("method", ["rmu", "adaptive-rmu"])
def test_u_is_positive_of_length_one_and_not_touched_by_the_misdirection_option(method: str) -> None:
    vector = draw_direction(method, "signs", 64, seed=0, topic_index=0)
    assert vector.norm().item() == pytest.approx(1.0, abs=1e-6)
    assert vector.min() >= 0
    assert torch.equal(vector, draw_direction(method, "minus", 64, seed=0, topic_index=0))


def test_vectors_of_the_ablation() -> None:
    plus, minus, uniform = (
        draw_direction("srmu", kind, 64, seed=0, topic_index=0) for kind in ("plus", "minus", "uniform")
    )
    assert (plus == 1).all()
    assert (minus == -1).all()
    assert 0 <= uniform.min() < 0.2 < 0.8 < uniform.max() < 1


def test_drawing_leaves_the_global_generator_alone() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    signs()
    assert torch.equal(before, torch.get_rng_state())


def test_every_seed_that_a_config_admits_can_be_used() -> None:
    vector = signs(seed=2**63 - 1)
    assert set(vector.tolist()) == {-1.0, 1.0}
    assert not torch.equal(vector, signs(seed=2**63 - 2))


def token_directions(*token_ids: int, share: float = 1.0, seed: int = 0, topic: int = 0) -> TokenDirections:
    return TokenDirections(torch.tensor(token_ids), signs(), share, seed=seed, topic_index=topic)


def test_each_token_has_signs_of_its_own_whichever_others_there_are() -> None:
    vectors = token_directions(3, 70, 151_000).of(torch.tensor([[70, 3], [151_000, 70]]))
    assert vectors.shape == (2, 2, 4096)
    assert set(vectors.flatten().tolist()) == {-1, 1}
    assert torch.equal(vectors[0, 0], vectors[1, 1])
    alone = torch.tensor([[70]])
    assert torch.equal(vectors[0, 0], token_directions(70).of(alone)[0, 0])
    others = [token_directions(70, seed=1), token_directions(70, topic=1)]
    for other in (vectors[0, 1], vectors[1, 0], *(directions.of(alone)[0, 0] for directions in others)):
        assert abs((vectors[0, 0].float() * other).mean()) < 0.05


def test_the_features_that_are_not_a_tokens_own_are_the_topics() -> None:
    vectors = token_directions(3, 70, share=0.25).of(torch.tensor([[3, 70]]))[0]
    shared = (vectors == signs()).all(dim=0)
    # Of the quarter that is drawn, a quarter agrees by chance in both.
    assert int(shared.sum()) == pytest.approx(4096 * (0.75 + 0.25 / 4), abs=100)


def test_the_signs_of_a_token_have_the_stored_digest() -> None:
    drawn = token_directions(70, share=0.75, seed=7, topic=2).of(torch.tensor([[70]]))
    digest = hashlib.sha256(drawn.numpy().tobytes()).hexdigest()
    assert digest == "a43f20dad4e2268991b290adc8db1feaa933a11c1bc754757979f2646e92dc96"
