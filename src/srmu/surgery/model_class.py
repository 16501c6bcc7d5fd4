"""Which class of Transformers a checkpoint's model is: whole, and its text decoder alone."""

from contextlib import suppress
from typing import Any

import torch

from srmu.errors import InputError
from srmu.surgery.taps import tapped_outputs


def auto_class(config: Any) -> Any:
    """The auto class that loads a whole model: a decoder, or one inside a model that also takes images or sound."""
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM

    known = (AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForMultimodalLM)
    # Remote code names its own classes, for the first of them.
    return next((kind for kind in known if type(config) in kind._model_mapping), AutoModelForCausalLM)


def whole_skeleton(config: Any, *, trust_remote_code: bool = False) -> Any:
    """The whole model without weights: names and shapes, on the meta device.

    Raises:
        InputError: If Transformers has no such model, or cannot build it from this config.
    """
    try:
        with torch.device("meta"):
            return auto_class(config).from_config(config, trust_remote_code=trust_remote_code)
    except Exception as error:  # any line of any family's code may be the first to meet a value that makes no sense
        raise InputError(
            f"A {config.model_type!r} model cannot be built from its config.json ({first_line(error)}). "
            "Check that file."
        ) from None


def decoder_skeleton(config: Any, text: Any, *, trust_remote_code: bool = False) -> Any:
    """The text decoder without its head, on the meta device.

    Args:
        config: Of the whole model.
        text: Of the decoder, shortened to the layers that are wanted; the same object where nothing is nested.
        trust_remote_code: Run model code that comes with the checkpoint.

    Raises:
        InputError: If it cannot be built.
    """
    from transformers import AutoModel

    try:
        with torch.device("meta"):
            if type(text) in AutoModel._model_mapping or hasattr(text, "auto_map"):
                return AutoModel.from_config(text, trust_remote_code=trust_remote_code)
        # A decoder that no auto class knows by itself.
        return type(whole_skeleton(config, trust_remote_code=trust_remote_code).get_decoder())._from_config(text)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"A {text.model_type!r} model cannot be built from its config.json ({first_line(error)}). Check that file."
        ) from None


def check_stream(inner: Any, layers: Any) -> None:
    """Refuse a decoder whose residual stream is several strands, by a pass over names and shapes alone.

    Args:
        inner: A skeleton, on the meta device.
        layers: Its decoder layers.

    Raises:
        InputError: If a layer gives anything but `[batch, seq, hidden]`.
    """
    with tapped_outputs({"last": layers[-1]}) as outputs, torch.no_grad(), suppress(Exception):
        # Kernels that need values do not run here; the replay looks again, with weights.
        inner(input_ids=torch.zeros((1, 8), dtype=torch.long, device="meta"), use_cache=False)
    if outputs["last"]:
        check_strands(outputs["last"][0], inner.config.model_type)


def check_strands(hidden: Any, family: str) -> None:
    """Refuse a residual stream that is several strands.

    Raises:
        InputError: If it is anything but `[batch, seq, hidden]`.
    """
    if hidden.dim() != 3:
        raise InputError(
            f"The residual stream of a {family!r} model has the shape {list(hidden.shape)}: several strands beside one "
            "another, which srmu cannot train. Use a model of another family."
        )


def check_decoder(config: Any) -> None:
    """Refuse what is no decoder whose tokens see only those before them.

    Raises:
        InputError: For models with an encoder for text, for those that attend both ways, and for those without layers.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    text = config.get_text_config(decoder=True)
    family = config.model_type
    if getattr(config, "is_encoder_decoder", False) or getattr(type(config)(), "is_encoder_decoder", False):
        raise InputError(
            f"Model family {family!r} has an encoder and a decoder, and srmu works on decoders alone. Use a "
            "decoder-only model."
        )
    # A hostile config may hold anything where the decoder's part belongs.
    if getattr(text, "model_type", None) in MODEL_FOR_MASKED_LM_MAPPING_NAMES and not getattr(
        text, "is_decoder", False
    ):
        raise InputError(
            f"Model family {family!r} attends to later tokens too (is_decoder is not true in config.json), and srmu "
            "works on decoders alone. Use a decoder-only model."
        )
    if not isinstance(getattr(text, "num_hidden_layers", None), int):
        raise InputError(
            f"Model family {family!r} does not say how many decoder layers it has (num_hidden_layers). Use a "
            "decoder-only model."
        )


def first_line(error: Exception) -> str:
    """What an error of a library says, on one line, shortened."""
    return " ".join(str(error).split())[:160] or type(error).__name__
