"""Short float32 runs give the numbers that were recorded, up to rounding of other machines."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from golden.record import FOLDER, KEYS, METHODS, environment, trajectory

# Rounding moves a loss by about 1e-6; AdamW's first steps make a whole step of it where a gradient is nearly zero.
LARGEST, MEAN = 1e-3, 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_trajectory_stays_at_the_recorded_one(method: str, saved_family: Callable[..., Path]) -> None:
    recorded = json.loads((FOLDER / f"{method}.json").read_text())
    assert recorded["environment"].keys() == environment().keys()
    expected, found = (
        np.array([[step[key] for key in KEYS] for step in steps])
        for steps in (recorded["steps"], trajectory(method, saved_family("llama")))
    )
    # Relative to each quantity's largest value: the first retain loss is rounding alone.
    deviation = np.abs(found - expected) / np.abs(expected).max(axis=0)
    assert deviation.max() < LARGEST, f"recorded with {recorded['environment']}, run with {environment()}"
    assert deviation.mean() < MEAN, f"recorded with {recorded['environment']}, run with {environment()}"
