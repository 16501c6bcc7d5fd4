"""The oracle itself: float64 throughout, the formulas of the papers, blind to padding."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from families import FAMILIES, TAPPED_LAYER, VARIANTS, VOCABULARY_SIZE, find_family
from oracle import formulas
from oracle.plain import (
    PlainBatch,
    PlainObjective,
    float64_exact,
    hidden_after,
    load_plain,
    plain_losses,
    plain_run,
)

HIDDEN = {"gemma2": 36, "gemma3": 36, "gemma3_nested": 36}


def make_batch(lengths: tuple[int, ...], seed: int, pad_to: int = 0) -> PlainBatch:
    """Right-padded random rows; padding holds random ids, so that whatever reads it shows."""
    width = max(*lengths, pad_to)
    token_ids = torch.randint(6, 90, (len(lengths), width), generator=torch.Generator().manual_seed(seed))
    return PlainBatch(token_ids, torch.arange(width)[None] < torch.tensor(lengths)[:, None])


FORGET, RETAIN = make_batch((21, 5, 14), seed=1), make_batch((17, 12), seed=2)


def make_objective(name: str, **changes: Any) -> PlainObjective:
    signs = np.random.default_rng(0).choice([-1.0, 1.0], HIDDEN.get(name, 32))
    return replace(PlainObjective("srmu", signs, steering_coefficient=3.0, retain_weight=2.0), **changes)


def directional_error(name: str, *, step: float = 1e-6) -> float:
    """Relative error of the loss's central difference along a direction, against autograd."""
    frozen, updated = (load_plain(find_family(name).build()) for _ in range(2))
    names = find_family(name).down_projection_names()
    trained = [updated.get_parameter(parameter_name).requires_grad_(True) for parameter_name in names]
    generator = torch.Generator().manual_seed(3)
    offsets = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in trained]
    # Away from the frozen weights, where the retain loss has no slope.
    with torch.no_grad():
        for parameter, offset in zip(trained, offsets, strict=True):
            parameter.add_(0.05 * offset.flip(-1))

    def loss() -> torch.Tensor:
        forget, retain = plain_losses(frozen, updated, FORGET, RETAIN, make_objective(name), TAPPED_LAYER)
        return forget + 2.0 * retain

    slopes = torch.autograd.grad(loss(), trained)
    slope = sum(float((gradient * offset).sum()) for gradient, offset in zip(slopes, offsets, strict=True))
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, offset in zip(trained, offsets, strict=True):
                parameter.add_(sign * step * offset)
            values.append(loss().item())
    return abs((values[0] - values[1]) / (2 * step) - slope) / abs(slope)


@pytest.mark.parametrize("name", [*FAMILIES, *VARIANTS])
def test_float64_gradients_agree_with_finite_differences(name: str) -> None:
    with float64_exact():
        assert directional_error(name) < 1e-6


@pytest.mark.parametrize("name", [*FAMILIES, *VARIANTS])
def test_float64_output_follows_a_perturbation_of_a_billionth(name: str) -> None:
    model = load_plain(find_family(name).build())
    weight = model.get_input_embeddings().weight
    assert isinstance(weight, torch.Tensor)
    direction = torch.randn(weight.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    hidden = []
    with float64_exact(), torch.no_grad():
        for sign in (0, 1, 1):
            weight.add_(sign * 1e-9 * direction)
            hidden.append(hidden_after(model, RETAIN, TAPPED_LAYER)[RETAIN.attention_mask])
    first, second = hidden[1] - hidden[0], hidden[2] - hidden[1]
    assert first.norm() > 1e-9
    assert (second - first).norm() < 1e-5 * first.norm()


@pytest.mark.parametrize("name", ["llama", "qwen3", "olmo2", "qwen3_moe"])
def test_without_the_context_finite_differences_show_float32_rounding(name: str) -> None:
    assert directional_error(name) > 1e-5


@pytest.mark.parametrize("name", [*FAMILIES, *VARIANTS])
def test_float64_model_has_the_same_bits_however_it_was_made(name: str, saved_family: Callable[..., Path]) -> None:
    path = saved_family(name)
    models = [load_plain(path), load_plain(find_family(name).build())]
    with float64_exact():
        models.append(load_plain(path))
        models.append(load_plain(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)))
        with torch.no_grad():
            hidden = [hidden_after(model, FORGET, TAPPED_LAYER)[FORGET.attention_mask] for model in models]
    assert all(torch.equal(hidden[0], other) for other in hidden[1:])


