"""Per-step metrics sent to an experiment tracker, through accelerate's trackers; off by default."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srmu.errors import InputError

PROJECT = "srmu"
# Name in the config -> the package that it needs.
PACKAGES = {"wandb": "wandb", "tensorboard": "tensorboard", "mlflow": "mlflow"}


class Tracker:
    """Where metrics go; this one forgets them."""

    def log(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Take the records of some steps."""

    def finish(self) -> None:
        """Flush and close."""


class _AccelerateTracker(Tracker):
    def __init__(self, inner: Any):
        self._inner = inner

    def log(self, records: Sequence[Mapping[str, Any]]) -> None:
        for record in records:
            numbers = {key: value for key, value in record.items() if isinstance(value, (int, float)) and key != "step"}
            # Topics take turns; their losses are not one curve.
            self._inner.log({f"{record['topic']}/{key}": value for key, value in numbers.items()}, step=record["step"])

    def finish(self) -> None:
        self._inner.finish()


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
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS  # type: ignore[import-untyped]

    tracker_class = LOGGER_TYPE_TO_CLASS[name]
    folder = {"logging_dir": str(run_dir)} if tracker_class.requires_logging_directory else {}
    inner = tracker_class(name if folder else PROJECT, **folder, **_run_name(name, run_dir))
    inner.start()
    inner.store_init_configuration(
        {key: value for key, value in config.items() if isinstance(value, (bool, int, float, str))}
    )
    return _AccelerateTracker(inner)


def _run_name(name: str, run_dir: Path) -> dict[str, str]:
    return {"wandb": {"name": run_dir.name}, "mlflow": {"run_name": run_dir.name}}.get(name, {})
