"""What `srmu benchmark wmdp` measured: a model on one part of WMDP, or on MMLU."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Engine = Literal["srmu", "lm-evaluation-harness"]


@dataclass(frozen=True, kw_only=True)
class WmdpAsked:
    """What numbers must share to be compared."""

    data: str
    """`hub`, or the name of the folder."""
    data_sha256: str
    """Of the part's questions, before the limit."""
    limit: int | None
    """Most questions of a part; null = all."""
    engine: Engine
    dtype: str
    """Compute dtype, as asked."""


@dataclass(frozen=True, kw_only=True)
class WmdpSubject:
    """The questions of one subject."""

    n: int
    accuracy: float
    """Share answered right, 0 to 1."""


@dataclass(frozen=True, kw_only=True)
class WmdpResult:
    """A model on one part: WMDP's fields and variants (arXiv 2403.03218, 2508.06601), or MMLU (arXiv 2009.03300)."""

    part: str
    model: str
    asked: WmdpAsked
    n: int
    """Questions."""
    size: int
    """Questions of the part as published."""
    accuracy: float
    """Share answered right, 0 to 1; chance is 0.25. `acc` of lm-evaluation-harness, of the cloze form `acc_norm`."""
    stderr: float | None
    """Standard error of it; null for a single question."""
    subjects: Mapping[str, WmdpSubject]
    """Of MMLU its subjects, of the robust variant its topics."""

    @property
    def is_sample(self) -> bool:
        """Whether it is of fewer or more questions than were published."""
        return self.n != self.size

    @property
    def numbers(self) -> dict[str, float | None]:
        """What the tables show, by name."""
        by_subject = {f"{name}.accuracy": found.accuracy for name, found in self.subjects.items()}
        return {"accuracy": self.accuracy, "stderr": self.stderr, "n": self.n, **by_subject}
