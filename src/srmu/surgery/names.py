"""Names both ways: parameters of the loaded layers and the tensors in the checkpoint's files.

Most are one to one. Fused parameters (all experts of a layer) are several tensors in the files; Transformers' own
conversion table splits them, so that what is written is what it reads.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from srmu.errors import InputError
from srmu.surgery.checkpoint import Checkpoint, read_tensor
from srmu.surgery.truncate import TruncatedModel


def stored_tensors(
    truncated: TruncatedModel, checkpoint: Checkpoint, parameters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Turn parameters of the truncated model into tensors under their stored names, values unchanged.

    Args:
        truncated: The loaded layers.
        checkpoint: Where they came from.
        parameters: Parameter name within `truncated.inner` -> value, any dtype.

    Returns:
        Stored name -> tensor of the stored shape, in the dtype that was given.

    Raises:
        InputError: If a tensor has no counterpart in the files.
    """
    from transformers.core_model_loading import revert_weight_conversion

    renamed = revert_weight_conversion(truncated.inner, dict(parameters))
    base_prefix = truncated.inner.base_model_prefix + "."
    result = {}
    for name, tensor in renamed.items():
        short = name.removeprefix(truncated.key_prefix).removeprefix(base_prefix)
        candidates = (truncated.key_prefix + short, name, short)
        stored = next((key for key in candidates if key in checkpoint.tensors), None)
        if stored is None or tuple(checkpoint.tensors[stored].shape) != tuple(tensor.shape):
            raise InputError(
                f"Parameter {name!r} with shape {list(tensor.shape)} was trained, but the checkpoint's files hold no "
                "such tensor. srmu cannot write this layout; please report the model."
            )
        result[stored] = tensor.contiguous()
    return result


def stored_results(
    truncated: TruncatedModel, checkpoint: Checkpoint, masters: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Trained masters as they are to be written: under their stored names, on the CPU, in the stored dtype.

    Where the compute dtype holds less than the stored one, the masters began at rounded weights. Only what training
    added to those is then carried over, so that an entry that did not move keeps its stored bits.

    Args:
        truncated: The loaded layers; their own weights are still the frozen ones.
        checkpoint: Where they came from.
        masters: Parameter name within `truncated.inner` -> trained value.

    Raises:
        InputError: If a tensor has no counterpart in the files.
    """
    parameters = dict(truncated.inner.named_parameters())
    frozen = stored_tensors(truncated, checkpoint, {name: parameters[name].detach() for name in masters})
    results = {}
    for name, trained in stored_tensors(truncated, checkpoint, masters).items():
        base = read_tensor(checkpoint, name)
        value = trained.cpu()
        if torch.promote_types(base.dtype, frozen[name].dtype) != frozen[name].dtype:
            value = base.to(value.dtype) + (value - frozen[name].cpu().to(value.dtype))
        results[name] = value.to(base.dtype).contiguous()
    return results


def check_names(truncated: TruncatedModel, checkpoint: Checkpoint, names: list[str]) -> dict[str, list[str]]:
    """Prove, before training, that each parameter's stored tensors hold the very values that were loaded.

    Returns:
        Parameter name -> its stored names.

    Raises:
        InputError: If one is not found, or differs from what is in the files.
    """
    parameters = dict(truncated.inner.named_parameters())
    mapping = {}
    for name in names:
        loaded = stored_tensors(truncated, checkpoint, {name: parameters[name].detach()})
        for stored, tensor in loaded.items():
            if not torch.equal(read_tensor(checkpoint, stored).to(tensor.dtype), tensor.cpu()):
                raise InputError(
                    f"Parameter {name!r} was matched with the stored tensor {stored!r}, but their values differ. "
                    "srmu cannot write this layout; please report the model."
                )
        mapping[name] = list(loaded)
    return mapping
