"""The questions of a run, kept in its directory, so that it can be attacked and evaluated wherever it lies."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from srmu.config.groups import Side
from srmu.errors import InputError
from srmu.inputs.questions import Question, question_line
from srmu.results.digests import check_listed
from srmu.results.manifest import read_manifest
from srmu.results.records import read_results
from srmu.results.run_files import QUESTIONS_DIR
from srmu.runtime.files import write_atomic

_LONGEST_NAME = 120
"""Characters of a file's name; file systems allow 255 bytes."""


def questions_file(group: str) -> str:
    """Where a group's questions lie in a run directory; a name that is no file name is written with % and numbers."""
    name = quote(group, safe=" ")
    if len(name) > _LONGEST_NAME:
        name = name[:_LONGEST_NAME] + hashlib.sha256(group.encode()).hexdigest()[:16]
    return f"{QUESTIONS_DIR}/{name}.jsonl"


def write_run_questions(run_dir: Path, questions: Mapping[str, Sequence[Question]]) -> list[str]:
    """Write each group in a file of its own.

    Returns:
        Their names, relative to the run directory.
    """
    if questions:
        (run_dir / QUESTIONS_DIR).mkdir(exist_ok=True)
    names = []
    for group, asked in questions.items():
        lines = [question_line(question) for question in asked]
        names.append(questions_file(group))
        write_atomic(run_dir / names[-1], "".join(lines).encode("utf-8", "surrogatepass"), private=True)
    return names


def find_run_questions(run_dir: Path) -> dict[str, str]:
    """Path by group of the questions that a run was measured on: those in its directory, or else where they were.

    Raises:
        InputError: A group's file is at neither place.
    """
    found = {}
    for group, given in read_manifest(run_dir).questions.items():
        kept = run_dir / (name := questions_file(group))
        if kept.is_file():
            check_listed(run_dir, name)
        found[group] = str(kept) if kept.is_file() else os.path.expanduser(given)
        if not found[group].startswith("hub:") and not Path(found[group]).is_file():
            raise InputError(
                f"Questions {group!r} of the run are neither at {str(kept)!r} nor at {given!r}. "
                "Name them with --questions."
            )
    return found


def find_run_sides(run_dir: Path | None, given: Mapping[str, Side]) -> dict[str, Side]:
    """Sides by group: those given now, then those that the run's results hold, then those of its config.

    Args:
        run_dir: A finished run directory; none = only what is given counts.
        given: As the user declares them now.
    """
    if run_dir is None:
        return dict(given)
    return {**read_manifest(run_dir).sides, **read_results(run_dir).sides, **given}
