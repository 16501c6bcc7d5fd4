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
from srmu.surgery.model_class import check_decoder, check_stream, decoder_skeleton, first_line
from srmu.surgery.quiet import quiet_loading
from srmu.surgery.streaming import streaming_options, tie_folder

# Names of the last norm over the families; it lies behind the residual stream that the loss sees.
FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "norm_f", "final_norm", "ln_out", "out_norm")


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
        InputError: See `whole_config`.
    """
    return whole_config(checkpoint, trust_remote_code=trust_remote_code).get_text_config(decoder=True)


def whole_config(checkpoint: Checkpoint, *, trust_remote_code: bool = False) -> Any:
    """The config of the whole model, which is a decoder or holds one.

    Raises:
        InputError: If Transformers does not know the model type, it is no decoder, or the weights need a scale that is
            not there.
    """
    from transformers import AutoConfig

    check_scales(checkpoint)
    try:
        config = AutoConfig.from_pretrained(checkpoint.path, trust_remote_code=trust_remote_code)
    except Exception as error:  # configs are validated by libraries that raise errors of their own
        family = checkpoint.config.get("model_type")
        raise InputError(
            f"Model family {family!r} was asked for, which this version of Transformers cannot load "
            f"({first_line(error)}). Use a decoder family it knows, or --trust-remote-code."
        ) from None
    check_decoder(config)
    return config


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
        depth: Layers of the whole model.
    """

    inner: Any
    layers: nn.ModuleList
    layers_name: str
    key_prefix: str
    family: str
    vocab_size: int
    config: Any
    depth: int


def build_skeleton(checkpoint: Checkpoint, num_layers: int, *, trust_remote_code: bool = False) -> Skeleton:
    """Build the embedding and the first `num_layers` layers without weights, and find their names in the files.

    Raises:
        InputError: If the family is unknown or is no decoder-only model with a token embedding in the files.
    """
    whole = whole_config(checkpoint, trust_remote_code=trust_remote_code)
    config = whole.get_text_config(decoder=True)
    depth = config.num_hidden_layers
    _cut_config(config, num_layers)
    inner = decoder_skeleton(whole, config, trust_remote_code=trust_remote_code)
    layers_name, layers = find_decoder_layers(inner, num_layers)
    check_stream(inner, layers)
    return Skeleton(
        inner=inner,
        layers=layers,
        layers_name=layers_name,
        key_prefix=_key_prefix(checkpoint, inner),
        family=config.model_type,
        vocab_size=int(inner.get_input_embeddings().weight.shape[0]),
        config=config,
        depth=depth,
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
    from srmu.surgery.attention import use_causal_blocks

    skeleton = build_skeleton(checkpoint, num_layers, trust_remote_code=trust_remote_code)
    prefix = skeleton.key_prefix
    known = ("", skeleton.inner.base_model_prefix + ".")
    placed: dict[str, Any] = {}
    if on_disk_below:
        placed = streaming_options(skeleton.inner, skeleton.layers_name, range(on_disk_below), device)
    kernels = {"attn_implementation": "eager", "experts_implementation": "eager"} if dtype == torch.float64 else {}
    with quiet_loading():
        inner, info = type(skeleton.inner).from_pretrained(
            checkpoint.path,
            config=skeleton.config,
            dtype=dtype,
            key_mapping=None if prefix in known else {"^" + re.escape(prefix): ""},
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # reported below
            **kernels,
            **placed,
        )
    if placed:
        tie_folder(inner, placed)
    _check_complete(checkpoint, skeleton, inner, info)
    for place in {inner, inner.get_submodule(skeleton.layers_name.rpartition(".")[0])}:
        for name, _ in place.named_children():
            if name in FINAL_NORMS:
                setattr(place, name, nn.Identity())
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


def _cut_config(config: Any, num_layers: int) -> None:
    """Shorten the depth and every per-layer list of the config in place."""
    depth = config.num_hidden_layers
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == depth and name != "mlp_only_layers":
            setattr(config, name, value[:num_layers])
    config.num_hidden_layers = num_layers
    if shared := getattr(config, "num_kv_shared_layers", 0):
        # Gemma: the last so many layers take keys and values from the layer before them.
        config.num_kv_shared_layers = max(0, num_layers - (depth - shared))


def _check_complete(checkpoint: Checkpoint, skeleton: Skeleton, inner: Any, info: dict[str, Any]) -> None:
    """See that every tensor of the layers came from the files; of those that hold a slice for each layer, take ours."""
    mismatched = {name: tuple(stored) for name, stored, _ in info["mismatched_keys"]}
    missing = set(info["missing_keys"]) | {
        name for name, stored in mismatched.items() if not _take_slice(checkpoint, skeleton, inner, name, stored)
    }
    unused = (*FINAL_NORMS, "pooler")
    outside = {name for name in missing if not name.startswith(skeleton.layers_name + ".")}
    wrong = sorted(missing - {name for name in outside if any(part in unused for part in name.split("."))})
    if wrong:
        raise InputError(
            f"Tensor {wrong[0]!r} of layers 0 to {len(skeleton.layers) - 1} was asked for, but the checkpoint's files "
            f"lack it or hold another shape ({len(wrong)} in all). Either the checkpoint does not fit its config.json, "
            f"or srmu cannot shorten a {skeleton.family!r} model; please report the model."
        )


def _take_slice(checkpoint: Checkpoint, skeleton: Skeleton, inner: Any, name: str, shape: tuple[int, ...]) -> bool:
    """Fill a tensor that the files hold for all layers, one after another on one axis (Gemma's per-layer embeddings).

    Returns:
        Whether it is such a tensor.
    """
    from safetensors import safe_open

    parameter = inner.get_parameter(name)
    stored = checkpoint.tensors.get(skeleton.key_prefix + name)
    longer = [axis for axis, (own, whole) in enumerate(zip(parameter.shape, shape, strict=True)) if own != whole]
    if stored is None or len(longer) != 1:
        return False
    axis, layers = longer[0], len(skeleton.layers)
    if shape[axis] * layers != parameter.shape[axis] * skeleton.depth:
        return False
    own = tuple(slice(0, size) for size in parameter.shape)
    with safe_open(checkpoint.path / stored.shard, "pt") as file, torch.no_grad():
        parameter.copy_(file.get_slice(stored.name)[own])
    return True


def _key_prefix(checkpoint: Checkpoint, skeleton: Any) -> str:
    """What comes before the inner model's names in the files: found from the embedding, which every layout has.

    Old GPT-2 files have no prefix, nested models several; the vision tower of a multi-modal model has no token
    embedding of the text model's name.
    """
    from transformers.core_model_loading import revert_weight_conversion

    embedding = skeleton.get_input_embeddings()
    own = next(f"{path}.weight" for path, module in skeleton.named_modules() if module is embedding)
    shape = tuple(embedding.weight.shape)
    for name in (own, *revert_weight_conversion(skeleton, {own: embedding.weight})):
        prefixes = [
            stored.name[: -len(name)]
            for stored in checkpoint.tensors.values()
            if (stored.name == name or stored.name.endswith("." + name)) and tuple(stored.shape) == shape
        ]
        if prefixes:
            return min(prefixes, key=len)
    raise InputError(
        f"The token embedding {own!r} with shape {list(shape)} was asked for, but the checkpoint's files hold no such "
        "tensor. Either the checkpoint does not fit its config.json, or srmu cannot read this layout; please report "
        "the model."
    )
