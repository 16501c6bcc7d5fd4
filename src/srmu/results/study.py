"""Records of trials: what `--search` tried, in the manifest, and what `srmu tune` tried, in `trials.json`. No texts."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from srmu.results.audit_records import KEPT
from srmu.results.schema import load, to_json

STUDY_FORMAT = 2
TRIALS_FILE = "trials.json"

AUDITED = "what was audited"
"""Among a trial's groups: what the collateral audit asked of it."""

TrialSettings = Mapping[str, int | float | str]
"""Setting -> the value that a trial had."""


@dataclass(frozen=True)
class Outcome:
    """A trial in numbers.

    Attributes:
        remaining: Of the group to forget of which most remains; at least 0, and 1 = as in the base.
        kept: Of the other group of which least is kept; 0 to 1.
        lost: Largest rise of the loss among the kept groups, nats per token; it distinguishes what `kept` cannot.
        groups: Each group's own `remaining` or `kept`; groups of texts have ` (text)` after their name, and what the
            audit asked stands under `AUDITED`.
    """

    remaining: float
    kept: float
    lost: float
    groups: Mapping[str, float]

    @property
    def eligible(self) -> bool:
        """Whether what was audited is kept; otherwise a trial is taken only where none keeps it."""
        return self.groups.get(AUDITED, 1.0) >= KEPT


@dataclass(frozen=True)
class SearchTrial:
    """One trial of `--search`.

    Attributes:
        settings: What it changed.
        seconds: Wall time.
        outcome: None where the training diverged.
        error: How it ended, in that case.
    """

    settings: TrialSettings
    seconds: float
    outcome: Outcome | None = None
    error: str | None = None


@dataclass(frozen=True)
class SearchRecord:
    """What `--search` tried and chose.

    Attributes:
        request: What the texts were taken for: `entities`, or a `domain`.
        reason: Why, in one sentence.
        groups: What trials were measured on.
        rule: How the best is found, in words.
        trials: In order.
        chosen: Number of the best, from 0.
    """

    request: Literal["entities", "domain"]
    reason: str
    groups: tuple[str, ...]
    rule: str
    trials: tuple[SearchTrial, ...]
    chosen: int


@dataclass(frozen=True, kw_only=True)
class StudyTrial:
    """One finished trial of `srmu tune`.

    Attributes:
        number: In the study.
        state: `complete`, or `diverged`, which has no outcome.
        settings: What it changed; of a diverged trial as the search drew them.
        seed: Of the training.
        outcome: What it came to.
        forget_loss: Of the last step.
        retain_loss: Of the last step.
        seconds: Of training and measuring.
    """

    number: int
    state: Literal["complete", "diverged"]
    settings: TrialSettings
    seed: int | None = None
    outcome: Outcome | None = None
    forget_loss: float | None = None
    retain_loss: float | None = None
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """What a study found.

    Attributes:
        format: Of the file.
        study: Name.
        space: What was searched: setting -> range, in words.
        front: Numbers of the trials that no other beats in both objectives.
        chosen: Number of the one in `best.yaml`; none where no trial ended well.
        trials: All finished trials, in order.
    """

    format: int = STUDY_FORMAT
    study: str
    space: Mapping[str, str]
    front: tuple[int, ...] = ()
    chosen: int | None = None
    trials: tuple[StudyTrial, ...] = field(default=())

    @property
    def complete(self) -> list[StudyTrial]:
        """The trials that have an outcome."""
        return [trial for trial in self.trials if trial.outcome is not None]


def read_study(directory: str | Path) -> StudyRecord:
    """Read the trials of a study.

    Raises:
        InputError: The file is missing, damaged or of another format.
    """
    return load(StudyRecord, Path(directory) / TRIALS_FILE, version=STUDY_FORMAT)


def write_study(directory: str | Path, record: StudyRecord) -> None:
    """Write the trials of a study; a file that is there is replaced whole."""
    from srmu.runtime.files import write_json_atomic

    write_json_atomic(Path(directory) / TRIALS_FILE, to_json(record))
