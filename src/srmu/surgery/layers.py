"""Find the decoder layers of a model and, by name and role, the matrices to train in one of them."""

from collections.abc import Sequence

from torch import Tensor, nn

from srmu.errors import InputError, nearest_hint

# Role -> parameter names within one decoder layer, over all families. A layer gives a role every name that it has:
# a mixture-of-experts layer with shared experts gives both. The names are those of Transformers 5.
ROLES: dict[str, tuple[str, ...]] = {
    "mlp_down": (
        "mlp.down_proj.weight",  # Llama, Mistral, Qwen2, Qwen3, Gemma2, Gemma3, Phi-3, OLMo2
        "mlp.dense_4h_to_h.weight",  # GPT-NeoX
        "mlp.c_proj.weight",  # GPT-2 (stored transposed)
        "mlp.experts.down_proj",  # Mixtral, Qwen3-MoE: [experts, hidden, intermediate]
        "mlp.shared_expert.down_proj.weight",  # Qwen2-MoE
    ),
    "mlp_up": (
        "mlp.up_proj.weight",
        "mlp.gate_up_proj.weight",  # Phi-3: gate and up in one
        "mlp.dense_h_to_4h.weight",
        "mlp.c_fc.weight",
        "mlp.experts.gate_up_proj",
        "mlp.shared_expert.up_proj.weight",
    ),
    "mlp_gate": ("mlp.gate_proj.weight", "mlp.shared_expert.gate_proj.weight"),
    "attn_out": ("self_attn.o_proj.weight", "attention.dense.weight", "attn.c_proj.weight"),
    "attn_value": ("self_attn.v_proj.weight",),
    # Families that normalise after the down-projection cannot reach a target longer than this gain allows.
    "mlp_post_norm": ("post_feedforward_layernorm.weight",),
}


def find_decoder_layers(model: nn.Module, num_layers: int) -> tuple[str, nn.ModuleList]:
    """Return the dotted name and the list of the decoder layers: the only module list of that length.

    Raises:
        InputError: If there is none, or more than one.
    """
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == num_layers and name.count(".") <= 1
    ]
    if len(found) != 1:
        raise InputError(
            f"Decoder layers of a {type(model).__name__} were asked for, {len(found)} lists of {num_layers} modules "
            "were found. srmu needs a decoder-only model with one stack of layers."
        )
    return found[0]


def select_matrices(layer: nn.Module, *, roles: Sequence[str], modules: Sequence[str], family: str) -> list[str]:
    """Names, within `layer`, of the parameters that `modules` or else `roles` choose.

    Args:
        layer: One decoder layer.
        roles: Keys of `ROLES`; used when `modules` is empty.
        modules: Names of modules or parameters in the layer, such as `mlp.down_proj`; a module means its `weight`.
        family: `model_type`, for the error.

    Raises:
        InputError: If a role or a name is not in the layer; it names the flag to set and the names that exist.
    """
    parameters: dict[str, Tensor] = dict(layer.named_parameters())
    matrices = [name for name, parameter in parameters.items() if parameter.dim() >= 2]
    if modules:
        chosen = []
        for name in modules:
            match = next((candidate for candidate in (name, f"{name}.weight") if candidate in parameters), None)
            if match is None:
                raise InputError(
                    f"target_modules={name!r} was asked for, but a layer of this {family} model has no such matrix."
                    f"{nearest_hint(name, matrices)} Its matrices: {', '.join(matrices)}."
                )
            chosen.append(match)
        return chosen
    chosen = []
    for role in roles:
        if role not in ROLES:
            raise InputError(f"Role {role!r} is unknown.{nearest_hint(role, list(ROLES))} Known: {', '.join(ROLES)}.")
        names = [name for name in ROLES[role] if name in parameters]
        if not names:
            raise InputError(
                f"Role {role!r} was asked for, but srmu knows no such matrix in a layer of a {family!r} model. "
                f"Name it with --target-modules; this layer has {', '.join(matrices)}."
            )
        chosen += names
    return chosen


AUTO_DEPTH, AUTO_DEPTH_ERASURE = 1 / 6, 0.3
"""Where the tapped layer lies unless it is named (docs/log)."""


def auto_layer(num_layers: int, depth: float = AUTO_DEPTH) -> int:
    """Tapped layer at a share of the depth, at least 2 where there are as many."""
    return min(max(round(num_layers * depth), 2), num_layers - 1)


def resolve_layers(
    layer: int | str, trained: Sequence[int], num_layers: int, depth: float = AUTO_DEPTH
) -> tuple[int, tuple[int, ...]]:
    """Check the tapped layer and the trained layers against the model's depth.

    Returns:
        The tapped layer and the trained layers in ascending order; without `trained`, l-2, l-1 and l where they exist.

    Raises:
        InputError: If one is out of range, or a trained layer lies above the tapped one.
    """
    layer_id = auto_layer(num_layers, depth) if layer == "auto" else int(layer)
    if layer_id >= num_layers:
        raise InputError(
            f"layer={layer_id} is out of range: this model has {num_layers} decoder layers. "
            f"Choose 0 to {num_layers - 1}."
        )
    trained_ids = tuple(sorted(set(trained))) or tuple(range(max(0, layer_id - 2), layer_id + 1))
    wrong = [index for index in trained_ids if not 0 <= index <= layer_id]
    if wrong:
        raise InputError(
            f"trained_layers={wrong[0]} is out of range: the loss at layer {layer_id} sees layers 0 to {layer_id} "
            "only. Choose among those, or raise --layer."
        )
    return layer_id, trained_ids
