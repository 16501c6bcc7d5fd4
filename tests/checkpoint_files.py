"""Tiny checkpoints on disk, and ways to damage them."""

import json
import struct
from pathlib import Path

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from srmu.surgery.checkpoint import Checkpoint, read_tensor

TRAINED = ("model.layers.0.mlp.down_proj.weight", "model.layers.1.mlp.down_proj.weight")


def save_llama(path: Path, *, dtype: torch.dtype = torch.float32, tied: bool = False, seed: int = 0) -> Path:
    """A two-layer Llama in three shards or more, with files and folders that no model needs."""
    config = LlamaConfig(
        vocab_size=48,
        hidden_size=16,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=32,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).to(dtype)
    total = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    model.save_pretrained(path, max_shard_size=total // 3)
    assert len(list(path.glob("*.safetensors"))) >= 3
    (path / "notes").mkdir()
    (path / "notes" / "ünïcode name.txt").write_bytes(b"\x00\xff odd bytes")
    (path / "empty folder").mkdir()
    (path / "training_args.bin").write_bytes(b"\x80\x04not loaded by anybody")
    (path / ".hidden").write_text("kept")
    return path


def changed_tensors(base: Checkpoint, names: tuple[str, ...] = TRAINED) -> dict[str, Tensor]:
    """New values for some tensors, different from the base's in every entry."""
    return {name: read_tensor(base, name) + 1 for name in names}


def all_bytes(directory: Path) -> dict[str, bytes | None]:
    """Every file with its content, and every folder, by relative name."""
    return {
        str(path.relative_to(directory)): path.read_bytes() if path.is_file() else None for path in directory.rglob("*")
    }


def split_header(content: bytes) -> tuple[dict, bytes]:
    """Header and data of a safetensors file."""
    length = struct.unpack("<Q", content[:8])[0]
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_header(header: dict, data: bytes) -> bytes:
    """The safetensors file of a header, which may lie, and data."""
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data
