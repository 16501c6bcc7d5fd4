"""Per-step metrics sent to an experiment tracker; off by default.

All go through accelerate's trackers but trackio: there accelerate leaves open what prints once more at the end of the
process, on stdout, where `--json` is.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srmu.errors import InputError

PROJECT = "srmu"
# Name in the config -> the package that it needs.
PACKAGES = {"wandb": "wandb", "tensorboard": "tensorboard", "mlflow": "mlflow", "trackio": "trackio"}


class Tracker:
    """Where metrics go; this one forgets them."""

    def log(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take the records of some steps."""

    def finish(self) -> None:
        """Flush and close."""


class _RunningTracker(Tracker):
    """Sends the numbers of each step to a tracker that has `log` and `finish`."""

    def __init__(self, inner: Any):
        self._inner = inner

    def log(self, records: Sequence[Mapping[str, Any]]) -> None:
        for record in records:
            numbers = {key: value for key, value in record.items() if isinstance(value, (int, float)) and key != "step"}
            # Topics take turns; their losses are not one curve.
            self._inner.log({f"{record['topic']}/{key}": value for key, value in numbers.items()}, step=record["step"])

    def finish(self) -> None:
        self._inner.finish()


class _Trackio:
    """A run of trackio, in its local folder (`TRACKIO_DIR`) unless its own variables name a space or a server."""

    def __init__(self, name: str, config: Mapping[str, Any]):
        import trackio

        self._trackio = trackio
        with _silenced():
            # Steps alone: how busy the machine is belongs to no run of ours.
            trackio.init(
                project=PROJECT, name=name, config=dict(config), embed=False, auto_log_gpu=False, auto_log_cpu=False
            )

    def log(self, values: Mapping[str, Any], step: int) -> None:
        self._trackio.log(dict(values), step=step)

    def finish(self) -> None:
        with _silenced():
            self._trackio.finish()


def _silenced() -> contextlib.AbstractContextManager[Any]:
    """Stdout is for what `--json` prints."""
    return contextlib.redirect_stdout(io.StringIO())


def check_tracker(name: str | None) -> None:
    """Check, before any work, that a tracker can be used.

    Raises:
        InputError: If its package is not installed.
    """
    from importlib.util import find_spec

    if name is not None and find_spec(PACKAGES[name]) is None:
        raise InputError(f"Tracker {name!r} needs the package {PACKAGES[name]!r}, which is not installed. Install it.")


def open_tracker(name: str | None, run_dir: Path, config: Mapping[str, Any]) -> Tracker:
    """Start a tracker for one run; none = one that forgets.

    Args:
        name: A key of `PACKAGES`.
        run_dir: Its name is the run's; trackers that write files write them there.
        config: Settings without texts (`export.manifest.without_texts`); those that are one value are stored.
    """
    if name is None:
        return Tracker()
    values = {key: value for key, value in config.items() if isinstance(value, (bool, int, float, str))}
    if name == "trackio":
        return _RunningTracker(_Trackio(run_dir.name, values))
    from accelerate import PartialState  # type: ignore[import-untyped]
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS  # type: ignore[import-untyped]

    PartialState()  # accelerate's log asks it who it is
    tracker_class = LOGGER_TYPE_TO_CLASS[name]
    folder = {"logging_dir": str(run_dir)} if tracker_class.requires_logging_directory else {}
    inner = tracker_class(name if folder else PROJECT, **folder, **_run_name(name, run_dir))
    inner.start()
    inner.store_init_configuration(values)
    return _RunningTracker(inner)


def _run_name(name: str, run_dir: Path) -> dict[str, str]:
    return {"wandb": {"name": run_dir.name}, "mlflow": {"run_name": run_dir.name}}.get(name, {})
