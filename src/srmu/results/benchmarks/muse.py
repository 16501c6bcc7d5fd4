"""What `srmu benchmark muse` measured: a model on one corpus, in per cent as in the paper's tables."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class MuseGoldResult:
    """The comparison with a model that was retrained without the forget texts."""

    model: str
    auc: float
    """The retrained model's, 0 to 1."""
    privacy_leakage: float | None
    """`(AUC - AUC of the retrained) / AUC of the retrained`, per cent; null where the latter is 0."""


@dataclass(frozen=True, kw_only=True)
class MuseAsked:
    """What numbers must share to be compared."""

    limit: int | None
    """Most items of a part; null = all."""
    items: Mapping[str, int]
    """Of each part that was measured."""
    data_sha256: Mapping[str, str]
    """Of the content of each part."""


@dataclass(frozen=True, kw_only=True)
class MuseResult:
    """A model on one corpus of MUSE (arXiv 2407.06460)."""

    corpus: str
    model: str
    asked: MuseAsked
    verbatim_memorization: float
    """ROUGE-L F1 of continued forget texts, per cent."""
    knowledge_memorization: float
    """ROUGE-L F1 of answers about the forget texts, per cent."""
    utility: float
    """ROUGE-L F1 of answers about the retain texts, per cent."""
    auc: float
    """0 to 1; that an unseen text is more likely to the model than a forget text, by Min-40 % Prob."""
    gold: MuseGoldResult | None
    """Null where no retrained model was given: then privacy leakage is not known."""
    scaling: tuple[float, ...] = ()
    """Utility of models that forgot the 1st, 2nd, ... of the growing forget sets, per cent."""
    sustainability: tuple[float, ...] = ()
    """Utility after the 1st, 2nd, ... of requests that came one after another, per cent."""

    @property
    def numbers(self) -> dict[str, float | None]:
        """What the table shows, by name."""
        series = {"scaling": self.scaling, "sustainability": self.sustainability}
        return {
            "verbatim_memorization": self.verbatim_memorization,
            "knowledge_memorization": self.knowledge_memorization,
            "privacy_leakage": None if self.gold is None else self.gold.privacy_leakage,
            "utility": self.utility,
            "auc": self.auc,
            **{f"{name}.{fold}": value for name, row in series.items() for fold, value in enumerate(row, 1)},
        }
