"""A tiny config of any model type of the installed Transformers, made from the defaults of its own config class.

Sizes that are named alike everywhere are made small; what a family demands beside that stands in `DEMANDS`.
"""

import re
from typing import Any

DEPTH = 4
VOCABULARY = 96
_SIZES: dict[int, tuple[str, ...]] = {
    VOCABULARY: (
        "vocab_size", "text_vocab_size", "vocab_size_per_layer_input", "audio_vocab_size", "n_vocab",
    ),
    32: (
        "hidden_size", "n_embd", "d_model", "dim", "embed_dim", "n_embed", "embedding_size", "word_embed_proj_dim",
        "projection_dim", "out_hidden_size", "output_dim", "projector_hidden_size", "vision_hidden_size", "dim_model",
        "embedding_dim", "attention_hidden_size", "hidden_dim", "audio_hidden_size", "lru_width", "text_hidden_size",
        "encoder_hidden_size", "audio_d_model", "decoder_hidden_size", "emb_dim",
    ),
    48: (
        "intermediate_size", "n_inner", "ffn_dim", "encoder_ffn_dim", "decoder_ffn_dim", "ffn_hidden_size", "mlp_dim",
        "d_ff", "intermediate_size_mlp", "shared_intermediate_size", "moe_shared_expert_intermediate_size",
        "shared_expert_intermediate_size", "dense_intermediate_size", "expert_ffn_hidden_size", "block_ff_dim",
        "dim_ff", "mlp_hidden_size", "block_intermediate_size", "feed_forward_size",
    ),
    24: ("moe_intermediate_size", "expert_intermediate_size", "moe_ffn_hidden_size"),
    128: (
        "max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_seq_length", "seq_length",
        "max_sequence_length", "max_target_positions", "original_max_position_embeddings", "context_length",
    ),
    16: ("state_size", "q_lora_rank", "kv_lora_rank", "o_lora_rank"),
    8: (
        "head_dim", "kv_channels", "attention_head_dim", "attention_head_size", "global_head_dim", "swa_head_dim",
        "v_head_dim", "qk_nope_head_dim", "swa_v_head_dim", "d_kv", "index_head_dim", "d_head", "linear_key_head_dim",
        "linear_value_head_dim", "sliding_window", "attention_window_size", "attention_chunk_size",
    ),
    4: (
        "num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads", "decoder_attention_heads",
        "attention_heads", "qk_rope_head_dim", "num_experts", "num_local_experts", "n_routed_experts",
        "moe_num_experts", "num_routed_experts", "n_experts", "linear_num_value_heads", "linear_num_key_heads",
    ),
    2: (
        "num_key_value_heads", "n_kv_heads", "num_kv_heads", "multi_query_group_num", "swa_num_key_value_heads",
        "num_experts_per_tok", "moe_topk", "top_k_experts", "num_experts_per_token", "moe_k", "moe_router_topk",
        "moe_top_k", "num_selected_experts", "experts_per_token",
    ),
    1: ("n_group", "topk_group", "num_expert_group", "n_shared_experts", "num_shared_experts",
        "moe_num_shared_experts"),
}  # fmt: skip
_DEPTHS = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers", "depth",
    "num_decoder_layers", "num_encoder_layers",
)  # fmt: skip
_SMALL = {name: size for size, names in _SIZES.items() for name in names} | dict.fromkeys(_DEPTHS, DEPTH)
_IDS = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "decoder_start_token_id": 1}
# Left to a default of a large model where it is not set.
_OFTEN_NONE = ("head_dim", "num_key_value_heads")
_OTHER_IDS = re.compile(r"_(id|index)$")


