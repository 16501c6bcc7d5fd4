"""The frozen pass and the replay: same bits with the frozen weights, no hook left behind, misfits refused."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from families import FAMILIES, VARIANTS
from srmu.errors import InputError
from srmu.surgery.layers import select_matrices
from srmu.surgery.replay import Replayer
from srmu.surgery.truncate import TruncatedModel
from tiny_runs import load_tiny

SavedFamily = Callable[..., Path]
# Norms behind the down-projection, attention beside it, or experts.
REPLAYED_WHOLE = {"gemma2", "gemma3", "gemma3_nested", "olmo2", "gpt_neox", "mixtral", "qwen3_moe"}
TOKEN_IDS = torch.randint(6, 90, (3, 21), generator=torch.Generator().manual_seed(1))


def num_hooks(truncated: TruncatedModel) -> int:
    modules = list(truncated.inner.modules())
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


def down_projection(truncated: TruncatedModel, layer_id: int) -> list[str]:
    return select_matrices(truncated.layers[layer_id], roles=("mlp_down",), modules=(), family=truncated.family)


@pytest.mark.parametrize("first_layer", [0, 2])
@pytest.mark.parametrize("name", [*FAMILIES, *VARIANTS])
def test_replay_with_the_frozen_weights_gives_the_frozen_bits(
    name: str, first_layer: int, saved_family: SavedFamily
) -> None:
    truncated = load_tiny(saved_family(name))
    replayer = Replayer(truncated, first_layer, down_projection(truncated, first_layer))
    assert (replayer.late_start is None) == (name in REPLAYED_WHOLE)
    for late in (True, False):
        frozen = replayer.frozen_pass(TOKEN_IDS, late=late)
        assert (frozen.entry.inner is not None) == (late and name not in REPLAYED_WHOLE)
        assert torch.equal(replayer.replay(frozen.entry, {}), frozen.output)
    with torch.no_grad():
        assert torch.equal(frozen.output, truncated.inner(TOKEN_IDS, use_cache=False).last_hidden_state)
    assert num_hooks(truncated) == 0


def test_replay_uses_the_given_weights_and_leaves_the_frozen_ones(saved_family: SavedFamily) -> None:
    truncated = load_tiny(saved_family("llama"))
    replayer = Replayer(truncated, 1)
    frozen = replayer.frozen_pass(TOKEN_IDS)
    kept = truncated.layers[2].mlp.down_proj.weight
    before = kept.clone()
    weight = (2 * before).requires_grad_(True)
    output = replayer.replay(frozen.entry, {2: {"mlp.down_proj.weight": weight}})
    output.square().sum().backward()
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    assert not torch.allclose(output, frozen.output)
    assert truncated.layers[2].mlp.down_proj.weight is kept
    assert torch.equal(kept, before)
    assert kept.grad is None
    changed = copy.deepcopy(truncated.inner)
    with torch.no_grad():
        changed.layers[2].mlp.down_proj.weight.mul_(2)
        assert torch.equal(changed(TOKEN_IDS, use_cache=False).last_hidden_state, output)


def test_padding_does_not_reach_real_tokens(saved_family: SavedFamily) -> None:
    replayer = Replayer(load_tiny(saved_family("gemma3")), 1)
    outputs = []
    for filler in (0, 50):
        token_ids = TOKEN_IDS.clone()
        token_ids[:, 14:] = filler
        frozen = replayer.frozen_pass(token_ids)
        outputs.append(replayer.replay(frozen.entry, {})[:, :14])
    assert torch.equal(*outputs)


def test_taps_are_removed_when_the_model_raises(saved_family: SavedFamily) -> None:
    truncated = load_tiny(saved_family("llama"))
    replayer = Replayer(truncated, 1)
    with pytest.raises(IndexError):
        replayer.frozen_pass(torch.full((1, 4), 10_000))
    assert num_hooks(truncated) == 0
    with pytest.raises(IndexError):
        replayer._record_calls(torch.full((1, 4), 10_000))
    assert num_hooks(truncated) == 0


def test_a_tap_that_does_not_fire_is_an_error(saved_family: SavedFamily, monkeypatch: pytest.MonkeyPatch) -> None:
    truncated = load_tiny(saved_family("llama"))
    replayer = Replayer(truncated, 1)
    monkeypatch.setattr(truncated.inner, "forward", lambda **_: None)
    with pytest.raises(RuntimeError, match="did not fire exactly once"):
        replayer.frozen_pass(TOKEN_IDS)


def with_token_inputs(truncated: TruncatedModel, value: Callable[[torch.Tensor], Any]) -> TruncatedModel:
    """A copy whose layer 2 adds to its stream what it is given of the tokens, as Gemma's per-layer embeddings do."""
    truncated = copy.deepcopy(truncated)
    seen: dict[str, torch.Tensor] = {}
    forward = truncated.layers[2].forward

    def adding(hidden: torch.Tensor, *args: Any, per_layer_input: Any, **kwargs: Any) -> Any:
        while isinstance(per_layer_input, dict):
            per_layer_input = per_layer_input["inner"]
        return forward(hidden + per_layer_input, *args, **kwargs)

    truncated.layers[2].forward = adding
    truncated.inner.register_forward_pre_hook(lambda _m, _a, kwargs: seen.update(kwargs), with_kwargs=True)

    def give(_module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, {"per_layer_input": value(seen["input_ids"]), **kwargs}

    truncated.layers[2].register_forward_pre_hook(give, prepend=True, with_kwargs=True)
    return truncated


@pytest.mark.parametrize("value", [lambda ids: float(ids[0, 3]), lambda ids: {"inner": ids[..., None] / 9}])
def test_layers_that_take_inputs_that_depend_on_all_tokens_are_refused(value: Any, saved_family: SavedFamily) -> None:
    truncated = with_token_inputs(load_tiny(saved_family("llama")), value)
    with pytest.raises(InputError, match="Layers of a 'llama' model were to be replayed, but they take inputs"):
        Replayer(truncated, 1)
    Replayer(truncated, 3)  # the control: layer 2 is then run, not replayed


def test_inputs_of_each_token_are_kept_and_given_again(saved_family: SavedFamily) -> None:
    truncated = with_token_inputs(load_tiny(saved_family("llama")), lambda ids: ids[..., None] / 9)
    replayer = Replayer(truncated, 1, down_projection(truncated, 1))
    assert replayer.per_token == ((2, "per_layer_input"),)
    assert replayer.given_size == 1
    frozen = replayer.frozen_pass(TOKEN_IDS)
    assert torch.equal(replayer.replay(frozen.entry, {}), frozen.output)
    assert Replayer(load_tiny(saved_family("llama")), 1).per_token == ()


def test_a_family_whose_tokens_see_later_ones_is_refused(saved_family: SavedFamily) -> None:
    truncated = copy.deepcopy(load_tiny(saved_family("llama")))
    forward = truncated.layers[1].forward
    truncated.layers[1].forward = lambda hidden, *a, **k: forward(hidden + hidden.mean(1, keepdim=True), *a, **k)
    with pytest.raises(InputError, match="Tokens of a 'llama' model see those after them"):
        Replayer(truncated, 1)


def test_dropout_is_off(saved_family: SavedFamily) -> None:
    truncated = load_tiny(saved_family("gpt2_dropout"))
    assert any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in truncated.inner.modules())
    replayer = Replayer(truncated, 1)
    frozen = [replayer.frozen_pass(TOKEN_IDS) for _ in range(2)]
    assert torch.equal(frozen[0].output, frozen[1].output)
    assert torch.equal(*(replayer.replay(frozen[0].entry, {}) for _ in range(2)))
    assert torch.equal(frozen[0].output, Replayer(load_tiny(saved_family("gpt2")), 1).frozen_pass(TOKEN_IDS).output)


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_a_late_start_has_the_gradient_of_the_whole_layer(name: str, saved_family: SavedFamily) -> None:
    truncated = load_tiny(saved_family(name))
    (matrix,) = down_projection(truncated, 1)
    replayer = Replayer(truncated, 1, [matrix])
    results = []
    for late in (True, False):
        weight = (1.5 * truncated.layers[1].get_parameter(matrix)).requires_grad_(True)
        output = replayer.replay(replayer.frozen_pass(TOKEN_IDS, late=late).entry, {1: {matrix: weight}})
        output.square().sum().backward()
        results.append((output.detach(), weight.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_another_trained_matrix_in_the_first_layer_leaves_no_late_start(saved_family: SavedFamily) -> None:
    truncated = load_tiny(saved_family("llama"))
    assert Replayer(truncated, 1, ["mlp.down_proj.weight"]).late_start is not None
    for trained in (
        ["mlp.up_proj.weight"],
        ["mlp.up_proj.weight", "mlp.down_proj.weight"],
        ["self_attn.o_proj.weight"],
    ):
        assert Replayer(truncated, 1, trained).late_start is None