def test_context_leaves_other_dtypes_and_later_code_alone() -> None:
    double, single, half = (torch.ones(2, dtype=d) for d in (torch.float64, torch.float32, torch.bfloat16))
    with float64_exact():
        assert double.float().dtype == double.to(torch.float32).dtype == torch.float64
        assert double.to(device="cpu", dtype=torch.float32).dtype == torch.float64
        assert torch.softmax(double, dim=-1, dtype=torch.float32).dtype == torch.float64
        assert half.float().dtype == torch.float32
        assert single.to(torch.bfloat16).dtype == torch.bfloat16
        assert double.to(torch.bfloat16).dtype == torch.bfloat16
    assert double.float().dtype == torch.float32


@pytest.mark.parametrize("name", FAMILIES)
def test_hook_reads_the_hidden_state_after_the_layer(name: str) -> None:
    model = load_plain(find_family(name).build())
    with float64_exact(), torch.no_grad():
        states = model(
            FORGET.token_ids,
            attention_mask=FORGET.attention_mask.long(),
            output_hidden_states=True,
            use_cache=False,
        ).hidden_states
        assert torch.equal(hidden_after(model, FORGET, TAPPED_LAYER), states[TAPPED_LAYER + 1])
        assert not torch.equal(states[TAPPED_LAYER], states[TAPPED_LAYER + 1])


