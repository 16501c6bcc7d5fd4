"""Rounding by a GGUF file of 4 bits per weight, as llama.cpp runs it: the file is written, read back, and asked.

Definition: every matrix of the decoder layers is rounded to `Q4_0` (blocks of 32 weights along its inputs, a 16-bit
scale each), embeddings and vocabulary head to `Q8_0`, what is not a matrix stays in 32 bits, all by the quantiser of
the Python package `gguf`. The weights of that file, read back, are asked. The tensors have the checkpoint's own names:
conversion for llama.cpp renames tensors and permutes rows, neither of which changes what a block is rounded to. Three
models are rounded in the same way: result, base, and the base with noise of the same norm as the result's change (see
`quantise.py`). llama.cpp keeps embeddings in `Q6_K`, and ships more often `Q4_K_M`: the package reads these and cannot
write them. Source: the risk of rounding is that of `quantise.py` (arXiv 2410.16454, abstract read), the format that of
llama.cpp. Budget: one pass over the questions per model. Cost: a file of about 0.6 bytes per weight, then deleted.
"""

import tempfile
from pathlib import Path
from typing import Any

import torch

from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.hidden import decoder_layers
from srmu.evaluation.attacks.outcome import Skipped
from srmu.evaluation.attacks.quantise import record_of_rounding
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.results.attack_records import AttackRecord

BLOCK = 32
_FILE = "rounded.gguf"


def gguf_q4(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """Round by a GGUF file."""
    return record_of_rounding(setting, cells, through_gguf_, {"layers": "Q4_0", "embeddings": "Q8_0"})


def through_gguf_(model: Any) -> Any:
    """Write the model to a GGUF file and put the weights of that file into it, in place.

    Raises:
        Skipped: If the package gguf is not installed.
    """
    try:
        import gguf  # noqa: F401
    except ImportError:
        raise Skipped("writing GGUF needs the package gguf: pip install 'srmu[attack]'") from None
    with tempfile.TemporaryDirectory() as folder:
        write_gguf(model, Path(folder) / _FILE)
        read_gguf_(model, Path(folder) / _FILE)
    return model


def write_gguf(model: Any, path: Path) -> None:
    """A file with the rounded weights under the model's own names."""
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    layers = {id(parameter) for parameter in decoder_layers(model).parameters()}
    turned = _turned(model)
    writer = GGUFWriter(path, model.config.model_type)
    for name, parameter in model.named_parameters():
        weights = parameter.detach().float().cpu()
        weights = weights.T if name in turned else weights
        kind = GGMLQuantizationType.F32
        if weights.dim() > 1 and weights.shape[-1] % BLOCK == 0:
            kind = GGMLQuantizationType.Q4_0 if id(parameter) in layers else GGMLQuantizationType.Q8_0
        writer.add_tensor(name, quantize(weights.contiguous().numpy(), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_gguf_(model: Any, path: Path) -> None:
    """Put the weights of such a file into the model, in place."""
    from gguf import GGUFReader
    from gguf.quants import dequantize

    turned = _turned(model)
    with torch.no_grad():
        for tensor in GGUFReader(path).tensors:
            parameter = model.get_parameter(tensor.name)
            weights = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
            # A file's shape has the fastest axis first.
            shape = [int(size) for size in reversed(tensor.shape)]
            weights = weights.reshape(shape)
            parameter.copy_(weights.T if tensor.name in turned else weights)


def _turned(model: Any) -> set[str]:
    """Matrices whose inputs are on the first axis: those of GPT-2."""
    from transformers.pytorch_utils import Conv1D

    return {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Conv1D)}
