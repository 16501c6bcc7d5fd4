"""Quantisation to 8 and to 4 bits: small changes of weights may be rounded away, and with them the forgetting.

Definition: the linear layers of the decoder layers, fused experts too, are rounded by torchao: 8 bits per weight with a
scale per row (`Int8WeightOnlyConfig`), or 4 bits with a scale for every 32 weights, fewer where a width is no multiple
of 32 (`IntxWeightOnlyConfig`). Three models are rounded in the same way: result, base, and the base with Gaussian noise
of the same norm as the result's change, on each changed matrix. A base that came from a 4-bit file survives 4 bits
better than any changed weights, so the noised base says what rounding does to weights that were merely disturbed.
Source: arXiv 2410.16454 (several ways of rounding; in the mean 21 % of the knowledge that should be gone is there in
full precision and 83 % in 4 bits, for methods with a utility constraint; abstract read). The noised base is ours.
Budget: one pass over the questions per model.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from srmu.evaluation.attacks.asking import ask_both, record_of
from srmu.evaluation.attacks.cells import Cells
from srmu.evaluation.attacks.hidden import decoder_layers
from srmu.evaluation.attacks.measured import measure
from srmu.evaluation.attacks.outcome import Skipped
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.results.attack_records import AttackRecord, Control, Setting

GROUP_SIZE = 32


def int8(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """Round to 8 bits."""
    return _quantise(setting, cells, bits=8)


def int4(setting: AttackSetting, cells: Cells) -> AttackRecord:
    """Round to 4 bits."""
    return _quantise(setting, cells, bits=4)


def _quantise(setting: AttackSetting, cells: Cells, *, bits: int) -> AttackRecord:
    settings = {"bits": bits, "group": None if bits == 8 else GROUP_SIZE}
    return record_of_rounding(setting, cells, lambda model: quantised_(model, bits), settings)


def record_of_rounding(
    setting: AttackSetting, cells: Cells, rounded_: Callable[[Any], Any], settings: Mapping[str, Setting]
) -> AttackRecord:
    """Result, base and noised base, rounded in the same way.

    Args:
        setting: Of the attack.
        cells: Hold the untouched models' numbers.
        rounded_: Rounds a model in place, and gives it.
        settings: The attack's own.
    """
    norms = change_norms(setting.subjects["base"].model(), setting.subjects["result"].model())

    def rounded(side: str) -> Any:
        return rounded_(setting.subjects[side].fresh())

    after = ask_both(setting, setting.tested, setting.kept, rounded)
    noised = setting.subjects["base"].fresh()
    add_noise_(noised, norms, setting.seed)
    noise = measure(setting, rounded_(noised))
    return record_of(
        setting,
        cells,
        after,
        control=Control(model="noised base", forget=noise.forget, kept=noise.kept),
        settings={**settings, "changed_matrices": len(norms)},
    )


def quantised_(model: Any, bits: int) -> Any:
    """Round the matrices of the decoder layers in place.

    The rounded numbers are put back as plain tensors: some families use a layer's weight outside the layer (Mamba), or
    hold the weights of all experts in one tensor.

    Raises:
        Skipped: If torchao is not installed.
    """
    try:
        from torchao.quantization import Int8WeightOnlyConfig, IntxWeightOnlyConfig, PerGroup, quantize_
    except ImportError:
        raise Skipped("quantisation needs the package torchao: pip install 'srmu[attack]'") from None
    matrices = list(_matrices(model))
    group = math.gcd(GROUP_SIZE, *(matrix.shape[1] for matrix in matrices))
    config = (
        Int8WeightOnlyConfig(version=2, set_inductor_config=False)
        if bits == 8
        else IntxWeightOnlyConfig(weight_dtype=torch.int4, granularity=PerGroup(group))  # type: ignore[attr-defined]
    )
    with torch.no_grad():
        for matrix in matrices:
            layer = nn.Linear(matrix.shape[1], matrix.shape[0], bias=False, device="meta")
            layer.weight = nn.Parameter(matrix.clone(memory_format=torch.contiguous_format), requires_grad=False)
            quantize_(layer, config)
            matrix.copy_(layer.weight.dequantize())
    return model


def _matrices(model: Any) -> Iterator[Tensor]:
    """The matrices of the decoder layers, `[out, in]`, sharing the model's memory; of fused experts each by itself."""
    from transformers.pytorch_utils import Conv1D

    for module in decoder_layers(model).modules():
        if isinstance(module, nn.Linear):
            yield module.weight.detach()
        elif isinstance(module, Conv1D):
            yield module.weight.detach().T
        elif not isinstance(module, nn.Conv1d):
            for parameter in module.parameters(recurse=False):
                if parameter.dim() == 3:
                    yield from parameter.detach()


def change_norms(base: Any, result: Any) -> dict[str, float]:
    """Frobenius norm of the change of each parameter that changed."""
    before: dict[str, Tensor] = dict(base.named_parameters())
    norms = {}
    for name, parameter in result.named_parameters():
        norm = float((parameter.detach().float() - before[name].detach().float()).norm())
        if norm > 0:
            norms[name] = norm
    return norms


def add_noise_(model: Any, norms: dict[str, float], seed: int) -> None:
    """Add Gaussian noise of these norms in place."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, norm in norms.items():
            parameter = model.get_parameter(name)
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += (noise * (norm / noise.norm())).to(parameter.device, parameter.dtype)
