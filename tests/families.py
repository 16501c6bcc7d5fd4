"""Tiny random checkpoints of the real architectures, for every family that srmu promises.

Every model has hidden size 32 (Gemma: 36), at least five layers and a vocabulary of 96, so that layers 1 to
3 can be trained with layer 3 tapped and at least one layer lies above. All matrices are drawn large, so that
every layer moves the residual stream; norm weights and biases are moved off their neutral values, so that a
lost one is noticed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from tiny_tokenizers import TOKENIZERS, make_tokenizer

VOCABULARY_SIZE = 96
TAPPED_LAYER = 3
TRAINED_LAYERS = (1, 2, 3)
SLIDING_WINDOW = 8
DOWN_PROJECTIONS = (
    "mlp.down_proj.weight", "mlp.experts.down_proj", "mlp.dense_4h_to_h.weight", "mlp.c_proj.weight",
)  # fmt: skip
# Sizes that almost all configs name alike. Default ids, as Phi3's of padding, lie outside this vocabulary.
_SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY_SIZE, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 5,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128,
    "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0, "tie_word_embeddings": False,
}  # fmt: skip
# Gemma multiplies embeddings by sqrt(hidden size), kept in a buffer of the default dtype of the moment: 36
# has an exact root, so the model is the same in float64 however it was built.
_GEMMA: dict[str, Any] = {
    **_SIZES, "hidden_size": 36, "head_dim": 8, "query_pre_attn_scalar": 8, "sliding_window": SLIDING_WINDOW,
    "tie_word_embeddings": True,
}  # fmt: skip
_GEMMA3: dict[str, Any] = {
    **_GEMMA, "num_hidden_layers": 6,
    "layer_types": ["sliding_attention", "sliding_attention", "full_attention"] * 2,
}  # fmt: skip


def _llama() -> PreTrainedModel:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**_SIZES))


def _llama_tied() -> PreTrainedModel:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**{**_SIZES, "tie_word_embeddings": True}))


def _mistral() -> PreTrainedModel:
    return transformers.MistralForCausalLM(transformers.MistralConfig(**_SIZES, sliding_window=SLIDING_WINDOW))


def _qwen2() -> PreTrainedModel:
    # Layers below max_window_layers attend in full, the others in a window.
    config = transformers.Qwen2Config(
        **_SIZES, use_sliding_window=True, sliding_window=SLIDING_WINDOW, max_window_layers=2
    )
    return transformers.Qwen2ForCausalLM(config)


def _qwen3() -> PreTrainedModel:
    return transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**_SIZES, head_dim=8))


def _gemma2() -> PreTrainedModel:
    return transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**_GEMMA))


def _gemma3() -> PreTrainedModel:
    return transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(**_GEMMA3))


def _gemma3_nested() -> PreTrainedModel:
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
        "image_size": 16, "patch_size": 4,
    }  # fmt: skip
    config = transformers.Gemma3Config(
        text_config=_GEMMA3, vision_config=vision, mm_tokens_per_image=4,
        image_token_index=95, boi_token_index=94, eoi_token_index=93, tie_word_embeddings=True,
    )  # fmt: skip
    return transformers.Gemma3ForConditionalGeneration(config)


def _phi3() -> PreTrainedModel:
    return transformers.Phi3ForCausalLM(transformers.Phi3Config(**_SIZES))


def _olmo2() -> PreTrainedModel:
    return transformers.Olmo2ForCausalLM(transformers.Olmo2Config(**_SIZES))


def _gpt_neox() -> PreTrainedModel:
    sizes = {key: value for key, value in _SIZES.items() if key != "num_key_value_heads"}
    return transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**sizes))


def _gpt2(dropout: float = 0.0) -> PreTrainedModel:
    config = transformers.GPT2Config(
        vocab_size=VOCABULARY_SIZE, n_embd=32, n_inner=48, n_layer=5, n_head=4, n_positions=128,
        bos_token_id=1, eos_token_id=2, pad_token_id=0,
        resid_pdrop=dropout, embd_pdrop=dropout, attn_pdrop=dropout,
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def _mixtral() -> PreTrainedModel:
    config = transformers.MixtralConfig(**_SIZES, num_local_experts=4, num_experts_per_tok=2)
    return transformers.MixtralForCausalLM(config)


def _qwen3_moe() -> PreTrainedModel:
    config = transformers.Qwen3MoeConfig(
        **_SIZES, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=24,
        norm_topk_prob=True, mlp_only_layers=[1],
    )  # fmt: skip
    return transformers.Qwen3MoeForCausalLM(config)


@dataclass(frozen=True)
class Family:
    """One tiny architecture.

    Attributes:
        construct: Makes the model, with the weights of its own constructor.
        num_parameters: Expected count, tied tensors once.
        layers_path: Where its decoder layers stand in the whole model.
        tokenizer: The kind it is saved with. AutoTokenizer rebuilds any tokenizer of Qwen2 as a byte BPE that
            adds no BOS.
    """

    construct: Callable[[], PreTrainedModel]
    num_parameters: int
    layers_path: str = "model.layers"
    tokenizer: str = "words"

    def build(self, seed: int = 0) -> PreTrainedModel:
        """A float32 model in eval mode, the same for the same seed."""
        model = self.construct()
        _draw_parameters(model, seed)
        found = sum(parameter.numel() for parameter in model.parameters())
        assert found == self.num_parameters, f"{type(model).__name__} has {found} parameters"
        return model.eval()

    def down_projection_names(self, layer_ids: tuple[int, ...] = TRAINED_LAYERS) -> list[str]:
        """Whole-model parameter names of the MLP down-projections of these layers."""
        with torch.device("meta"):
            known = dict(self.construct().named_parameters())
        candidates = [f"{self.layers_path}.{layer_id}.{role}" for layer_id in layer_ids for role in DOWN_PROJECTIONS]
        return [name for name in candidates if name in known]


# A family is an architecture, a variant the same architecture with another setting.
FAMILIES: dict[str, Family] = {
    "llama": Family(_llama, 44896),
    "mistral": Family(_mistral, 44896),
    "qwen2": Family(_qwen2, 45216, tokenizer="bytes_no_bos"),
    "qwen3": Family(_qwen3, 44976),
    "gemma2": Family(_gemma2, 47412),
    "gemma3": Family(_gemma3, 56292),
    "gemma3_nested": Family(_gemma3_nested, 61332, "model.language_model.layers"),
    "phi3": Family(_phi3, 44896),
    "olmo2": Family(_olmo2, 45136),
    "gpt_neox": Family(_gpt_neox, 43728, "gpt_neox.layers"),
    "gpt2": Family(_gpt2, 44752, "transformer.h"),
    "mixtral": Family(_mixtral, 114656),
    "qwen3_moe": Family(_qwen3_moe, 63920),
}
VARIANTS: dict[str, Family] = {
    "llama_tied": Family(_llama_tied, 41824),
    "gpt2_dropout": Family(lambda: _gpt2(dropout=0.3), 44752, "transformer.h"),
}


def find_family(name: str) -> Family:
    """The family or variant of that name."""
    return {**FAMILIES, **VARIANTS}[name]


def _draw_parameters(model: nn.Module, seed: int) -> None:
    """Draw matrices with deviation 0.2 (embeddings 0.5); move vectors by 0.1 from their first values."""
    generator = torch.Generator().manual_seed(seed)
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    for parameter in model.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            if parameter.dim() == 1:
                parameter.add_(0.1 * noise)
            else:
                parameter.copy_((0.5 if id(parameter) in embeddings else 0.2) * noise)


DtypeName = Literal["float32", "bfloat16", "float16"]
KeyStyle = Literal["saved", "gpt2_bare", "gemma3_old", "gemma3_new"]


def save_family(
    name: str,
    path: str | Path,
    *,
    dtype: DtypeName = "float32",
    sharded: bool = False,
    tokenizer: str | None = None,
    key_style: KeyStyle = "saved",
    seed: int = 0,
) -> Path:
    """Save a tiny checkpoint with its tokenizer as users have it on disk.

    Args:
        name: Of `FAMILIES` or `VARIANTS`.
        path: Directory, made if it does not exist.
        dtype: Stored dtype.
        sharded: Several small shards with an index, or one file.
        tokenizer: Of `TOKENIZERS`; none given = the family's own.
        key_style: `saved` as Transformers writes them; `gpt2_bare` without `transformer.` and with the mask
            buffers of old files; `gemma3_old` `language_model.model.layers...`; `gemma3_new`
            `model.language_model.layers...`.
        seed: Of the weights.

    Returns:
        The directory.
    """
    path = Path(path)
    family = find_family(name)
    model = family.build(seed).to(getattr(torch, dtype))
    model.save_pretrained(path, max_shard_size="60KB" if sharded else "1GB")
    make_tokenizer(**TOKENIZERS[tokenizer or family.tokenizer]).save_pretrained(path)
    if key_style == "gpt2_bare":
        _rewrite_keys(path, lambda key: key.removeprefix("transformer."), extra=_gpt2_mask_buffers(model))
    elif key_style == "gemma3_old":
        _rewrite_keys(path, lambda key: _gemma3_key(key, "language_model.model.", ""))
    elif key_style == "gemma3_new":
        _rewrite_keys(path, lambda key: _gemma3_key(key, "model.language_model.", "model."))
    return path


def read_stored_tensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint directory by stored name."""
    tensors: dict[str, Tensor] = {}
    for shard in sorted(Path(path).glob("*.safetensors")):
        with safe_open(shard, "pt") as file:
            keys = file.keys()
            tensors |= {key: file.get_tensor(key) for key in keys}
    return tensors


