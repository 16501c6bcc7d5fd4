"""Load the embedding and decoder layers 0..l of a checkpoint, and nothing else of it."""

from dataclasses import dataclass

import torch
from torch import nn

from srmu.errors import InputError
from srmu.surgery.checkpoint import Checkpoint
from srmu.surgery.layers import find_decoder_layers


@dataclass(frozen=True)
class TruncatedModel:
    """The first layers of a decoder.

    Attributes:
        inner: The model without its head; in eval mode, no parameter requires a gradient, dropout is off.
        layers: Its decoder layers 0..l.
        layers_name: Dotted name of the list within `inner`, such as `layers` or `h`.
        key_prefix: What stands before `layers_name` in the names of the stored tensors, such as `model.`.
        family: `model_type` of the text model.
        vocab_size: Rows of the embedding.
    """

    inner: nn.Module
    layers: nn.ModuleList
    layers_name: str
    key_prefix: str
    family: str
    vocab_size: int

    @property
    def hidden_size(self) -> int:
        """Width d of the residual stream."""
        return int(self.inner.config.hidden_size)


def text_config(checkpoint: Checkpoint, *, trust_remote_code: bool = False):
    """The config of the text decoder, taken out of a multi-modal one where it is nested.

    Raises:
        InputError: If Transformers does not know the model type.
    """
    from transformers import AutoConfig

    try:
        config = AutoConfig.from_pretrained(checkpoint.path, trust_remote_code=trust_remote_code)
    except (ValueError, KeyError, OSError) as error:
        family = checkpoint.config.get("model_type")
        raise InputError(
            f"Model family {family!r} was asked for, which this version of Transformers cannot load "
            f"({str(error).splitlines()[0][:160]}). Use a decoder family it knows, or --trust-remote-code."
        ) from None
    return config.get_text_config(decoder=True)


def load_truncated(
    checkpoint: Checkpoint,
    num_layers: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
    trust_remote_code: bool = False,
    eager: bool = False,
) -> TruncatedModel:
    """Read the embedding and the first `num_layers` decoder layers, tensor by tensor, from the shards.

    Transformers builds the module and converts names and layouts (experts, fused projections); tensors of other layers
    are never read. The final norm is replaced by the identity, so that the model's output is the residual stream.

    Args:
        checkpoint: An opened checkpoint.
        num_layers: l + 1.
        dtype: Compute dtype of the frozen weights.
        device: Where they go.
        trust_remote_code: Run model code that comes with the checkpoint.
        eager: Use the plain attention and expert kernels (float64 needs them).

    Raises:
        InputError: If the family is unknown, is no decoder-only model, or tensors are missing from the files.
    """
    from transformers import AutoModel

    config = text_config(checkpoint, trust_remote_code=trust_remote_code)
    depth = config.num_hidden_layers
    _cut_config(config, num_layers)
    kwargs = {"attn_implementation": "eager", "experts_implementation": "eager"} if eager else {}
    with torch.device("meta"):
        skeleton = AutoModel.from_config(config, trust_remote_code=trust_remote_code)
    layers_name, _ = find_decoder_layers(skeleton, num_layers)
    prefix = _key_prefix(checkpoint, skeleton)
    base_prefix = skeleton.base_model_prefix + "."
    key_mapping = None if prefix in ("", base_prefix) else {"^" + prefix.replace(".", r"\."): ""}
    inner, info = AutoModel.from_pretrained(
        checkpoint.path,
        config=config,
        dtype=dtype,
        key_mapping=key_mapping,
        use_safetensors=True,
        trust_remote_code=trust_remote_code,
        output_loading_info=True,
        **kwargs,
    )
    missing = sorted(info["missing_keys"]) + sorted(str(key) for key in info["mismatched_keys"])
    if missing:
        raise InputError(
            f"Tensor {missing[0]!r} of layers 0 to {num_layers - 1} was asked for, but the checkpoint's files lack it"
            f" or hold another shape ({len(missing)} in all). The checkpoint does not fit its config.json."
        )
    for name, child in inner.named_children():
        if name in ("norm", "ln_f", "final_layer_norm"):
            setattr(inner, name, nn.Identity())
    inner.requires_grad_(False).eval().to(device)
    inner.config.use_cache = False
    inner.config.num_layers_before_truncation = depth
    return TruncatedModel(
        inner=inner,
        layers=inner.get_submodule(layers_name),
        layers_name=layers_name,
        key_prefix=prefix,
        family=config.model_type,
        vocab_size=int(inner.get_input_embeddings().weight.shape[0]),
    )


def _cut_config(config, num_layers: int) -> None:
    """Shorten the depth and every per-layer list of the config in place."""
    depth = config.num_hidden_layers
    for name, value in list(vars(config).items()):
        if isinstance(value, list) and len(value) == depth and name != "mlp_only_layers":
            setattr(config, name, value[:num_layers])
    config.num_hidden_layers = num_layers


def _key_prefix(checkpoint: Checkpoint, skeleton: nn.Module) -> str:
    """What stands before the inner model's names in the files: found from the embedding, which every layout has.

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
            f"The token embedding {name!r} with shape {list(shape)} was asked for, but the checkpoint's files hold no such "
            "tensor. The checkpoint does not fit its config.json."
        )
    return min(prefixes, key=len)
