"""Tasks of lm-evaluation-harness: those that exist, by name or local YAML, and their documents as questions."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from srmu.errors import InputError
from srmu.inputs.question_forms import RawQuestion

TASK_PREFIX = "task:"
"""Before the name of a task, where a file of questions could be named."""


@dataclass(frozen=True)
class HarnessTasks:
    """Tasks that exist.

    Attributes:
        names: Names and YAML paths, as asked.
        manager: The harness's task manager.
        definitions: Of tasks that the harness does not ship; those are then run.
    """

    names: tuple[str, ...]
    manager: Any
    definitions: tuple[dict[str, Any], ...] = ()


def find_tasks(names: Sequence[str]) -> HarnessTasks:
    """Check that the harness knows every task, before any model is loaded.

    Args:
        names: Names of tasks, groups or tags; or paths of YAML files.

    Raises:
        InputError: The harness is not installed, or a task is unknown (with the nearest names).
    """
    files = [name for name in names if name.endswith((".yaml", ".yml"))]
    for file in files:
        if not Path(file).is_file():
            raise InputError(f"Task file {file!r} does not exist. Check the path, or give a task's name.")
    manager = _make_manager(named=len(files) < len(names))
    known = list(manager.all_tasks)
    for name in names:
        if name not in files and name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f" Did you mean {', '.join(map(repr, near))}?" if near else ""
            raise InputError(
                f"Task {name!r} is unknown to lm-evaluation-harness.{hint} List its tasks with: lm-eval ls tasks."
            )
    return HarnessTasks(tuple(names), manager)


def define_tasks(definitions: Sequence[dict[str, Any]]) -> HarnessTasks:
    """Tasks of our own, each with what a YAML file of the harness would hold.

    Args:
        definitions: At least `task`, its name.

    Raises:
        InputError: The harness is not installed.
    """
    names = tuple(str(definition["task"]) for definition in definitions)
    return HarnessTasks(names, _make_manager(named=False), tuple(definitions))


def read_task(name: str) -> list[RawQuestion]:
    """The documents of a task as questions without examples, in its test split, or else its validation split.

    Args:
        name: Of a task, or the path of its YAML file.

    Raises:
        InputError: The harness is not installed; the task is unknown, a group, asks otherwise than by choices after one
            prompt and a space, or its data cannot be loaded.
    """
    tasks = find_tasks([name])
    try:
        found = tasks.manager.load([name])
    except Exception as error:  # the harness, its task code and the data libraries raise errors of many kinds
        raise InputError(
            f"Task {name!r} could not be loaded: {first_line(error)}. Check the task and its data."
        ) from error
    if len(found["tasks"]) != 1 or found["groups"]:
        raise InputError(
            f"{name!r} is {len(found['tasks'])} tasks. Name them one by one: each is a group of questions."
        )
    (task,) = found["tasks"].values()
    if task.OUTPUT_TYPE != "multiple_choice" or getattr(task, "multiple_input", False):
        raise InputError(
            f"Task {name!r} does not choose among answers to a question. Run it with: srmu evaluate --tasks."
        )
    if task.config.target_delimiter != " ":
        raise InputError(
            f"Task {name!r} puts {task.config.target_delimiter!r} before an answer, and questions a space. Run it "
            "with: srmu evaluate --tasks."
        )
    documents = task.test_docs() if task.has_test_docs() else task.validation_docs()
    return [_question(task, document, f"task {name!r}, document {place}") for place, document in enumerate(documents)]


def _question(task: Any, document: Any, place: str) -> RawQuestion:
    target = task.doc_to_target(document)
    given = tuple(target) if isinstance(target, list) else (target,)
    places = tuple(answer for answer in given if isinstance(answer, int))
    return RawQuestion(
        # With the task's description before it, and no examples.
        prompt=str(task.fewshot_context(document, num_fewshot=0)).rstrip(),
        choices=tuple(map(str, task.doc_to_choice(document))),
        labels=(),
        answers=() if places == given else tuple(map(str, given)),
        place=place,
        form="a task of lm-evaluation-harness",
        right=places if places == given else (),
    )


def _make_manager(*, named: bool) -> Any:
    """The harness's index of tasks; its own thousands of files are read only where a name needs them."""
    try:
        from lm_eval.tasks import TaskManager
    except ImportError:
        raise InputError(
            "Tasks need lm-evaluation-harness, which is not installed. Install it: pip install 'srmu[eval]'."
        ) from None
    return TaskManager(include_defaults=named)


def first_line(error: Exception) -> str:
    """What an error says, cut to a line."""
    return (" ".join(str(error).split()) or type(error).__name__)[:200].rstrip(".")
