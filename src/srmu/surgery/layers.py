"""Find the decoder layers of a model and, by name and role, the matrices to train in one of them."""

from collections.abc import Sequence
from typing import Any, Literal

from torch import Tensor, nn

from srmu.errors import InputError, nearest_hint

# Role -> parameter names within one decoder layer, over all families. A layer gives a role every name that it has:
# a mixture-of-experts layer with shared experts gives both. The names are those of Transformers 5.
ROLES: dict[str, tuple[str, ...]] = {
    "mlp_down": (
        "mlp.down_proj.weight",  # Llama, Mistral, Qwen2, Qwen3, Gemma2, Gemma3, Phi-3, OLMo2
        "mlp.dense_4h_to_h.weight",  # GPT-NeoX, Falcon, Bloom
        "mlp.c_proj.weight",  # GPT-2 (stored transposed)
        "mlp.fc2.weight",  # Phi, nanochat, Moshi
        "mlp.fc_out.weight",  # GPT-J, CodeGen
        "mlp.Wo.weight",  # ModernBERT's decoder
        "mlp.output_linear.weight",  # JetMoE
        "mlp_block.down_proj.weight",  # RecurrentGemma
        "feed_forward.down_proj.weight",  # Falcon-H1, Jamba, Llama 4
        "feed_forward.w2.weight",  # LFM2
        "feed_forward.value.weight",  # RWKV
        "ffn.down_proj.weight",  # MPT
        "ffn.proj_down.weight",  # xLSTM
        "ffn.fc2.weight",  # Kosmos-2
        "ffn.2.weight",  # CTRL
        "ffn.ffn.w_out.weight",  # CPM-Ant
        "ff.layer_2.weight",  # XLNet
        "fc2.weight",  # OPT, XGLM, BioGPT
        "output.dense.weight",  # BERT's line, as decoders
        "mixer.down_proj.weight",  # Nemotron-H
        "mlp.experts.down_proj",  # Mixtral, Qwen3-MoE: [experts, hidden, intermediate]; gpt-oss transposed
        "block_sparse_moe.experts.down_proj",  # Granite MoE
        "feed_forward.experts.down_proj",  # Jamba; Llama 4 (transposed)
        "experts.down_proj",  # Gemma 4
        "moe.experts.down_proj",  # Step 3
        "mixer.experts.down_proj",  # Nemotron-H
        "mlp.shared_expert.down_proj.weight",  # Qwen2-MoE
        "mlp.shared_experts.down_proj.weight",  # DeepSeek, GLM-4-MoE
        "mlp.shared_experts.down_proj",  # Inkling: [experts, hidden, intermediate]
        "mlp.shared_mlp.down_proj.weight",  # HunYuan-MoE
        "feed_forward.shared_expert.down_proj.weight",  # Llama 4
        "mixer.shared_experts.down_proj.weight",  # Nemotron-H
        "shared_expert.down_proj.weight",  # Step 3
        "shared_mlp.output_linear.weight",  # Granite MoE, shared and hybrid
    ),
    "mlp_up": (
        "mlp.up_proj.weight",
        "mlp.gate_up_proj.weight",  # Phi-3: gate and up in one
        "mlp.dense_h_to_4h.weight",
        "mlp.c_fc.weight",
        "mlp.fc1.weight",
        "mlp.fc_in.weight",
        "mlp.Wi.weight",
        "mlp.input_linear.weight",
        "mlp_block.up_proj.weight",
        "feed_forward.up_proj.weight",
        "feed_forward.w3.weight",
        "feed_forward.key.weight",
        "ffn.up_proj.weight",
        "ffn.proj_up.weight",
        "ffn.fc1.weight",
        "ffn.0.weight",
        "ffn.ffn.w_in.w_1.weight",
        "ff.layer_1.weight",
        "fc1.weight",
        "intermediate.dense.weight",
        "mixer.up_proj.weight",
        "mlp.experts.gate_up_proj",
        "block_sparse_moe.experts.gate_up_proj",
        "feed_forward.experts.gate_up_proj",
        "experts.gate_up_proj",
        "moe.experts.gate_up_proj",
        "mixer.experts.up_proj",
        "mlp.shared_expert.up_proj.weight",
        "mlp.shared_experts.up_proj.weight",
        "mlp.shared_experts.up_proj",
        "mlp.shared_experts.gate_up_proj.weight",
        "mlp.shared_mlp.up_proj.weight",
        "feed_forward.shared_expert.up_proj.weight",
        "mixer.shared_experts.up_proj.weight",
        "shared_expert.up_proj.weight",
        "shared_mlp.input_linear.weight",
    ),
    "mlp_gate": (
        "mlp.gate_proj.weight",
        "mlp_block.gate_proj.weight",
        "feed_forward.gate_proj.weight",
        "feed_forward.w1.weight",
        "ffn.ffn.w_in.w_0.weight",
        "mlp.shared_expert.gate_proj.weight",
        "mlp.shared_experts.gate_proj.weight",
        "mlp.shared_experts.gate_proj",
        "mlp.shared_mlp.gate_proj.weight",
        "feed_forward.shared_expert.gate_proj.weight",
        "shared_expert.gate_proj.weight",
    ),
    "attn_out": (
        "self_attn.o_proj.weight",
        "self_attn.out_proj.weight",  # OPT, XGLM, LFM2
        "self_attn.dense.weight",  # Phi, Persimmon
        "self_attn.o_proj.linear.weight",  # Moshi
        "self_attention.dense.weight",  # Falcon, Bloom
        "attention.dense.weight",  # GPT-NeoX
        "attention.output.dense.weight",  # BERT's line
        "attn.c_proj.weight",  # GPT-2
        "attn.out_proj.weight",  # GPT-J, CodeGen, MPT
        "attn.attention.out_proj.weight",  # GPT-Neo
        "attn.Wo.weight",  # ModernBERT's decoder
        "multi_head_attention.dense.weight",  # CTRL
        "self_att.self_attention.attention_out.weight",  # CPM-Ant
        "temporal_block.o_proj.weight",  # RecurrentGemma
        "mixer.o_proj.weight",  # Nemotron-H
    ),
    "attn_value": (
        "self_attn.v_proj.weight",
        "self_attn.v_proj.linear.weight",
        "self_attention.v_proj.weight",
        "attention.self.value.weight",
        "attn.v_proj.weight",
        "attn.attention.v_proj.weight",
        "temporal_block.v_proj.weight",
        "mixer.v_proj.weight",
    ),
    # What a state-space, linear-attention or convolution block adds to the residual stream with.
    "mixer_out": (
        "mixer.out_proj.weight",  # Mamba, Nemotron-H
        "mamba.out_proj.weight",  # Jamba, Falcon-H1, Bamba, Granite hybrid, Zamba
        "mamba_decoder.mamba.out_proj.weight",  # Zamba, where attention is shared between layers
        "linear_attn.out_proj.weight",  # Qwen3-Next, Qwen3.5
        "linear_attn.o_proj.weight",  # OLMo hybrid
        "conv.out_proj.weight",  # LFM2
        "temporal_block.linear_out.weight",  # RecurrentGemma
        "attention.output.weight",  # RWKV
        "mlstm_layer.out_proj.weight",  # xLSTM
    ),
    # Families that normalise after the down-projection cannot reach a target longer than this gain allows.
    "mlp_post_norm": ("post_feedforward_layernorm.weight",),
}
SUBSTITUTES: dict[str, tuple[str, ...]] = {"mlp_down": ("mixer_out", "attn_out")}
"""Roles that a layer gives instead of one that it lacks: in hybrid models a layer may have no MLP, and then adds to the
residual stream with the last matrix of its state-space block or its attention."""


