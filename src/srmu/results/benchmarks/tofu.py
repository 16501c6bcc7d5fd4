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
    formats: Mapping[str, float]
    """Its own numbers in the forms of `TofuResult.formats`."""
    format_leakage: float
    """The result's number over its own in the form where this is largest, -1 to 1."""


@dataclass(frozen=True, kw_only=True)
class TofuDepthResult:
    """The unlearning depth score (arXiv 2605.24614)."""

    score: float | None
    """Mean over the answers that count, 0 to 1; null where none counts."""
    counted: int
    """Answers of which the retrained model's states take something away in some layer."""
    of: int
    """Answers that were looked at."""
    entities: bool
    """Whether at their annotated entities, as published; else at the whole answers."""
    full_model: str
    """Whose hidden states were replaced."""


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
    formats: Mapping[str, float]
    """Forgotten questions in other forms: probability of the answers, of `multiple_choice` accuracy, 0 to 1."""
    depth: TofuDepthResult | None
    """Null where it was not asked for."""
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
            "depth": None if self.depth is None else self.depth.score,
            "format_leakage": None if self.gold is None else self.gold.format_leakage,
            **{f"format.{name}": value for name, value in self.formats.items()},
            **{
                f"{name}.{key}": getattr(found, key)
                for name, found in sets.items()
                for key in ("probability", "rouge_l_recall", "truth_ratio")
            },
        }
