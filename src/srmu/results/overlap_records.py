"""What `srmu overlap` and `srmu.overlap` report: how entangled a forget and a retain set are, before any training."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Shared:
    """What two sets of types (words, or sequences of n words) share.

    Attributes:
        num_forget: Types in the forget texts.
        num_retain: Types in the retain texts.
        jaccard: Shared types over all types, 0 to 1; symmetric. 0 where there is no type at all.
        containment: Shared types over forget types, 0 to 1.
        token_containment: Share of the forget texts' tokens whose type is a retain type, 0 to 1.
    """

    num_forget: int
    num_retain: int
    jaccard: float
    containment: float
    token_containment: float


@dataclass(frozen=True)
class SharedWords(Shared):
    """The same, and once more without stop words.

    Attributes:
        without_stop_words: What is shared when English stop words are left out of the texts.
    """

    without_stop_words: Shared


@dataclass(frozen=True)
class CorpusCount:
    """The texts of one side.

    Attributes:
        documents: How many were read.
        dropped: Documents that were left out while reading.
        sha256: Over the documents, in reading order.
    """

    documents: int
    dropped: int
    sha256: str


@dataclass(frozen=True)
class PaperOverlap:
    """What the SRMU paper reports, to compare with.

    Attributes:
        unigram_overlap: Share from 0 to 1 by data set.
        compared_with: The number of this report that stands nearest to it.
        note: How far the two can be compared.
    """

    unigram_overlap: Mapping[str, float]
    compared_with: str
    note: str


@dataclass(frozen=True)
class NearDuplicate:
    """A forget document and the retain document most like it.

    Attributes:
        forget: Position of the forget document.
        retain: Position of the retain document; the first of equally similar ones.
        similarity: Jaccard index of their sets of three successive words, 0 to 1.
    """

    forget: int
    retain: int
    similarity: float


@dataclass(frozen=True)
class NearDuplicates:
    """Forget documents that are nearly the same as a retain document.

    Attributes:
        method: How they were found.
        threshold: Least similarity of a pair, from 0 to 1.
        pairs: In the order of the forget documents; documents that are wholly the same are not among them.
    """

    method: str
    threshold: float
    pairs: tuple[NearDuplicate, ...]


@dataclass(frozen=True)
class NotMeasured:
    """Near-duplicates were not looked for.

    Attributes:
        not_measured: Why, and what to do about it.
    """

    not_measured: str


@dataclass(frozen=True)
class MapSummary:
    """What an importance map is like.

    Attributes:
        histogram: Features in each of ten equal bins from 0 to 1; a value of 1 is in the last.
        effective_dimension: (sum of I^2)^2 / sum of I^4: over so many features the target would spread evenly.
        share_of_zeros: Share of features without any weight.
        top_features: Number and weight of the heaviest features, heaviest first.
    """

    histogram: tuple[int, ...]
    effective_dimension: float
    share_of_zeros: float
    top_features: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class MassiveFeature:
    """A feature with a massive activation: above 100, and 1,000 times its token's median magnitude (arXiv 2402.17762).

    Attributes:
        feature: Number.
        magnitude: Largest absolute value over the tokens.
        ratio: That value over the median magnitude of the same token's features.
        counted: Whether a token that training counts has it too, so that it enters the importance map.
    """

    feature: int
    magnitude: float
    ratio: float
    counted: bool


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Attributes:
        layer: Number of the decoder layer, from 0.
        auc: Probability that a held-out forget token lies further along the direction than a held-out retain token;
            0.5 = not separable, 1 = wholly.
        auc_rows: The same for the mean over a row's tokens.
        fisher: Squared distance of the two means along the direction over the sum of the two variances, held out.
        maps: Importance map by name.
        massive: Features with massive activations, largest first.
        largest_ratio: Largest ratio of a magnitude to its token's median magnitude, massive or not.
        heldout_rows: Forget and retain rows that `auc`, `auc_rows` and `fisher` were measured on.
    """

    layer: int
    auc: float
    auc_rows: float
    fisher: float
    maps: Mapping[str, MapSummary]
    massive: tuple[MassiveFeature, ...]
    largest_ratio: float
    heldout_rows: tuple[int, int]


@dataclass(frozen=True)
class MassiveAbove:
    """From where an activation is called massive; it must exceed both.

    Attributes:
        magnitude: Absolute value.
        ratio_to_median: That value over the median magnitude of the same token's features.
    """

    magnitude: float
    ratio_to_median: float


@dataclass(frozen=True)
class ModelOverlap:
    """How far the base model itself tells the two sides apart.

    Attributes:
        family: Of the model, such as `llama`.
        hidden_size: Features of a hidden state.
        default_layer: The layer that a run taps unless a setting names another.
        statistic: Of the activations, from which the importance maps come.
        massive_above: From where an activation is called massive.
        layers: Every decoder layer, in order.
    """

    family: str
    hidden_size: int
    default_layer: int
    statistic: str
    massive_above: MassiveAbove
    layers: tuple[LayerSummary, ...]


@dataclass(frozen=True, kw_only=True)
class OverlapReport:
    """Everything that `srmu overlap` measures; no text of a document.

    Attributes:
        forget: Texts to forget.
        retain: Texts to retain.
        unigram: Shared word types.
        ngrams: Shared sequences of words, by their length: "2", "3".
        paper: What the SRMU paper reports.
        same_documents: Positions, from 0, of the forget documents that are also retain documents.
        near_duplicates: Pairs that are nearly the same, or why they were not looked for.
        model: What a model makes of the two sides; none where no model was given.
        warnings: What should be put right before training; one sentence or two each.
        verdict: One paragraph in plain words; every number in it is in this report.
    """

    forget: CorpusCount
    retain: CorpusCount
    unigram: SharedWords
    ngrams: Mapping[str, SharedWords]
    paper: PaperOverlap
    same_documents: tuple[int, ...]
    near_duplicates: NearDuplicates | NotMeasured
    model: ModelOverlap | None = None
    warnings: tuple[str, ...]
    verdict: str