def has_inputs_first(module: nn.Module) -> bool:
    """Whether a module holds its matrices as `[..., inputs, outputs]`: Conv1D of GPT-2, experts of gpt-oss, Llama 4."""
    return type(module).__name__ in ("Conv1D", "Llama4TextExperts") or bool(getattr(module, "is_transposed", False))


def find_decoder_layers(model: nn.Module, num_layers: int) -> tuple[str, nn.ModuleList]:
    """Return the dotted name and the list of the decoder layers: the module list of that length next to the embedding.

    A model with images or sound has other stacks, which may be as deep.

    Raises:
        InputError: If there is none, or more than one.
    """
    lists = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == num_layers and not _is_within_layer(name)
    }
    embedding = _embedding_path(model)
    near = {name: (_steps_shared(name.split("."), embedding), -name.count(".")) for name in lists}
    found = [name for name, steps in near.items() if steps == max(near.values())]
    if len(found) != 1:
        raise InputError(
            f"Decoder layers of a {type(model).__name__} were asked for, {len(found)} lists of {num_layers} modules "
            "were found. srmu needs a decoder-only model with one stack of layers."
        )
    return found[0], lists[found[0]]


def _is_within_layer(name: str) -> bool:
    return any(part.isdigit() for part in name.split("."))


def _embedding_path(model: Any) -> list[str]:
    """Where the token embedding is; empty of a module that does not say."""
    try:
        embedding = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        return []
    return next((name.split(".") for name, module in model.named_modules() if module is embedding), [])


