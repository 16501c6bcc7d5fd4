"""What `--overwrite` may replace, and how: a run of ours alone, which stays until the new one is whole.

The new run is written beside the old one, as `NAME.unfinished`. Two renames then exchange them, so that a run that
fails or is killed leaves the old one where it was; what a kill between the two renames leaves is put right by `settle`.
"""

import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from srmu.config.settings import UnlearnConfig
from srmu.config.sources import inline_text
from srmu.errors import InputError
from srmu.results.manifest import read_any_manifest
from srmu.results.run_files import (
    CONFIG_FILE,
    DELTA_FILE,
    IMPORTANCE_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    MODEL_DIR,
    QUESTIONS_DIR,
    RESULTS_FILE,
    SUMS_FILE,
    UNFINISHED_FILES,
)
from srmu.runtime.files import is_leftover, sync
from srmu.runtime.trackers import PACKAGES

UNFINISHED = ".unfinished"
"""What is added to the name of a run directory while a run is to replace it."""
_OURS = (
    *UNFINISHED_FILES, METRICS_FILE, MODEL_DIR, IMPORTANCE_FILE, RESULTS_FILE, DELTA_FILE, QUESTIONS_DIR, SUMS_FILE,
    *PACKAGES,
)  # fmt: skip
_OUR_SETTINGS = {"model", "method", "steering_coefficient", "retain_weight"}
_OUR_METRICS = {"step", "forget_loss", "retain_loss"}


def is_run(path: Path) -> bool:
    """Whether a directory is a run of ours: it carries our manifest, or holds only what an unfinished run does."""
    if (path / MANIFEST_FILE).exists():
        try:
            read_any_manifest(path)
        except InputError:
            return False
        return True
    names = {entry.name for entry in path.iterdir() if not is_leftover(entry)}
    if not names <= set(_OURS) or not names & {CONFIG_FILE, METRICS_FILE}:
        return False
    config_is_ours = CONFIG_FILE not in names or holds_our_config(path)
    return config_is_ours and (METRICS_FILE not in names or _has_keys(path / METRICS_FILE, _OUR_METRICS, whole=False))


def holds_our_config(path: Path) -> bool:
    """Whether a directory holds the settings of a run that is not finished."""
    return (path / CONFIG_FILE).is_file() and _has_keys(path / CONFIG_FILE, _OUR_SETTINGS, whole=True)


def check_replaceable(config: UnlearnConfig, path: Path) -> None:
    """Refuse to replace what is no run of ours, and what the new run itself reads.

    Raises:
        InputError: Naming what would be lost.
    """
    if not is_run(path):
        raise InputError(
            f"Output directory {str(path)!r} holds something other than a run: it has no {MANIFEST_FILE} of srmu, nor "
            "only what an unfinished run leaves. So it stays. Choose another --out."
        )
    for source in _sources(config):
        if _overlap(source, path):
            raise InputError(
                f"Output {str(path)!r} cannot be replaced: the run reads {source[:200]!r} there. Choose another --out."
            )


def place_beside(path: Path) -> Path:
    """Where a run that is to replace `path` is written; what an earlier attempt left there is removed.

    Raises:
        InputError: If what is there is no run.
    """
    beside = path.with_name(path.name + UNFINISHED)
    if not beside.exists():
        return beside
    if not beside.is_dir() or (any(beside.iterdir()) and not is_run(beside)):
        raise InputError(
            f"The run would be written to {str(beside)!r} first, which holds something other than a run. Move it away, "
            "or choose another --out."
        )
    shutil.rmtree(beside)
    return beside


def exchange(beside: Path) -> Path:
    """Give a finished run the name of the one that it replaces, and remove that one; the new path.

    Should what is there have become something other than a run meanwhile, both stay as they are.
    """
    target = beside.with_name(beside.name.removesuffix(UNFINISHED))
    place = Path(os.path.realpath(target))
    if place.exists() and (not place.is_dir() or not is_run(place)):
        return beside
    aside = _aside(target)
    if place.exists():
        os.rename(place, aside)
    os.rename(beside, place)
    sync(place.parent)
    shutil.rmtree(aside, ignore_errors=True)
    return target


def settle(path: Path) -> None:
    """Finish an exchange that a kill cut short: whichever run is whole is at `path` afterwards."""
    aside, beside = _aside(path), path.with_name(path.name + UNFINISHED)
    if not aside.is_dir() or not is_run(aside):
        return
    place = Path(os.path.realpath(path))
    if not place.exists():
        os.rename(beside if (beside / MANIFEST_FILE).exists() else aside, place)
    shutil.rmtree(aside, ignore_errors=True)


def _aside(path: Path) -> Path:
    # Beside what a link leads to, so that a rename is enough.
    place = Path(os.path.realpath(path))
    return place.with_name(f".{place.name}.replaced")


def _has_keys(file: Path, wanted: set[str], *, whole: bool) -> bool:
    """Whether the object in a file, or in its first line, has all of these keys; an empty file has nothing to lose."""
    try:
        with file.open(encoding="utf-8") as opened:
            text = opened.read() if whole else opened.readline(1 << 16)
        found = json.loads(text) if text.strip() else dict.fromkeys(wanted)
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and wanted <= found.keys()


def _sources(config: UnlearnConfig) -> Iterable[str]:
    """Everything that a run reads and that may lie on this disk."""
    data = config.data
    yield config.model.model
    yield from data.questions.values()
    for side in (data.forget, data.retain, *(side for topic in data.topics for side in (topic.forget, topic.retain))):
        yield from (source for source in side if inline_text(source) is None)


def _overlap(source: str, place: Path) -> bool:
    """Whether a source, or what it links to, lies in a place, or is a folder that holds it."""
    if not os.path.exists(expanded := os.path.expanduser(source)):
        return False
    real, held = os.path.realpath(expanded), os.path.realpath(place)
    named = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(expanded))), os.path.basename(expanded))
    return any(Path(path).is_relative_to(held) for path in (real, named)) or Path(held).is_relative_to(real)
