from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from srmu.surgery import attention
from srmu.surgery.attention import BLOCK, LONGEST_ROW, NAME, causal_attention
from srmu.surgery.checkpoint import open_checkpoint
from srmu.surgery.truncate import load_truncated

CPU = torch.device("cpu")


def by_definition(queries: Tensor, keys: Tensor, values: Tensor, scale: float) -> Tensor:
    """One head and one position after another."""
    batch, heads, length, _ = queries.shape
    share = heads // keys.shape[1]
    result = queries.new_zeros(batch, length, heads, values.shape[-1])
    for row in range(batch):
        for head in range(heads):
            for place in range(length):
                scores = keys[row, head // share, : place + 1] @ queries[row, head, place] * scale
                result[row, place, head] = scores.softmax(0) @ values[row, head // share, : place + 1]
    return result


@pytest.mark.parametrize("length", [1, 7, BLOCK, BLOCK + 1, 2 * BLOCK + 5])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_blocks_give_what_the_definition_says(length, kv_heads):
    generator = torch.Generator().manual_seed(length)
    queries = torch.randn(2, 4, length, 6, generator=generator, dtype=torch.float64)
    keys, values = (torch.randn(2, kv_heads, length, 6, generator=generator, dtype=torch.float64) for _ in range(2))
    found = causal_attention(queries, keys, values, 0.3)
    assert torch.allclose(found, by_definition(queries, keys, values, 0.3), rtol=0, atol=1e-12)


def test_gradients_are_those_of_the_definition():
    generator = torch.Generator().manual_seed(0)
    sizes = (1, 4, BLOCK + 3, 5), (1, 2, BLOCK + 3, 5), (1, 2, BLOCK + 3, 5)
    inputs = [torch.randn(size, generator=generator, dtype=torch.float64, requires_grad=True) for size in sizes]
    weights = torch.randn(1, BLOCK + 3, 4, 5, generator=generator, dtype=torch.float64)
    found, expected = (
        torch.autograd.grad((compute(*inputs, 0.3) * weights).sum(), inputs)
        for compute in (causal_attention, by_definition)
    )
    assert all(torch.allclose(one, other, rtol=0, atol=1e-12) for one, other in zip(found, expected, strict=True))


def test_a_model_on_the_cpu_computes_so_and_as_before(saved_family: Callable[..., Path], monkeypatch):
    used = []
    monkeypatch.setattr(attention, "causal_attention", lambda *given: used.append(1) or causal_attention(*given))
    ids = torch.arange(2 * 70).view(2, 70) % 50
    outputs: list[Any] = []
    for _ in range(2):
        inner = load_truncated(open_checkpoint(saved_family("llama")), 3, dtype=torch.float32, device=CPU).inner
        assert inner.config._attn_implementation == NAME
        if outputs:
            inner.set_attn_implementation("sdpa")
        outputs.append(inner(input_ids=ids, use_cache=False).last_hidden_state)
    assert len(used) == 3
    assert torch.allclose(*outputs, rtol=1e-5, atol=1e-5)


def test_what_is_not_plainly_causal_goes_the_fused_way(monkeypatch):
    monkeypatch.setattr(attention, "causal_attention", None)
    monkeypatch.setattr(attention, "sdpa_attention_forward", lambda *_, **__: fused)
    fused = torch.ones(1), None
    rows = torch.zeros(1, 2, 5, 4)
    long = torch.zeros(1, 1, LONGEST_ROW + 1, 1)
    forward = attention._attention_forward
    assert forward(None, rows, rows, rows, torch.zeros(1, 1, 5, 5)) is fused
    assert forward(None, rows, rows, rows, None, is_causal=False) is fused
    assert forward(None, rows, rows, rows, None, dropout=0.1) is fused
    assert forward(None, rows, rows, rows, None, s_aux=torch.zeros(2)) is fused
    assert forward(None, rows[:, :, :1], rows, rows, None) is fused
    assert forward(None, long, long, long, None) is fused


def test_a_family_without_the_fused_kernel_keeps_its_own(saved_family: Callable[..., Path]):
    inner = load_truncated(open_checkpoint(saved_family("gemma2")), 3, dtype=torch.float32, device=CPU).inner
    assert inner.config._attn_implementation == "eager"
