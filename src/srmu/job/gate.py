"""The acceptance criteria of a run, checked."""

from collections.abc import Sequence
from pathlib import Path

from srmu.results.gate import Verdict, check_requirements
from srmu.results.manifest import read_manifest
from srmu.results.records import read_results


def gate(run: str | Path, require: Sequence[str] = ()) -> list[Verdict]:
    """Check what a run measured against requirements; `srmu.results.gate` has their grammar.

    Args:
        run: A finished run directory.
        require: Criteria such as `forget<=0.30`, beside those in the run's own config.

    Returns:
        One verdict per requirement. What was not measured never passes.

    Raises:
        InputError: If the run or a requirement cannot be read.
    """
    own = read_manifest(run).requirements
    return check_requirements(list(dict.fromkeys([*own, *require])), read_results(run))
