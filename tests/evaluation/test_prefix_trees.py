"""Shared beginnings change nothing: trees, chains and the model by itself give the same log-likelihoods."""

import numpy as np
import pytest
import torch

from families import FAMILIES, SLIDING_WINDOW
from srmu.evaluation.prefix_trees import TREE_FAMILIES, _can_share, _grow_trees, continuation_log_likelihoods

TREE_NAMES = sorted(set(FAMILIES) - {"gemma3_nested"})


def draw_pairs(*, prompt_tokens: int, seed: int = 0) -> list[tuple[list[int], list[int]]]:
    """Five prompts with a common beginning, each with four continuations of one to three tokens; one prompt twice."""
    generator = np.random.default_rng(seed)
    common = generator.integers(3, 96, prompt_tokens - 2).tolist()
    pairs = []
    for _ in range(5):
        prompt = common + generator.integers(3, 96, generator.integers(1, 3)).tolist()
        pairs += [(prompt, generator.integers(3, 96, length).tolist()) for length in (1, 2, 3, 3)]
    return [*pairs, pairs[0], (pairs[0][0], [*pairs[0][1], 5])]


def by_the_model_alone(model, pairs) -> np.ndarray:
    """One unpadded row a pair, the whole head, log-softmax in float64."""
    sums = []
    for context, continuation in pairs:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([context + continuation]), use_cache=False).logits[0].double()
        steps = range(len(context) - 1, len(context) + len(continuation) - 1)
        log_probabilities = logits.log_softmax(-1)
        sums.append(sum(float(log_probabilities[step, token]) for step, token in zip(steps, continuation, strict=True)))
    return np.array(sums)


@pytest.mark.parametrize("name", TREE_NAMES)
def test_trees_equal_one_row_a_choice(name):
    model = FAMILIES[name].build()
    assert model.config.model_type in TREE_FAMILIES
    pairs = draw_pairs(prompt_tokens=SLIDING_WINDOW - 3)
    got = continuation_log_likelihoods(model, pairs, batch_tokens=64, share=True)
    np.testing.assert_allclose(got, by_the_model_alone(model, pairs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_sequences_beyond_the_sliding_window_are_scored_exactly(name):
    model = FAMILIES[name].build()
    pairs = draw_pairs(prompt_tokens=SLIDING_WINDOW + 7)
    got = continuation_log_likelihoods(model, pairs, batch_tokens=64)
    np.testing.assert_allclose(got, by_the_model_alone(model, pairs), rtol=1e-5, atol=1e-5)


def test_a_tree_beyond_the_window_would_be_wrong():
    """The control of the rule: with sharing forced, a windowed model gives something else."""
    model = FAMILIES["mistral"].build()
    pairs = draw_pairs(prompt_tokens=SLIDING_WINDOW + 7)
    assert not _can_share(model, SLIDING_WINDOW + 7)
    forced = continuation_log_likelihoods(model, pairs, batch_tokens=64, share=True)
    assert np.abs(forced - by_the_model_alone(model, pairs)).max() > 1e-3


def test_shared_beginnings_are_computed_once():
    prompt = list(range(10, 20))
    continuations = [[30], [31, 32], [31, 33], [31, 32, 34]]
    inputs = [(prompt + continuation)[:-1] for continuation in continuations]
    (tree,) = _grow_trees(inputs, continuations, share=True)
    assert sorted(tree.tokens) == sorted([*prompt, 31, 32])
    assert max(tree.depths) == 11


def test_a_sequence_longer_than_the_model_loses_tokens_from_the_left():
    model = FAMILIES["llama"].build()
    context, continuation = np.random.default_rng(0).integers(3, 96, 140).tolist(), [7, 8]
    got = continuation_log_likelihoods(model, [(context, continuation)], batch_tokens=256)
    expected = by_the_model_alone(model, [(context[-127:], continuation)])
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_progress_ends_at_the_number_of_pairs():
    model, calls = FAMILIES["llama"].build(), []
    pairs = draw_pairs(prompt_tokens=6)
    continuation_log_likelihoods(model, pairs, batch_tokens=8, progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (len(pairs), len(pairs))


def test_no_hook_is_left_on_the_head():
    model = FAMILIES["llama"].build()
    continuation_log_likelihoods(model, draw_pairs(prompt_tokens=6), batch_tokens=64)
    assert not model.get_output_embeddings()._forward_pre_hooks
