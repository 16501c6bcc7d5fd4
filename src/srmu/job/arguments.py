"""The arguments of `unlearn` as a config: lists or single values, and a model that may be an object."""

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from srmu.config.settings import TopicConfig, UnlearnConfig, make_config
from srmu.errors import InputError


def config_from_arguments(settings: Mapping[str, Any], tokenizer: Any, stack: ExitStack) -> UnlearnConfig:
    """A config from arguments; a model object is saved to a directory that lasts as long as `stack`."""
    given = dict(settings)
    for key in ("forget", "retain"):
        if isinstance(given.get(key), str):
            given[key] = [given[key]]
    model = given.get("model")
    if model is None:
        raise InputError("A model was not given. Pass model=PATH, a hub id or a Transformers model.")
    if not isinstance(model, (str, Path)):
        if tokenizer is None:
            raise InputError("A model object was given without its tokenizer. Pass tokenizer= too.")
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="srmu-model-")))
        try:
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        except (AttributeError, ValueError, NotImplementedError) as error:
            raise InputError(
                f"A {type(model).__name__} cannot be saved as a checkpoint ({error}). Pass a path instead."
            ) from None
        given["model"] = str(folder)
    given["topics"] = [
        topic if isinstance(topic, (TopicConfig, Mapping)) else dict(topic) for topic in given.get("topics", ())
    ]
    return make_config(given)
