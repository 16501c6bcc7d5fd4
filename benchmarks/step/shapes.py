"""What is measured: the shape of a model, the rows of a step, and the files that both sides read."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch


@dataclass(frozen=True)
class Shape:
    """A Llama-shaped model and the rows of one step.

    Attributes:
        layers: Decoder layers of the whole model.
        layer: Tapped layer l; layers l-2 to l are trained.
        hidden: Width of the residual stream.
        intermediate: Width inside the MLP.
        heads: Attention heads.
        kv_heads: Heads of keys and values.
        vocabulary: Tokens.
        max_length: Tokens a row.
        forget_batch_size: Forget rows a step.
        retain_batch_size: Retain rows a step.
        dtype: Of the weights.
    """

    layers: int = 32
    layer: int = 7
    hidden: int = 512
    intermediate: int = 1408
    heads: int = 8
    kv_heads: int = 8
    vocabulary: int = 32_000
    max_length: int = 256
    forget_batch_size: int = 4
    retain_batch_size: int = 4
    dtype: str = "float32"


STANDARD = Shape()
ZEPHYR = Shape(
    hidden=4096, intermediate=14336, heads=32, kv_heads=8, max_length=512, dtype="bfloat16"
)  # HuggingFaceH4/zephyr-7b-beta, with RMU's 4 rows a side
GROWTH = {
    "depth": [replace(STANDARD, layers=count) for count in (16, 32, 64)],
    "width": [
        replace(STANDARD, hidden=width, intermediate=width * 11 // 4, heads=width // 64, kv_heads=width // 64)
        for width in (256, 512, 1024)
    ],
    "row length": [replace(STANDARD, max_length=tokens) for tokens in (64, 128, 256, 512)],
    "vocabulary": [replace(STANDARD, vocabulary=tokens) for tokens in (8_000, 32_000, 128_000)],
}
"""One thing grows at a time; the values on the axis are those of `GROWTH_FIELDS`."""
GROWTH_FIELDS = {"depth": "layers", "width": "hidden", "row length": "max_length", "vocabulary": "vocabulary"}


def write_checkpoint(shape: Shape, folder: Path, device: str = "cpu") -> Path:
    """Save a random model of that shape, drawn on the device; returns its directory."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.hidden,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=max(2048, shape.max_length),
    )
    default = torch.get_default_dtype()
    torch.set_default_dtype(getattr(torch, shape.dtype))
    try:
        with torch.device(device):
            model = LlamaForCausalLM(config)
        model.save_pretrained(folder / "model")
    finally:
        torch.set_default_dtype(default)
    return folder / "model"


def write_rows(shape: Shape, steps: int, folder: Path) -> Path:
    """Random rows, each read in one step only; returns their file."""
    generator = torch.Generator().manual_seed(1)

    def draw(count: int) -> list[list[int]]:
        return torch.randint(shape.vocabulary, (count, shape.max_length), generator=generator).tolist()

    rows = {"forget": draw(steps * shape.forget_batch_size), "retain": [draw(steps * shape.retain_batch_size)]}
    file = folder / "rows.json"
    file.write_text(json.dumps(rows))
    return file


def write_task(folder: Path, model: Path, rows: Path, shape: Shape, steps: int, **changes: Any) -> Path:
    """The file that tells both sides what to do; returns its path.

    Args:
        folder: Where it goes.
        model: Checkpoint directory.
        rows: From `write_rows`, or of the same form.
        shape: Layers, rows and dtype.
        steps: Steps of the run, first one included.
        **changes: Keys that differ from the defaults below.
    """
    task = {
        "model": str(model),
        "rows": str(rows),
        "steps": steps,
        "shape": asdict(shape),
        "device": "cpu",
        "method": "srmu",
        "steering_coefficient": 6.5,
        "retain_weight": 1200.0,
        "learning_rate": 5e-5,
        "map_epsilon": 1e-6,
        "cache_gb": 0.0,
        "seed": 0,
        **changes,
    }
    file = folder / f"task-{task['method']}.json"
    file.write_text(json.dumps(task))
    return file
