"""The change of a run as a LoRA adapter in PEFT's format: a truncated singular value decomposition of each matrix.

`base + B A` equals the result as far as the rank reaches. An adapter is far smaller
than the model and is loaded on the untouched base, so who has the adapter's base can take the forgetting off again.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from srmu.errors import InputError
from srmu.runtime.files import new_directory, write_tensors_atomic
from srmu.surgery.checkpoint import Checkpoint, StoredTensors

ADAPTER_CONFIG, ADAPTER_WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class Decomposition:
    """The changes of a run's matrices, each as its singular value decomposition, `U diag(s) V`.

    Attributes:
        parts: Name of the linear layer in the loaded model -> U `[out, k]`, s `[k]` in descending order, V `[k, in]`,
            float32.
        transposed: Whether the layers hold their matrices as `[in, out]` (GPT-2's Conv1D).
    """

    parts: dict[str, tuple[Tensor, Tensor, Tensor]]
    transposed: bool

    @property
    def full_rank(self) -> int:
        """The rank at which every matrix is exact."""
        return max(len(values) for _, values, _ in self.parts.values())

    def factors(self, module: str, rank: int) -> tuple[Tensor, Tensor]:
        """B `[out, rank]` and A `[rank, in]`, whose product is the change as far as the rank reaches."""
        left, values, right = self.parts[module]
        root = values[:rank].sqrt()
        return left[:, :rank] * root, root[:, None] * right[:rank]

    def change(self, module: str, rank: int) -> Tensor:
        """The change at a rank, in the layout of the layer's weight."""
        b_matrix, a_matrix = self.factors(module, rank)
        change = b_matrix @ a_matrix
        return change.T if self.transposed else change

    def left_out(self, rank: int) -> dict[str, float]:
        """Of each matrix, the share of the change's Frobenius norm beyond the rank."""
        return {module: left_out(values, rank) for module, (_, values, _) in self.parts.items()}


def decompose(
    base: Checkpoint, result: Checkpoint, changed: Sequence[str], parameters: Sequence[str], *, transposed: bool = False
) -> Decomposition:
    """Decompose what a run changed.

    Args:
        base: The base's checkpoint.
        result: The result's.
        changed: Stored names of the changed tensors.
        parameters: Names of the parameters of the loaded causal language model, to which the stored names belong.
        transposed: Whether the changed matrices are stored as `[in, out]`.

    Raises:
        InputError: A changed tensor is not the weight of a linear layer.
    """
    before, after = StoredTensors(base), StoredTensors(result)
    parts = {}
    for name in changed:
        module = module_of(name, parameters)
        change = after[name].float() - before[name].float()
        if change.ndim != 2:
            raise InputError(
                f"{name!r} is {list(change.shape)}, and LoRA holds matrices alone. Use the run's delta: srmu apply."
            )
        parts[module] = torch.linalg.svd(change.T if transposed else change, full_matrices=False)
    return Decomposition({module: tuple(part) for module, part in parts.items()}, transposed)


def write_lora(decomposition: Decomposition, rank: int, out: Path, *, base_name: str) -> None:
    """Write the adapter's directory.

    Args:
        decomposition: From `decompose`.
        rank: Of the factors.
        out: Directory to make.
        base_name: What the adapter names as its base: a path or a hub id.

    Raises:
        InputError: The rank is out of range, or the directory cannot be written.
    """
    if not 1 <= rank <= decomposition.full_rank:
        raise InputError(
            f"rank={rank!r} was asked for, and the changed matrices allow 1 to {decomposition.full_rank}. "
            "Choose one of them."
        )
    tensors: dict[str, Tensor] = {}
    for module in decomposition.parts:
        b_matrix, a_matrix = decomposition.factors(module, rank)
        tensors[f"base_model.model.{module}.lora_A.weight"] = a_matrix.contiguous()
        tensors[f"base_model.model.{module}.lora_B.weight"] = b_matrix.contiguous()
    config = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": base_name,
        "r": rank,
        # Equal to the rank: the product is added as it is.
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": decomposition.transposed,
        "inference_mode": True,
        "target_modules": list(decomposition.parts),
    }
    with new_directory(out) as partial:
        write_tensors_atomic(partial / ADAPTER_WEIGHTS, tensors)
        (partial / ADAPTER_CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def left_out(values: Tensor, rank: int) -> float:
    """Share of a matrix's Frobenius norm beyond its first `rank` singular values."""
    squares = values.double().square()
    return math.sqrt(float(squares[rank:].sum() / squares.sum().clamp(min=1e-300)))


def module_of(stored: str, parameters: Sequence[str]) -> str:
    """The linear layer, by its name in the loaded model, whose weight is stored under a name.

    Old checkpoints leave a prefix out and multimodal ones add one: a stored name belongs to the one parameter that is
    its end or ends with it.

    Raises:
        InputError: No parameter fits, or several do, or it is no weight of a layer of its own (fused experts).
    """
    found = [
        name for name in parameters if name == stored or name.endswith(f".{stored}") or stored.endswith(f".{name}")
    ]
    if len(found) != 1 or not found[0].endswith(".weight"):
        raise InputError(
            f"{stored!r} is not the weight of one linear layer of the loaded model, so LoRA cannot hold its change. "
            "Use the run's delta: srmu apply."
        )
    return found[0].removesuffix(".weight")
