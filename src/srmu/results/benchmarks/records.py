"""The section `benchmarks` of `results.json`, which is also what `srmu benchmark NAME --json` prints.

A benchmark is a field of `Benchmarks`: results by what was measured, such as the split. Each result has a property
`numbers`, by name, which the report shows and `srmu gate` reads as `benchmark.NAME.PART.KEY`; none = not known, such as
for want of a gold standard.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from srmu.results.benchmarks.muse import MuseResult
from srmu.results.benchmarks.rwku import RwkuResult
from srmu.results.benchmarks.tofu import TofuResult
from srmu.results.benchmarks.wmdp import WmdpResult
from srmu.results.schema import load

BENCHMARK_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Benchmarks:
    """What `srmu benchmark` added, by benchmark and part.

    Attributes:
        tofu: By split.
        muse: By corpus.
        wmdp: By part: bio, cyber, chem, mmlu and the variants.
        rwku: By person, or `all`.
    """

    tofu: Mapping[str, TofuResult] = field(default_factory=dict)
    muse: Mapping[str, MuseResult] = field(default_factory=dict)
    wmdp: Mapping[str, WmdpResult] = field(default_factory=dict)
    rwku: Mapping[str, RwkuResult] = field(default_factory=dict)

    def numbers(self) -> dict[str, Mapping[str, float | None]]:
        """The numbers of every result by its full name, such as `tofu.forget10`."""
        return {
            f"{benchmark.name}.{part}": result.numbers
            for benchmark in dataclasses.fields(self)
            for part, result in getattr(self, benchmark.name).items()
        }

    def merged(self, later: "Benchmarks") -> "Benchmarks":
        """With the results of a later call; what was measured again replaces the former."""
        names = [benchmark.name for benchmark in dataclasses.fields(self)]
        return Benchmarks(**{name: {**getattr(self, name), **getattr(later, name)} for name in names})


@dataclass(frozen=True, kw_only=True)
class BenchmarkRecord:
    """What `srmu benchmark NAME --json` prints, and what `--gold` reads."""

    format: int
    benchmarks: Benchmarks


def read_benchmarks(path: Path) -> Benchmarks:
    """Read what `srmu benchmark NAME --json` printed.

    Raises:
        InputError: The file cannot be read, has another format, or is damaged.
    """
    return load(BenchmarkRecord, path, version=BENCHMARK_FORMAT).benchmarks