def tiny_config(model_type: str) -> Any:
    """A config of a model with about a hundred thousand parameters.

    Raises:
        Exception: Whatever the config class raises where these sizes do not suit it.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    kind = CONFIG_MAPPING[model_type]
    return kind(**merged(_small(kind()), DEMANDS.get(model_type, {})))


def _small(default: Any) -> dict[str, Any]:
    """What to set in a config, and in those within it, so that it is tiny."""
    found: dict[str, Any] = {}
    free_id = VOCABULARY - 1
    for name, value in vars(default).items():
        if hasattr(value, "to_dict") and name != "quantization_config":
            found[name] = {**_small(value), "model_type": value.model_type}
        elif name in _IDS and isinstance(value, (int, list)):
            found[name] = _IDS[name]
        elif isinstance(value, dict) and "mrope_section" in value:
            found[name] = {**value, "mrope_section": [2, 1, 1]}
        elif value is None and name in _OFTEN_NONE:
            found[name] = _SMALL[name]
        elif isinstance(value, bool) or not isinstance(value, int):
            continue
        elif name in _SMALL:
            found[name] = _SMALL[name]
        elif _OTHER_IDS.search(name) and value >= VOCABULARY:
            found[name], free_id = free_id, free_id - 1
    return found


def merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """The first with the second's entries over it, nested ones too; None takes an entry out."""
    result = dict(one)
    for name, value in other.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result


_MAMBA2 = {"mamba_n_heads": 4, "mamba_d_state": 8, "mamba_n_groups": 1}
_LATENT = {
    "first_k_dense_replace": 1,
    "mlp_layer_types": None,
    "num_key_value_heads": 4,
    "qk_head_dim": 12,
    "head_dim": None,
}
_GEMMA4 = {
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "num_kv_shared_layers": 2,
    "hidden_size_per_layer_input": 4,
    "enable_moe_block": True,
    "num_experts": 4,
    "top_k_experts": 2,
    "moe_intermediate_size": 24,
}
_MROPE = {"text_config": {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}}}
_DECODER = {"is_decoder": True}
DEMANDS: dict[str, dict[str, Any]] = {
    "bamba": _MAMBA2,
    "granitemoehybrid": {**_MAMBA2, "layer_types": ["mamba", "mamba", "attention", "mamba"]},
    "kimi_k25": {"text_config": _LATENT},
    "mamba2": {"num_heads": 8, "n_groups": 2},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_shared_experts": 1, "first_k_dense_replace": 1},
    "dots3_note": {"text_config": {"num_key_value_heads": 4}},
    "dots3_note_text": {"num_key_value_heads": 4},
    "gemma3n_text": {"num_kv_shared_layers": 0, "hidden_size_per_layer_input": 4, "intermediate_size": 48},
    "gemma4": {"text_config": _GEMMA4},
    "gemma4_text": _GEMMA4,
    "gpt_neo": {"attention_types": [[["global", "local"], 2]]},
    "moshi": {"codebook_size": None},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
    "lfm2_moe": {"layer_types": ["conv", "full_attention", "conv", "full_attention"]},
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"] * 2, "linear_attn_config": None},
    "zamba": {"layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "num_key_value_heads": 4},
    "zamba2": {"layers_block_type": ["mamba", "hybrid", "mamba", "hybrid"], "n_mamba_heads": 4, "mamba_d_state": 8},
    "falcon_h1": {"mamba_d_ssm": 32, "mamba_n_heads": 4, "mamba_d_head": 8, "mamba_d_state": 8},
    "nemotron_h": {
        "layers_block_type": ["mamba", "attention", "mlp", "mamba"], "mamba_num_heads": 4, "mamba_head_dim": 8,
        "n_groups": 1, "ssm_state_size": 8,
    },
    "gptj": {"rotary_dim": 4},
    "codegen": {"rotary_dim": 4},
    "dbrx": {"attn_config": {"kv_n_heads": 2}},
    "zaya": {"num_experts_per_tok": 1},
    **dict.fromkeys(("qwen2_vl", "qwen2_5_vl", "paddleocr_vl", "qwen2_5_omni_thinker"), _MROPE),
    **dict.fromkeys(
        ("axk1", "axk2", "deepseek_v2", "deepseek_v3", "deepseek_v32", "glm4_moe_lite", "glm_moe_dsa", "minicpm3",
         "youtu"),
        _LATENT,
    ),
    **dict.fromkeys(
        ("bert", "bert-generation", "big_bird", "camembert", "data2vec-text", "electra", "ernie", "megatron-bert",
         "rembert", "roberta", "roberta-prelayernorm", "roc_bert", "roformer", "xlm-roberta", "xlm-roberta-xl",
         "xmod"), _DECODER,
    ),
}  # fmt: skip
"""By model type: what its config class demands beside small sizes."""