def _gemma3_key(key: str, text_prefix: str, other_prefix: str) -> str:
    for known in ("language_model.model.", "model.language_model."):
        if key.startswith(known):
            return text_prefix + key.removeprefix(known)
    return other_prefix + key.removeprefix("model.")


def _gpt2_mask_buffers(model: PreTrainedModel) -> dict[str, Tensor]:
    """The causal masks that GPT-2 files of before 2023 store beside the weights."""
    size = model.config.n_positions
    mask = torch.ones(size, size).tril().reshape(1, 1, size, size)
    return {f"h.{layer_id}.attn.bias": mask.clone() for layer_id in range(model.config.n_layer)}


def _rewrite_keys(path: Path, rename: Callable[[str], str], *, extra: dict[str, Tensor] | None = None) -> None:
    """Rename every stored tensor; `extra` ones go into the last shard."""
    shards = sorted(path.glob("*.safetensors"))
    where: dict[str, str] = {}
    for shard in shards:
        with safe_open(shard, "pt") as file:
            keys = file.keys()
            tensors = {rename(key): file.get_tensor(key) for key in keys}
        if shard == shards[-1]:
            tensors |= extra or {}
        where |= dict.fromkeys(tensors, shard.name)
        save_file(tensors, shard, metadata={"format": "pt"})
    index = path / "model.safetensors.index.json"
    if index.exists():
        content = json.loads(index.read_text())
        index.write_text(json.dumps({**content, "weight_map": where}, indent=2))
