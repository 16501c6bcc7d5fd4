"""Layers and matrices are chosen by name and role, and what cannot be chosen is refused with what exists."""

import pytest
import torch

from families import FAMILIES, find_family
from srmu.errors import InputError
from srmu.surgery.layers import (
    AUTO_DEPTH_NEAR,
    ROLES,
    auto_layer,
    find_decoder_layers,
    resolve_layer,
    resolve_trained_layers,
    select_matrices,
)

# Shape of the down-projection: hidden size first, except where it is stored transposed or for all experts.
DOWN_SHAPES = {"gpt2": (48, 32), "mixtral": (4, 32, 48), "qwen3_moe": (4, 32, 24)}
GEMMAS = ("gemma2", "gemma3", "gemma3_nested")


def layer_of(name: str, index: int = 3) -> torch.nn.Module:
    with torch.device("meta"):
        return find_family(name).construct().get_submodule(f"{find_family(name).layers_path}.{index}")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_down_projection_is_found_in_every_family(name: str) -> None:
    layer = layer_of(name)
    names = select_matrices(layer, roles=["mlp_down"], modules=[], family=name)
    assert len(names) == 1
    shape = DOWN_SHAPES.get(name, (36, 48) if name in GEMMAS else (32, 48))
    assert tuple(layer.get_parameter(names[0]).shape) == shape


def test_a_dense_layer_of_a_mixture_of_experts_has_its_own_name() -> None:
    names = [select_matrices(layer_of("qwen3_moe", i), roles=["mlp_down"], modules=[], family="x") for i in (1, 2)]
    assert names == [["mlp.down_proj.weight"], ["mlp.experts.down_proj"]]


@pytest.mark.parametrize("name", FAMILIES)
def test_attention_output_is_found_in_every_family(name: str) -> None:
    names = select_matrices(layer_of(name), roles=["attn_out"], modules=[], family=name)
    assert len(names) == 1


@pytest.mark.parametrize("name", [*GEMMAS, "olmo2"])
def test_the_gain_after_the_mlp_is_a_role_where_a_family_has_one(name: str) -> None:
    names = select_matrices(layer_of(name), roles=["mlp_down", "mlp_post_norm"], modules=[], family=name)
    assert names == ["mlp.down_proj.weight", "post_feedforward_layernorm.weight"]


def test_modules_are_named_with_or_without_weight_and_win_over_roles() -> None:
    names = select_matrices(
        layer_of("llama"), roles=["mlp_down"], modules=["mlp.up_proj", "self_attn.q_proj.weight"], family="llama"
    )
    assert names == ["mlp.up_proj.weight", "self_attn.q_proj.weight"]


@pytest.mark.parametrize(
    ("roles", "modules", "message"),
    [
        (["mlp_don"], [], r"Role 'mlp_don' is unknown. Did you mean 'mlp_down'\?"),
        (
            ["mlp_post_norm"],
            [],
            "'mlp_post_norm' was asked for.*'llama' model.*with --target-modules.*mlp.down_proj",
        ),
        ([], ["mlp.down_prj"], r"'mlp.down_prj' was asked for.*Did you mean 'mlp.down_proj.weight'\?"),
        ([], ["mlp.act_fn"], "has no such matrix.*Its matrices: self_attn.q_proj.weight"),
    ],
)
def test_a_matrix_that_is_not_there_is_refused(roles: list[str], modules: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        select_matrices(layer_of("llama"), roles=roles, modules=modules, family="llama")


def test_decoder_layers_are_the_only_list_of_that_length() -> None:
    with torch.device("meta"):
        model = find_family("llama").construct().model
    assert find_decoder_layers(model, 5)[0] == "layers"
    with pytest.raises(InputError, match="0 lists of 4 modules"):
        find_decoder_layers(model, 4)
    model.others = torch.nn.ModuleList(torch.nn.Identity() for _ in range(5))
    with pytest.raises(InputError, match="2 lists of 5 modules"):
        find_decoder_layers(model, 5)


def test_the_automatic_layer_lies_at_a_sixth_of_the_depth() -> None:
    assert [auto_layer(depth) for depth in (1, 2, 3, 5, 16, 30, 32, 60)] == [0, 1, 2, 2, 3, 5, 5, 10]


def test_the_tapped_layer_is_resolved_against_the_depth() -> None:
    assert resolve_layer("auto", 32) == 5
    assert resolve_layer("auto", 30, AUTO_DEPTH_NEAR) == 9
    assert resolve_layer(1, 32) == 1
    with pytest.raises(
        InputError, match=r"layer=32 is out of range: this model has 32 decoder layers. Choose 0 to 31."
    ):
        resolve_layer(32, 32)


def test_the_trained_layers_end_with_the_tapped_one_and_are_more_where_a_norm_bounds_each() -> None:
    llama, gemma = layer_of("llama"), layer_of("gemma3")
    assert resolve_trained_layers((), "auto", 5, llama) == (3, 4, 5)
    assert resolve_trained_layers((), "auto", 7, gemma) == (2, 3, 4, 5, 6, 7)
    assert resolve_trained_layers((), "auto", 1, gemma) == resolve_trained_layers((), 3, 1, llama) == (0, 1)
    assert resolve_trained_layers((), 3, 7, gemma) == (5, 6, 7)
    assert resolve_trained_layers((9, 2, 9), "auto", 9, gemma) == (2, 9)
    for wrong in (8, -1):
        with pytest.raises(InputError, match=f"trained_layers={wrong} is out of range"):
            resolve_trained_layers((7, wrong), "auto", 7, llama)


def test_no_parameter_has_two_roles() -> None:
    names = [name for known in ROLES.values() for name in known]
    assert len(set(names)) == len(names)