@pytest.mark.parametrize("name", FAMILIES)
def test_padding_changes_neither_losses_nor_gradients(name: str) -> None:
    model = find_family(name).build()
    names = find_family(name).down_projection_names()
    wider = make_batch((21, 5, 14), seed=9, pad_to=26)
    wider.token_ids[:, :21] = torch.where(FORGET.attention_mask, FORGET.token_ids, wider.token_ids[:, :21])
    runs = [
        plain_run(model, [batch], [RETAIN], make_objective(name), TAPPED_LAYER, names, 1e-3, 1)
        for batch in (FORGET, wider)
    ]
    assert math.isclose(runs[0].losses[0].total, runs[1].losses[0].total, rel_tol=1e-12)
    for parameter_name in names:
        assert torch.allclose(runs[0].gradients[parameter_name], runs[1].gradients[parameter_name], rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", ["rmu", "adaptive-rmu", "srmu"])
def test_torch_losses_are_those_of_the_formulas(method: str) -> None:
    objective = make_objective("llama", method=method)
    frozen, updated = (load_plain(find_family("llama").build(seed)) for seed in (0, 1))
    with float64_exact(), torch.no_grad():
        losses = plain_losses(frozen, updated, FORGET, RETAIN, objective, TAPPED_LAYER)
        forget_frozen, retain_frozen, forget_updated, retain_updated = (
            hidden_after(model, batch, TAPPED_LAYER).numpy()
            for model in (frozen, updated)
            for batch in (FORGET, RETAIN)
        )
    forget_mask = formulas.sink_mask(forget_frozen, FORGET.attention_mask.numpy())
    retain_mask = formulas.sink_mask(retain_frozen, RETAIN.attention_mask.numpy())
    norm = np.linalg.norm(forget_frozen[forget_mask], axis=-1).mean()
    vector = objective.vector
    if method == "rmu":
        target = vector / np.linalg.norm(vector) * 3.0 * norm
    elif method == "adaptive-rmu":
        target = 3.0 * np.linalg.norm(forget_frozen, axis=-1)[..., None] * vector
    else:
        means = [np.abs(h[m]).mean(axis=0) for h, m in ((forget_frozen, forget_mask), (retain_frozen, retain_mask))]
        direction = vector * np.log(1 + means[0] / (means[1] + 1e-6))
        target = direction / np.linalg.norm(direction) * 3.0 * norm
    assert math.isclose(
        losses[0].item(), formulas.masked_squared_distance(forget_updated, target, forget_mask), rel_tol=1e-10
    )
    assert math.isclose(
        losses[1].item(),
        formulas.masked_squared_distance(retain_updated, retain_frozen, retain_mask),
        rel_tol=1e-10,
    )


@pytest.mark.parametrize("name", FAMILIES)
def test_plain_run_starts_without_retain_loss_and_lowers_the_forget_loss(name: str) -> None:
    names = find_family(name).down_projection_names()
    model = find_family(name).build()
    before = {parameter_name: tensor.clone() for parameter_name, tensor in model.named_parameters()}
    result = plain_run(model, [FORGET], [RETAIN], make_objective(name), TAPPED_LAYER, names, 1e-2, 6)
    assert result.losses[0].retain == 0.0
    assert result.losses[-1].forget < 0.9 * result.losses[0].forget
    assert result.losses[-1].retain > 0.0
    assert set(result.parameters) == set(result.gradients) == set(names)
    assert all(not torch.equal(result.parameters[n], before[n].double()) for n in names)
    assert all(torch.equal(tensor, before[n]) for n, tensor in model.named_parameters())


def test_zero_learning_rate_changes_nothing() -> None:
    names = find_family("llama").down_projection_names()
    model = find_family("llama").build()
    result = plain_run(model, [FORGET], [RETAIN], make_objective("llama"), TAPPED_LAYER, names, 0.0, 2)
    assert result.losses[0] == result.losses[1]
    assert all(torch.equal(result.parameters[n], model.get_parameter(n).double()) for n in names)


def test_sink_mask_drops_first_tokens_loud_tokens_and_padding() -> None:
    hidden = np.ones((3, 6, 4))
    hidden[0, 0] *= 100.0  # the first token: dropped, and not part of the median
    hidden[0, 3] *= 4.1
    hidden[0, 4] *= 3.9
    hidden[1, 4:] *= 1000.0  # padding: not part of the median
    real = np.array([[True] * 6, [True] * 4 + [False] * 2, [False] * 2 + [True] + [False] * 3])
    expected = np.array([[False, True, True, False, True, True], [False, True, True, True, False, False], [False] * 6])
    assert (formulas.sink_mask(hidden, real) == expected).all()
    assert (formulas.sink_mask(hidden, real, None) == real).all()


def test_importance_maps_by_hand() -> None:
    forget, retain = np.array([1.0, 2.0, 4.0]), np.array([1.0, 4.0, 1.0])
    ratio = formulas.importance_map(forget, retain, "ratio", epsilon=0.0)
    assert np.allclose(ratio, np.log([2.0, 1.5, 5.0]))
    assert np.allclose(formulas.importance_map(forget, retain, "difference", difference_lambda=0.5), [0.5, 0.0, 3.5])
    product = formulas.importance_map(forget, retain, "product", epsilon=0.0)
    assert np.allclose(product, np.array([1.0, 8.0, 4.0]) / (7 / 3 * 2))
    assert np.allclose(formulas.normalised_importance(ratio).max(), 1.0)
    assert (formulas.normalised_importance(formulas.importance_map(forget, retain, "none")) == 1.0).all()


@pytest.mark.parametrize("name", ["ratio", "difference", "product"])
def test_importance_of_signed_means_stays_within_zero_and_one(name: formulas.MapName) -> None:
    rng = np.random.default_rng(5)
    weights = formulas.normalised_importance(formulas.importance_map(rng.normal(size=50), rng.normal(size=50), name))
    assert np.isfinite(weights).all()
    assert weights.min() >= 0.0
    assert weights.max() <= 1.0


def test_mean_activations_by_hand() -> None:
    hidden = np.array([[[3.0, -1.0], [-4.0, -1.0], [99.0, 99.0]]])
    mask = np.array([[True, True, False]])
    assert np.allclose(formulas.mean_activation(hidden, mask, "abs"), [3.5, 1.0])
    assert np.allclose(formulas.mean_activation(hidden, mask, "rms"), [np.sqrt(12.5), 1.0])
    assert np.allclose(formulas.mean_activation(hidden, mask, "signed"), [-0.5, -1.0])


def test_relative_strength_sets_the_target_length_and_refuses_an_empty_map() -> None:
    vector, weights = np.array([1.0, -1.0, 1.0]), np.array([1.0, 0.5, 0.0])
    coefficient = formulas.relative_coefficient(vector * weights, 3.0, 10.0)
    assert np.isclose(np.linalg.norm(formulas.srmu_target(vector, weights, coefficient)), 30.0)
    with pytest.raises(ValueError, match="importance is 0"):
        formulas.relative_coefficient(vector * 0.0, 3.0, 10.0)


def test_vocabulary_covers_the_token_ids() -> None:
    assert max(FORGET.token_ids.max(), RETAIN.token_ids.max()) < VOCABULARY_SIZE
