"""Causal attention in blocks of queries, by plain products: on a CPU faster than PyTorch's fused one.

A block of queries meets the keys up to its own end and no others, so that about half of the products are left out, as
in the fused kernel; but they are products of the matrix library. In bfloat16 the fused kernel's gradient takes three to
ten times as long (docs/background/performance.md).
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "srmu_causal_blocks"
BLOCK = 64
LONGEST_ROW = 1024
"""In tokens; the gradient keeps what every query gives to every key before it."""


def use_causal_blocks(model: Any) -> None:
    """Let a model compute so, where it takes attention from Transformers' interface and would use the fused one."""
    if model._supports_attention_backend and model.config._attn_implementation == "sdpa":
        model.set_attn_implementation(NAME)


def causal_attention(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """Softmax attention of each position to itself and those before it.

    Args:
        queries: `[batch, heads, seq, size]`.
        keys: `[batch, kv heads, seq, size]`; each serves as many heads, one after another.
        values: `[batch, kv heads, seq, size]`.
        scale: Of the products of queries and keys.

    Returns:
        `[batch, seq, heads, size]`.
    """
    batch, heads, length, size = queries.shape
    kv_heads = keys.shape[1]
    queries = queries.reshape(batch * kv_heads, heads // kv_heads, length, size)
    keys, values = keys.reshape(-1, length, size).transpose(1, 2), values.reshape(batch * kv_heads, length, -1)
    blocks = []
    for start in range(0, length, BLOCK):
        end = min(start + BLOCK, length)
        own = queries[:, :, start:end].reshape(batch * kv_heads, -1, size)
        later = torch.full((end - start, end), -torch.inf, dtype=queries.dtype, device=queries.device).triu(start + 1)
        scores = torch.baddbmm(later.repeat(heads // kv_heads, 1), own, keys[:, :, :end], alpha=scale)
        given = torch.bmm(scores.softmax(-1), values[:, :end])
        blocks.append(given.view(batch, heads, end - start, -1))
    return torch.cat(blocks, dim=2).transpose(1, 2).contiguous()


def _attention_forward(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """For Transformers' interface; what is not plainly causal over whole rows goes the fused way."""
    extra = any(options.get(name) is not None for name in ("position_bias", "cache", "softcap", "s_aux"))
    plain = attention_mask is None and not options.get("dropout") and options.get("is_causal", True) is not False
    if extra or not plain or query.shape[2] != key.shape[2] or query.shape[2] > LONGEST_ROW:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    scale = options.get("scaling")
    return causal_attention(query, key, value, query.shape[-1] ** -0.5 if scale is None else scale), None


AttentionInterface.register(NAME, _attention_forward)
AttentionMaskInterface.register(NAME, sdpa_mask)
