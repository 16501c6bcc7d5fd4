"""What `srmu benchmark tofu` keeps: the record of a model on one split, and the file that holds a run's records."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from srmu.results.schema import load, to_json
from srmu.runtime.files import write_json_atomic

TOFU_FILE = "benchmark_tofu.json"
TOFU_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class TofuSetResult:
    """One set of questions; means over its questions, 0 to 1."""

    n: int
    """Questions."""
    probability: float
    """Length-normalised; of real authors and world facts, the right answer's share among those offered."""
    rouge_l_recall: float
    truth_ratio: float
    """As aggregated for the set: `min(R, 1/R)` of the forget set, `max(0, 1 - R)` of the others."""


@dataclass(frozen=True, kw_only=True)
class TofuGoldResult:
    """The comparison with a model that was retrained without the forget set."""

    model: str
    forget_quality: float
    """p value of the two-sample Kolmogorov-Smirnov test of both models' truth ratios."""
    log10_forget_quality: float
    statistic: float
    """Of the test, 0 to 1."""
    forget_probability: float
    """Of forgotten answers under the gold standard, 0 to 1."""
    retain_probability: float
    """Of retained answers under it: near the other, it has seen the forget set, or neither."""


@dataclass(frozen=True, kw_only=True)
class TofuAsked:
    """What numbers must share to be compared."""

    limit: int | None
    """Most questions of a set; null = all."""
    question_start: str
    question_end: str
    answer_start: str
    chat: bool
    space_apart: bool
    max_new_tokens: int
    data_sha256: Mapping[str, str]
    """Of the four files, by set."""


@dataclass(frozen=True, kw_only=True)
class TofuResult:
    """A model on one split of TOFU (arXiv 2401.06121)."""

    split: str
    model: str
    asked: TofuAsked
    forget: TofuSetResult
    retain: TofuSetResult
    real_authors: TofuSetResult
    world_facts: TofuSetResult
    model_utility: float
    """Harmonic mean of the nine numbers of the three sets that are to be kept, 0 to 1."""
    extraction_strength: float
    """Mean over the forgotten answers, 0 to 1."""
    exact_memorization: float
    """Mean over the forgotten answers, 0 to 1."""
    truth_ratios: tuple[float, ...]
    """`R_truth` of each forgotten question; another result is compared with these when this model is its gold."""
    gold: TofuGoldResult | None
    """Null where no gold standard was given: then forget quality is not known."""


@dataclass(frozen=True, kw_only=True)
class TofuRecord:
    """The results of one model, by split."""

    format: int
    splits: Mapping[str, TofuResult]


def read_tofu_record(path: Path) -> TofuRecord:
    """Read `benchmark_tofu.json`, or what `srmu benchmark tofu --json` printed.

    Raises:
        InputError: The file cannot be read, has another format, or is damaged.
    """
    return load(TofuRecord, path, version=TOFU_FORMAT)


def as_record(result: TofuResult) -> TofuRecord:
    """A record of this result alone."""
    return TofuRecord(format=TOFU_FORMAT, splits={result.split: result})


def keep_tofu_result(run_dir: Path, result: TofuResult) -> None:
    """Write a result into a run directory; results of other splits that are there stay.

    Raises:
        InputError: A record is there, and it is damaged.
    """
    path = run_dir / TOFU_FILE
    former = read_tofu_record(path).splits if path.is_file() else {}
    record = TofuRecord(format=TOFU_FORMAT, splits={**former, result.split: result})
    write_json_atomic(path, to_json(record))
