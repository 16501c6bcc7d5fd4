"""Load the embedding and decoder layers 0..l of a checkpoint, and nothing else of it."""

import copy
import re
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from srmu.errors import InputError
from srmu.surgery.checkpoint import Checkpoint, check_scales
from srmu.surgery.layers import find_decoder_layers
from srmu.surgery.quiet import quiet_loading
from srmu.surgery.streaming import streaming_options, tie_folder

# Names of the last norm over the families; it lies behind the residual stream that the loss sees.
FINAL_NORMS = ("norm", "ln_f", "final_layer_norm")


@dataclass(frozen=True)
class TruncatedModel:
    """The first layers of a decoder.

    Attributes:
        inner: The model without its head; in eval mode, no parameter requires a gradient, dropout is off.
        layers: Its decoder layers 0..l.
        layers_name: Dotted name of the list within `inner`, such as `layers` or `h`.
        key_prefix: What comes before `layers_name` in the names of the stored tensors, such as `model.`.
        family: `model_type` of the text model.
        vocab_size: Rows of the embedding.
    """

    inner: Any
    layers: nn.ModuleList
    layers_name: str
    key_prefix: str
    family: str
    vocab_size: int

    @property
    def hidden_size(self) -> int:
        """Width d of the residual stream."""
        return int(self.inner.config.hidden_size)


