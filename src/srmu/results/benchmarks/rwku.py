"""What `srmu benchmark rwku` measured: a model on the sets of RWKU that were there."""

from collections.abc import Mapping
from dataclasses import dataclass

ALL_SUBJECTS = "all"
_LEVELS = ("level1", "level2", "level3")


@dataclass(frozen=True, kw_only=True)
class RwkuAsked:
    """What numbers must share to be compared."""

    data: str
    """`hub`, or the name of the folder."""
    data_sha256: Mapping[str, str]
    """Of the items of each set, before subject and limit."""
    limit: int | None
    """Most items of a set; null = all."""
    chat: bool
    """Asked in the tokenizer's chat template."""


@dataclass(frozen=True, kw_only=True)
class RwkuKind:
    """The probes of one kind, such as one kind of attack."""

    n: int
    score: float


@dataclass(frozen=True, kw_only=True)
class RwkuSet:
    """One set; the mean over its items."""

    n: int
    score: float
    """Probes: ROUGE-L recall; MMLU, TruthfulQA (MC1): accuracy; BBH: exact match; TriviaQA: F1; all 0 to 1. Fluency:
    entropy of word pairs and triples, in bits."""
    kinds: Mapping[str, RwkuKind]
    """Of probes, by type."""


@dataclass(frozen=True, kw_only=True)
class RwkuMembership:
    """One membership set; means over its passages."""

    n: int
    loss: float
    """Nats per token."""
    zlib: float
    """Nats per token and byte of the compressed passage."""
    min_k: float
    """Mean log-probability of the least likely fifth of the tokens, nats per token."""
    min_k_plus: float
    """The same of log-probabilities standardised over the vocabulary, in standard deviations."""


@dataclass(frozen=True, kw_only=True)
class RwkuResult:
    """A model on RWKU (arXiv 2406.10890), about one person or all."""

    subject: str
    """`all`, or the person."""
    model: str
    asked: RwkuAsked
    forget: Mapping[str, RwkuSet]
    """By level: fill in the blank, question and answer, adversarial."""
    neighbor: Mapping[str, RwkuSet]
    """By level."""
    membership: Mapping[str, RwkuMembership]
    """Of forget and of retain members."""
    utility: Mapping[str, RwkuSet]
    """By ability: general, reason, truthfulness, factuality, fluency."""
    missing: Mapping[str, str]
    """Sets that were not measured, and why."""

    def pooled(self, side: str) -> float | None:
        """Mean over the probes of all levels, the tables' `All`; none unless all levels were measured."""
        levels: Mapping[str, RwkuSet] = getattr(self, side)
        wanted = _LEVELS if side == "forget" else _LEVELS[:2]
        if set(levels) != set(wanted):
            return None
        return sum(found.n * found.score for found in levels.values()) / sum(found.n for found in levels.values())

    @property
    def numbers(self) -> dict[str, float | None]:
        """What the tables show, by name."""
        found: dict[str, float | None] = {}
        for side in ("forget", "neighbor"):
            levels: Mapping[str, RwkuSet] = getattr(self, side)
            found |= {f"{side}.{level}": one.score for level, one in levels.items()}
            found[f"{side}.all"] = self.pooled(side)
        found |= {
            f"forget.level3.{kind.replace(' ', '_')}": one.score
            for kind, one in (self.forget["level3"].kinds if "level3" in self.forget else {}).items()
        }
        for side, scores in self.membership.items():
            measured = {
                "loss": scores.loss,
                "zlib": scores.zlib,
                "min_k": scores.min_k,
                "min_k_plus": scores.min_k_plus,
            }
            found |= {f"membership.{side}.{key}": value for key, value in measured.items()}
        return found | {f"utility.{ability}": one.score for ability, one in self.utility.items()}