def _steps_shared(one: Sequence[str], other: Sequence[str]) -> int:
    """How many parts two dotted names have in common from their beginning."""
    return next((place for place, parts in enumerate(zip(one, other, strict=False)) if parts[0] != parts[1]), 0)


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
        options = (role, *SUBSTITUTES.get(role, ()))
        names = next(filter(None, ([name for name in ROLES[key] if name in parameters] for key in options)), [])
        if not names:
            raise InputError(
                f"Role {role!r} was asked for, but srmu knows no such matrix in a layer of a {family!r} model. "
                f"Name it with --target-modules; this layer has {', '.join(matrices)}."
            )
        chosen += names
    return chosen


AUTO_DEPTH, AUTO_DEPTH_NEAR = 1 / 6, 0.3
"""Where the tapped layer lies unless it is named (docs/log)."""


def auto_layer(num_layers: int, depth: float = AUTO_DEPTH) -> int:
    """Tapped layer at a share of the depth, at least 2 where there are as many."""
    return min(max(round(num_layers * depth), 2), num_layers - 1)


def resolve_layer(layer: int | str, num_layers: int, depth: float = AUTO_DEPTH) -> int:
    """Check the tapped layer against the model's depth.

    Raises:
        InputError: If it is out of range.
    """
    layer_id = auto_layer(num_layers, depth) if layer == "auto" else int(layer)
    if layer_id >= num_layers:
        raise InputError(
            f"layer={layer_id} is out of range: this model has {num_layers} decoder layers. "
            f"Choose 0 to {num_layers - 1}."
        )
    return layer_id


def resolve_repair_layer(layer: int | str, num_layers: int, tapped: int) -> int | None:
    """Check the repair's layer against the model's depth and the tapped layer.

    Returns:
        None where it is to be found and no layer lies above the tapped one.

    Raises:
        InputError: If it does not lie above the tapped layer, or is out of range.
    """
    if layer == "auto":
        found = min(max(auto_layer(num_layers, AUTO_DEPTH_NEAR), tapped + 1), num_layers - 1)
        return found if found > tapped else None
    if not tapped < int(layer) < num_layers:
        raise InputError(
            f"repair_layer={layer} is out of range: this model has {num_layers} decoder layers, and the target is at "
            f"layer {tapped}. Choose {tapped + 1} to {num_layers - 1}, or --no-repair."
        )
    return int(layer)


def resolve_trained_layers(
    trained: Sequence[int], number: int | Literal["auto"], layer_id: int, tapped: nn.Module
) -> tuple[int, ...]:
    """Check the trained layers against the tapped one.

    Args:
        trained: As given; empty = the last ones up to the tapped one.
        number: How many there are then, where they exist; auto = three, or six where a norm follows the MLP: its gain
            bounds how far a layer can push (`surgery/reach.py`), so that three forget less (docs/log).
        layer_id: Tapped layer.
        tapped: That layer.

    Returns:
        In ascending order.

    Raises:
        InputError: If a trained layer lies above the tapped one.
    """
    if number == "auto":
        names = {name for name, _ in tapped.named_parameters()}
        number = 6 if names.intersection(ROLES["mlp_post_norm"]) else 3
    trained_ids = tuple(sorted(set(trained))) or tuple(range(max(0, layer_id - number + 1), layer_id + 1))
    wrong = [index for index in trained_ids if not 0 <= index <= layer_id]
    if wrong:
        raise InputError(
            f"trained_layers={wrong[0]} is out of range: the loss at layer {layer_id} sees layers 0 to {layer_id} "
            "only. Choose among those, or raise --layer."
        )
    return trained_ids