def text_config(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> Any:
    """The config of the text decoder, taken out of a multi-modal one where it is nested.

    Raises:
        InputError: If Transformers does not know the model type, or the weights need a scale that is not there.
    """
    from transformers import AutoConfig

    check_scales(checkpoint)
    try:
        config = AutoConfig.from_pretrained(checkpoint.path, trust_remote_code=trust_remote_code)
    except Exception as error:  # configs are validated by libraries that raise errors of their own
        family = checkpoint.config.get("model_type")
        raise InputError(
            f"Model family {family!r} was asked for, which this version of Transformers cannot load "
            f"({_first_line(error)}). Use a decoder family it knows, or --trust-remote-code."
        ) from None
    return config.get_text_config(decoder=True)


@dataclass(frozen=True)
class Skeleton:
    """The first layers of a model without their weights: names and shapes alone, on the meta device.

    Attributes:
        inner: The module.
        layers: Its decoder layers.
        layers_name: Dotted name of the list within `inner`.
        key_prefix: See `TruncatedModel`.
        family: `model_type` of the text model.
        vocab_size: Rows of the embedding.
        config: The shortened config.
    """

    inner: Any
    layers: nn.ModuleList
    layers_name: str
    key_prefix: str
    family: str
    vocab_size: int
    config: Any


def build_skeleton(checkpoint: Checkpoint, num_layers: int, *, trust_remote_code: bool = False) -> Skeleton:
    """Build the embedding and the first `num_layers` layers without weights, and find their names in the files.

    Raises:
        InputError: If the family is unknown or is no decoder-only model with a token embedding in the files.
    """
    from transformers import AutoModel

    config = text_config(checkpoint, trust_remote_code=trust_remote_code)
    _cut_config(config, num_layers)
    try:
        with torch.device("meta"):
            inner = AutoModel.from_config(config, trust_remote_code=trust_remote_code)
    except Exception as error:  # any line of any family's code may be the first to meet a value that makes no sense
        raise InputError(
            f"A {config.model_type!r} model cannot be built from its config.json ({_first_line(error)}). "
            "Check that file."
        ) from None
    layers_name, layers = find_decoder_layers(inner, num_layers)
    return Skeleton(
        inner=inner,
        layers=layers,
        layers_name=layers_name,
        key_prefix=_key_prefix(checkpoint, inner),
        family=config.model_type,
        vocab_size=int(inner.get_input_embeddings().weight.shape[0]),
        config=config,
    )


def load_truncated(
    checkpoint: Checkpoint,
    num_layers: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
    trust_remote_code: bool = False,
    on_disk_below: int = 0,
) -> TruncatedModel:
    """Read the embedding and the first `num_layers` decoder layers, tensor by tensor, from the shards.

    Transformers builds the module and converts names and layouts (experts, fused projections); tensors of other layers
    are never read. The final norm is replaced by the identity, so that the model's output is the residual stream.

    Args:
        checkpoint: An opened checkpoint.
        num_layers: l + 1.
        dtype: Compute dtype of the frozen weights; in float64 the plain attention and expert kernels are used.
        device: Where they go.
        trust_remote_code: Run model code that comes with the checkpoint.
        on_disk_below: Layers below this one stay on disk; every pass reads each in its turn.

    Raises:
        InputError: If the family is unknown, is no decoder-only model, or tensors are missing from the files.
    """
    from transformers import AutoModel

    from srmu.surgery.attention import use_causal_blocks

    skeleton = build_skeleton(checkpoint, num_layers, trust_remote_code=trust_remote_code)
    prefix = skeleton.key_prefix
    known = ("", skeleton.inner.base_model_prefix + ".")
    placed: dict[str, Any] = {}
    if on_disk_below:
        placed = streaming_options(skeleton.inner, skeleton.layers_name, range(on_disk_below), device)
    kernels = {"attn_implementation": "eager", "experts_implementation": "eager"} if dtype == torch.float64 else {}
    with quiet_loading():
        inner, info = AutoModel.from_pretrained(
            checkpoint.path,
            config=skeleton.config,
            dtype=dtype,
            key_mapping=None if prefix in known else {"^" + re.escape(prefix): ""},
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below
            **kernels,
            **placed,
        )
    if placed:
        tie_folder(inner, placed)
    missing = sorted({*info["missing_keys"], *(mismatch[0] for mismatch in info["mismatched_keys"])})
    if missing:
        raise InputError(
            f"Tensor {missing[0]!r} of layers 0 to {num_layers - 1} was asked for, but the checkpoint's files lack it"
            f" or hold another shape ({len(missing)} in all). The checkpoint does not fit its config.json."
        )
    for name, _ in inner.named_children():
        if name in FINAL_NORMS:
            setattr(inner, name, nn.Identity())
    inner.requires_grad_(False).eval()
    if device.type == "cpu":
        use_causal_blocks(inner)
    if not placed:
        inner.to(device)
    return TruncatedModel(
        inner=inner,
        layers=inner.get_submodule(skeleton.layers_name),
        layers_name=skeleton.layers_name,
        key_prefix=prefix,
        family=skeleton.family,
        vocab_size=skeleton.vocab_size,
    )


def shortened(truncated: TruncatedModel, num_layers: int) -> TruncatedModel:
    """The first `num_layers` layers of a loaded model; weights are shared, and the given model stays as it is.

    Raises:
        ValueError: If there are not that many.
    """
    if not 1 <= num_layers <= len(truncated.layers):
        raise ValueError(f"num_layers={num_layers!r} is out of range. Choose 1 to {len(truncated.layers)}.")
    inner = _with_own_children(truncated.inner)
    inner.config = copy.deepcopy(inner.config)
    _cut_config(inner.config, num_layers)
    parent, *path = inner, *truncated.layers_name.split(".")
    for name in path[:-1]:
        child = _with_own_children(parent.get_submodule(name))
        setattr(parent, name, child)
        parent = child
    setattr(parent, path[-1], nn.ModuleList(list(truncated.layers)[:num_layers]))
    return replace(truncated, inner=inner, layers=inner.get_submodule(truncated.layers_name))


def _with_own_children(module: Any) -> Any:
    """A copy of a module whose children can be exchanged; the children themselves are shared."""
    shallow = copy.copy(module)
    shallow._modules = dict(module._modules)
    return shallow


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _cut_config(config: Any, num_layers: int) -> None:
    """Shorten the depth and every per-layer list of the config in place."""
    depth = config.num_hidden_layers
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == depth and name != "mlp_only_layers":
            setattr(config, name, value[:num_layers])
    config.num_hidden_layers = num_layers


def _key_prefix(checkpoint: Checkpoint, skeleton: Any) -> str:
    """What comes before the inner model's names in the files: found from the embedding, which every layout has.

    Old GPT-2 files have no prefix, nested models several; the vision tower of a multi-modal model has no token
    embedding of the text model's name.
    """
    embedding = skeleton.get_input_embeddings()
    name = next(f"{path}.weight" for path, module in skeleton.named_modules() if module is embedding)
    shape = tuple(embedding.weight.shape)
    prefixes = [
        stored.name[: -len(name)]
        for stored in checkpoint.tensors.values()
        if (stored.name == name or stored.name.endswith("." + name)) and tuple(stored.shape) == shape
    ]
    if not prefixes:
        raise InputError(
            f"The token embedding {name!r} with shape {list(shape)} was asked for, but the checkpoint's files hold no "
            "such tensor. The checkpoint does not fit its config.json."
        )
    return min(prefixes, key=len)
