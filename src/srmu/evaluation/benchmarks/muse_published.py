"""Published rows of MUSE, to read a result beside; of the benchmark's own 7B models, so never to be subtracted."""

from dataclasses import dataclass

SOURCE = "OpenUnlearning, docs/repro.md at commit d3d7cf9: one untuned setting a method"
MODELS = {"news": "Llama 2 7B (MUSE-News_target)", "books": "ICLM 7B (MUSE-Books_target)"}


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One method as published; per cent."""

    method: str
    verbatim_memorization: float
    knowledge_memorization: float
    privacy_leakage: float
    utility: float


# Knowledge of the forget texts, verbatim memorisation (shares), privacy leakage (per cent), knowledge of the retain
# texts (share), in the source's order.
_ROWS: dict[str, dict[str, tuple[float, float, float, float]]] = {
    "news": {
        "target model": (0.64, 0.58, -99.81, 0.56),
        "retrained": (0.33, 0.20, 0.0, 0.56),
        "GradAscent": (0.0, 0.0, 52.11, 0.0),
        "GradDiff": (0.41, 8.92e-03, 93.23, 0.37),
        "NPO": (0.56, 0.35, -86.00, 0.51),
        "SimNPO": (0.54, 0.36, -86.11, 0.51),
        "RMU": (0.48, 0.05, 56.36, 0.51),
    },
    "books": {
        "target model": (0.47, 1.0, -57.26, 0.69),
        "retrained": (0.3, 0.14, 0.0, 0.69),
        "GradAscent": (0.0, 0.0, -0.67, 0.0),
        "GradDiff": (0.18, 0.16, -37.79, 0.3),
        "NPO": (0.32, 0.84, -54.24, 0.55),
        "SimNPO": (0.32, 0.84, -54.26, 0.54),
        "RMU": (0.29, 0.79, -60.52, 0.48),
    },
}


def published(corpus: str) -> tuple[PublishedRow, ...]:
    """What was published for a corpus."""
    return tuple(
        PublishedRow(
            method=method,
            verbatim_memorization=100 * verbatim,
            knowledge_memorization=100 * knowledge,
            privacy_leakage=leakage,
            utility=100 * utility,
        )
        for method, (knowledge, verbatim, leakage, utility) in _ROWS[corpus].items()
    )
