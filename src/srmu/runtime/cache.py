"""Where things are kept between runs: converted models, texts that a base model wrote."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """`$SRMU_CACHE`, else `srmu` in the user's cache directory; made when something is kept."""
    named = os.environ.get("SRMU_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "srmu"
