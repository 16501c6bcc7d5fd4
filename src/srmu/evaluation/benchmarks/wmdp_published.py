"""Published rows of WMDP, to read a result beside; of other models than the user's, so never to be subtracted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PublishedRows:
    """Rows of one source; accuracies in percent."""

    source: str
    parts: tuple[str, ...]
    """What the columns are of."""
    rows: Mapping[str, tuple[float, ...]]
    """By model and method."""


_RMU = PublishedRows(
    source=(
        "the authors' model cards (cais/Zephyr_RMU, cais/Yi-34B-Chat_RMU, cais/Mixtral-8x7B-Instruct_RMU on the hub), "
        "with arXiv 2403.03218"
    ),
    parts=("bio", "cyber", "mmlu"),
    rows={
        "Zephyr 7B": (63.7, 44.0, 58.1),
        "Zephyr 7B, RMU": (31.2, 28.2, 57.1),
        "Yi 34B Chat": (75.3, 49.7, 72.6),
        "Yi 34B Chat, RMU": (30.7, 29.0, 70.6),
        "Mixtral 8x7B Instruct": (74.8, 52.0, 68.2),
        "Mixtral 8x7B Instruct, RMU": (34.0, 30.8, 67.1),
    },
)
_DEEP_IGNORANCE = PublishedRows(
    source="the model card of EleutherAI/deep-ignorance-unfiltered on the hub, with arXiv 2508.06601",
    parts=("bio_robust", "bio_cloze", "mmlu"),
    rows={
        "6.9B, unfiltered": (42.97, 36.34, 44.92),
        "6.9B, strongly filtered": (35.37, 24.44, 43.21),
        "6.9B, unfiltered, circuit breaking": (29.49, 29.09, 43.61),
        "6.9B, unfiltered, circuit breaking and latent adversarial training": (27.42, 24.44, 42.73),
        "6.9B, strongly filtered, circuit breaking": (25.00, 26.12, 39.45),
    },
)


def published(parts: Sequence[str]) -> list[PublishedRows]:
    """What was published for some parts; MMLU alone calls up nothing."""
    asked = set(parts) - {"mmlu"}
    return [table for table in (_RMU, _DEEP_IGNORANCE) if asked & set(table.parts)]
