"""The settings of a folder of requests, and the config of one run of it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srmu.config.settings import UnlearnConfig, load_yaml, make_config
from srmu.config.sources import GENERAL, HUB, WRITTEN
from srmu.errors import InputError
from srmu.job.erasure.folder import Folder
from srmu.results.erasure.records import ErasureRequest

# What the requests or the run itself say.
_NOT_HERE = ("forget", "topics", "out", "overwrite", "search")
# Of a person's texts none is left out to be measured alone: all are to be forgotten.
_DEFAULTS: Mapping[str, Any] = {"eval_fraction": 0.0}


def read_settings(folder: Folder) -> dict[str, Any]:
    """The settings of a folder, with whole paths.

    Raises:
        InputError: The file is missing or unreadable, names no model, or has a key that it may not have.
    """
    settings = {**_DEFAULTS, **load_yaml(folder.settings)}
    if not settings.get("model") or not isinstance(settings["model"], str):
        raise InputError(f"{str(folder.settings)!r} names no model. Write 'model: PATH' in it.")
    if wrong := [key for key in _NOT_HERE if key in settings]:
        raise InputError(
            f"{str(folder.settings)!r} has a key {wrong[0]!r}, which belongs to a request or to one run. Remove it."
        )
    settings["model"] = _whole(folder, settings["model"])
    retain = settings.get("retain") or []
    settings["retain"] = [
        whole_source(folder, str(source)) for source in ([retain] if isinstance(retain, str) else retain)
    ]
    questions = settings.get("questions") or {}
    if isinstance(questions, Mapping):
        questions = {str(name): _whole(folder, str(path)) for name, path in questions.items()}
    settings["questions"] = questions
    make_config({key: value for key, value in settings.items() if value or key != "retain"})
    return settings


def config_of(
    folder: Folder, settings: Mapping[str, Any], requests: Sequence[ErasureRequest], base: Path, out: Path
) -> UnlearnConfig:
    """The config of a run: each request's questions are a group, and requests that keep the same texts are a topic.

    They share one since topics take turns: a run would need as many times the steps as there are requests, and read the
    texts to keep once for each.

    Args:
        folder: Of the requests.
        settings: As read.
        requests: Those to carry out.
        base: Checkpoint to begin with.
        out: Its run directory.
    """
    questions = dict(settings["questions"])
    questions |= {
        group_of(request.id): str(folder.resolve(request.questions.path).absolute())
        for request in requests
        if request.questions
    }
    own = {key: value for key, value in settings.items() if key != "retain"}
    own |= {"model": str(base), "questions": questions, "out": str(out), "overwrite": True}
    return make_config({**own, "topics": _topics(folder, settings, requests)})


def _topics(
    folder: Folder, settings: Mapping[str, Any], requests: Sequence[ErasureRequest]
) -> list[dict[str, str | list[str]]]:
    """One topic for all requests that keep the same texts, named after the first of them."""
    by_retain: dict[tuple[str, ...], list[ErasureRequest]] = {}
    for request in requests:
        by_retain.setdefault(tuple(retain_of(folder, settings, request)), []).append(request)
    return [
        {
            "name": together[0].id + (f" and {len(together) - 1} more" if len(together) > 1 else ""),
            "forget": [str(folder.resolve(each.path).absolute()) for request in together for each in request.texts],
            "retain": list(retain),
        }
        for retain, together in by_retain.items()
    ]


def retain_of(folder: Folder, settings: Mapping[str, Any], request: ErasureRequest) -> list[str]:
    """What must be kept beside a request: texts of all runs, then its own."""
    return [*settings["retain"], *(whole_source(folder, source) for source in request.retain)]


def group_of(request_id: str) -> str:
    """The group of a request's questions and texts, which is on the forget side by its name."""
    return f"forget-{request_id}"


def whole_source(folder: Folder, source: str) -> str:
    """A source of texts to keep; a path is relative to the folder."""
    if source in (*WRITTEN, GENERAL) or source.startswith(HUB):
        return source
    return str(folder.resolve(source).absolute())


def _whole(folder: Folder, path: str) -> str:
    """A path relative to the folder where there is something, else as it is: a hub id, or a mistake to be named."""
    found = folder.resolve(path)
    return str(found.absolute()) if found.exists() else path
