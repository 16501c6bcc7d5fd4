"""Fixtures shared by all tests; helpers to import stand in `families.py`, `tiny_tokenizers.py`, `oracle/`."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Before anything imports huggingface_hub, which reads it once: no test may reach a hub.
os.environ["HF_HUB_OFFLINE"] = "1"

import pytest
import transformers

from families import save_family


@pytest.fixture(scope="session", autouse=True)
def _quiet_transformers() -> None:
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


@pytest.fixture(scope="session")
def saved_family(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """`saved_family(name, **options)`: a tiny checkpoint, made once a session; never write to it."""
    made: dict[tuple[Any, ...], Path] = {}

    def get(name: str, **options: Any) -> Path:
        key = (name, *sorted(options.items()))
        if key not in made:
            made[key] = save_family(name, tmp_path_factory.mktemp(name), **options)
        return made[key]

    return get
