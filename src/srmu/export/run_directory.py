"""A run directory while it is being filled: config, metrics line by line, a resumable state.

The checkpoint appears in it by one rename, after everything in it was checked; the manifest comes last.
"""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from srmu.config.settings import UnlearnConfig, make_config, to_dict
from srmu.errors import InputError
from srmu.export.replacing import (
    UNFINISHED,
    check_replaceable,
    exchange,
    holds_our_config,
    is_run,
    place_beside,
    settle,
)
from srmu.results.run_files import CHOICE_FILE, CONFIG_FILE, MANIFEST_FILE, METRICS_FILE, STATE_FILE, UNFINISHED_FILES
from srmu.results.schema import load, to_json
from srmu.results.study import SearchRecord
from srmu.runtime.files import is_leftover, readable_errors, remove_leftovers, write_json_atomic, write_tensors_atomic


class RunDirectory:
    """The output of one run.

    Args:
        path: An existing directory that belongs to this run.
        writes: Whether this process is the one that writes into it; the methods of others write nothing.
    """

    def __init__(self, path: Path, *, writes: bool = True):
        self.path = path
        self.writes = writes

    @classmethod
    def create(cls, config: UnlearnConfig) -> "RunDirectory":
        """Make the directory that the config names, or a new one under `runs/`.

        Where that holds a run that is to be replaced, the new one is written beside it until it is whole (`finish`).

        Raises:
            InputError: If it exists and is not empty, and `overwrite` is off or it is no run.
        """
        path = check_output(config)
        try:
            if _is_occupied(path):
                path = place_beside(path)
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"Output directory {str(path)!r} cannot be made: {error.strerror}. Choose another --out."
            ) from None
        remove_leftovers(path)
        directory = cls(path)
        if config.output.save_every:
            with readable_errors(path):
                directory.save_config(config)
        return directory

    @classmethod
    def reopen(cls, path: Path) -> tuple["RunDirectory", UnlearnConfig]:
        """Open an interrupted run and its config.

        Raises:
            InputError: If there is none, or it is finished.
        """
        settle(path)
        beside = path.with_name(path.name + UNFINISHED)
        if (path / MANIFEST_FILE).exists() and (beside / CONFIG_FILE).is_file():
            # The run that was to replace this one.
            path = beside
        file = path / CONFIG_FILE
        if (path / MANIFEST_FILE).exists():
            # Killed right after its manifest, a run still holds its config, and in it perhaps texts.
            if is_run(path) and holds_our_config(path):
                (directory := cls(path)).finish()
                path = directory.path
            raise InputError(f"The run in {str(path)!r} is finished: there is nothing to resume. Name another run.")
        if not file.is_file():
            raise InputError(
                f"{str(path)!r} holds no run to resume: it has no {CONFIG_FILE}. Only a run that was interrupted, and "
                "did not fail, can be resumed; one that was killed, only if it had --save-every."
            )
        remove_leftovers(path)
        try:
            settings = json.loads(file.read_text(encoding="utf-8"))
            if not isinstance(settings, dict):
                raise ValueError(f"it holds {type(settings).__name__}")
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(
                f"{str(file)!r} cannot be read ({str(error)[:100]}), so the run cannot be resumed. Begin it anew."
            ) from None
        config = make_config(settings)
        replaced = path.with_name(path.name.removesuffix(UNFINISHED))
        if replaced != path and _is_occupied(replaced):
            check_replaceable(config, replaced)
        return cls(path), config

    def save_config(self, config: UnlearnConfig) -> None:
        """Write what a resumed run reads.

        The config may hold texts to forget: it is on the disk only where, and as long as, a resumed run needs it.
        """
        if self.writes:
            write_json_atomic(self.path / CONFIG_FILE, to_dict(config), private=True)

    def save_choice(self, record: SearchRecord) -> None:
        """Write what `--search` tried, so that a resumed run does not try again; it holds no text."""
        if self.writes:
            write_json_atomic(self.path / CHOICE_FILE, to_json(record))

    def load_choice(self) -> SearchRecord | None:
        """What the search of settings tried, if there was one.

        Raises:
            InputError: The file is damaged.
        """
        file = self.path / CHOICE_FILE
        return load(SearchRecord, file) if file.is_file() else None

    def write_metrics(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Append one line per step."""
        if not self.writes:
            return
        with (self.path / METRICS_FILE).open("a", encoding="utf-8") as file:
            for record in records:
                # NaN is no JSON: a run that ends on one records null, and the error says what it was.
                file.write(json.dumps({key: _finite(value) for key, value in record.items()}) + "\n")

    def save_state(self, state: Mapping[str, Tensor]) -> None:
        """Write a state to resume from; it replaces the last one whole."""
        if self.writes:
            write_tensors_atomic(self.path / STATE_FILE, state, private=True)

    def load_state(self) -> dict[str, Tensor] | None:
        """The last state, if there is one; metrics of later steps are cut off, they will be written again.

        Raises:
            InputError: If it is damaged.
        """
        file = self.path / STATE_FILE
        try:
            state = load_file(file) if file.exists() else None
        except (OSError, ValueError, SafetensorError) as error:
            raise InputError(
                f"The state {str(file)!r} cannot be read ({str(error)[:100]}), so the run cannot be resumed. "
                "Begin it anew."
            ) from None
        if self.writes and state is None:
            (self.path / METRICS_FILE).unlink(missing_ok=True)
        elif self.writes and state is not None and "next_step" in state:
            self._keep_metrics(int(state["next_step"]))
        return state

    def drop_state(self) -> None:
        """Remove what only an interrupted run needs, and with it every text."""
        if not self.writes:
            return
        for name in UNFINISHED_FILES:
            (self.path / name).unlink(missing_ok=True)

    def finish(self) -> None:
        """Drop the state of a run whose manifest is written; one that replaces another takes that one's place."""
        self.drop_state()
        if self.path.name.endswith(UNFINISHED):
            replaced = self.path.with_name(self.path.name.removesuffix(UNFINISHED))
            try:
                self.path = exchange(self.path) if self.writes else replaced
            finally:
                # Ctrl-C may come when all is done but the return.
                if not self.path.exists():
                    self.path = replaced

    def _keep_metrics(self, steps: int) -> None:
        file = self.path / METRICS_FILE
        if file.exists():
            lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
            partial = file.with_suffix(".partial")
            partial.write_text("".join(lines[:steps]), encoding="utf-8")
            os.replace(partial, file)


def check_output(config: UnlearnConfig) -> Path:
    """The run directory that a config names, checked to be free.

    Raises:
        InputError: If it exists and is not empty, and `overwrite` is off; if what is there is no run directory;
            or if no directory can be made there.
    """
    path = _new_path(config) if config.output.out is None else Path(config.output.out)
    if path.name.endswith(UNFINISHED):
        raise InputError(f"Output {str(path)!r} ends in {UNFINISHED!r}, as unfinished runs do. Choose another --out.")
    settle(path)
    existing = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
    if not existing.is_dir():
        raise InputError(f"Output {str(path)!r} cannot be made: {str(existing)!r} is a file. Choose another --out.")
    if not os.access(existing, os.W_OK):
        raise InputError(f"Output {str(path)!r} cannot be made: {str(existing)!r} is read-only. Choose another --out.")
    if _is_occupied(path):
        if not config.output.overwrite:
            raise InputError(
                f"Output directory {str(path)!r} is not empty. Choose another --out, continue it with --resume, or "
                "replace it with --overwrite."
            )
        check_replaceable(config, path)
    return path


def _is_occupied(path: Path) -> bool:
    return path.is_dir() and not all(is_leftover(entry) for entry in path.iterdir())


def _new_path(config: UnlearnConfig) -> Path:
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")
    base = f"{Path(config.model.model).resolve().name}-{config.target.method}-{stamp}"
    path, number = Path("runs") / base, 1
    while path.exists():
        number += 1
        path = Path("runs") / f"{base}-{number}"
    return path


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value - value != 0 else value
