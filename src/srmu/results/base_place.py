"""Where the base of a run lies: written into the manifest without anybody's home, and found again elsewhere."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srmu.results.manifest import Base


def without_home(value: Any) -> Any:
    """A path in the user's home as `~/...`; other texts as they are, and lists and objects of both."""
    if isinstance(value, Mapping):
        return {key: without_home(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_home(item) for item in value]
    home = os.path.expanduser("~")
    if isinstance(value, str) and len(home) > 1 and (value == home or value.startswith(home + os.sep)):
        return "~" + value.removeprefix(home)
    return value


def path_between(run_dir: Path, base: Path) -> str | None:
    """The way from a run to its base, by which both can be moved together; none where it leads past a home."""
    home = os.path.expanduser("~")
    common = os.path.commonpath([run_dir.absolute(), base.absolute()])
    if Path(home).is_relative_to(common) and common != home:
        return None
    return os.path.relpath(base.absolute(), run_dir.absolute())


def base_places(run_dir: Path, base: Base) -> list[Path]:
    """Where the base may lie, the likeliest first; only its hashes say whether it does."""
    places = [Path(os.path.expanduser(base.path))]
    if base.path_from_run is not None:
        places.append(Path(os.path.normpath(run_dir.absolute() / base.path_from_run)))
    return places


def find_base(run_dir: Path, base: Base) -> Path:
    """The first of these places that holds a folder, or else the first."""
    places = base_places(run_dir, base)
    return next((place for place in places if place.is_dir()), places[0])
