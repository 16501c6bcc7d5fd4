"""What `srmu benchmark tofu` measured: a model on one split."""

from collections.abc import Mapping
from dataclasses import dataclass


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

    @property
    def numbers(self) -> dict[str, float | None]:
        """What the tables show, by name."""
        sets = {"forget": self.forget, "retain": self.retain, "real_authors": self.real_authors,
                "world_facts": self.world_facts}  # fmt: skip
        return {
            "model_utility": self.model_utility,
            "forget_quality": None if self.gold is None else self.gold.forget_quality,
            "log10_forget_quality": None if self.gold is None else self.gold.log10_forget_quality,
            "extraction_strength": self.extraction_strength,
            "exact_memorization": self.exact_memorization,
            **{
                f"{name}.{key}": getattr(found, key)
                for name, found in sets.items()
                for key in ("probability", "rouge_l_recall", "truth_ratio")
            },
        }
