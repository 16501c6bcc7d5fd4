"""What a caller in Python gives to `unlearn`, as a config: texts from objects, and a model that may be one."""

import dataclasses
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from srmu.config.groups import TopicConfig
from srmu.config.settings import UnlearnConfig, make_config
from srmu.config.sources import TEXT, as_source
from srmu.errors import InputError
from srmu.inputs.formats import AUTO
from srmu.inputs.objects import documents_of

Texts = str | Path | Iterable[Any] | None
"""Strings and paths, or a table with a column of texts (a `datasets.Dataset`, a pandas Series or frame)."""
_GROUPS = ("target", "training", "data", "output")


def config_from_arguments(model: Any, given: Mapping[str, Any], tokenizer: Any, stack: ExitStack) -> UnlearnConfig:
    """A config from the arguments of `unlearn`; single settings win over groups, and groups over the preset.

    Args:
        model: A path, a hub id or a Transformers model, which is saved to a directory that lasts as long as `stack`.
        given: Settings, texts, and groups of settings.
        tokenizer: Of a model that is an object.
        stack: Holds what must last.

    Raises:
        InputError: If something is missing or wrong.
    """
    settings: dict[str, Any] = {}
    for name in _GROUPS:
        if (group := given.get(name)) is not None:
            settings |= {each.name: getattr(group, each.name) for each in dataclasses.fields(group)}
    settings |= {name: value for name, value in given.items() if name not in _GROUPS}
    text_field = str(settings.get("text_field", AUTO))
    for role in ("forget", "retain"):
        if role in settings:
            settings[role] = as_sources(settings[role], role, text_field)
    settings["topics"] = [_topic(topic, text_field) for topic in settings.get("topics", ())]
    settings["questions"] = {name: str(path) for name, path in dict(settings.get("questions", {})).items()}
    settings["model"] = _model_directory(model, tokenizer, stack)
    if isinstance(settings.get("out"), Path):
        settings["out"] = str(settings["out"])
    return make_config(settings)


def as_sources(texts: Texts, role: str, text_field: str) -> list[str]:
    """Texts given in the call as a config writes them down; see `config.sources` for what a string is.

    The cells of a table are texts, whatever files there are.

    Raises:
        InputError: If something else than text is found.
    """
    if texts is None:
        return []
    if isinstance(texts, (str, Path)):
        return [as_source(texts)]
    if isinstance(texts, Iterator):
        texts = list(texts)
    if isinstance(texts, Sequence) and all(isinstance(item, (str, Path)) for item in texts):
        return (
            [as_source(item) for item in texts]
            if isinstance(texts, (list, tuple))
            else [TEXT + str(item) for item in texts]
        )
    return [TEXT + document.as_text() for document in documents_of(texts, role=role, text_field=text_field).documents]


def _topic(topic: Any, text_field: str) -> dict[str, Any]:
    given = dict(dataclasses.asdict(topic) if isinstance(topic, TopicConfig) else topic)
    for role in ("forget", "retain"):
        if role in given:
            given[role] = as_sources(given[role], role, text_field)
    return given


def _model_directory(model: Any, tokenizer: Any, stack: ExitStack) -> str:
    if model is None:
        raise InputError("A model was not given. Pass a path, a hub id or a Transformers model.")
    if isinstance(model, (str, Path)):
        return str(model)
    if tokenizer is None:
        raise InputError("A model object was given without its tokenizer. Pass tokenizer= too.")
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="srmu-model-", ignore_cleanup_errors=True)))
    try:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    except (AttributeError, ValueError, NotImplementedError) as error:
        raise InputError(
            f"A {type(model).__name__} cannot be saved as a checkpoint ({error}). Pass a path instead."
        ) from None
    return str(folder)
