"""Published rows of TOFU, to read a result beside; of other models than the user's, so never to be subtracted."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class PublishedRow:
    """One method as published."""

    method: str
    forget_quality: float
    """p value."""
    model_utility: float
    forget_truth_ratio: float


@dataclass(frozen=True, kw_only=True)
class PublishedTable:
    """Rows of one source on one model and split."""

    source: str
    model: str
    split: str
    rows: tuple[PublishedRow, ...]


SOURCE = "OpenUnlearning, docs/repro.md at commit d3d7cf9: one untuned setting a method"
# Forget quality, model utility and forget truth ratio on forget01, forget05 and forget10.
_LLAMA_3_2_1B: dict[str, tuple[tuple[float, float, float], ...]] = {
    "full model": ((0.01, 0.60, 0.47), (1.33e-13, 0.60, 0.47), (1.66e-21, 0.60, 0.48)),
    "retrained": ((1.0, 0.60, 0.65), (1.0, 0.60, 0.64), (1.0, 0.59, 0.63)),
    "GradAscent": ((0.27, 0.33, 0.59), (1.94e-119, 0.0, 2.52e-23), (1.06e-239, 0.0, 2.25e-18)),
    "GradDiff": ((0.77, 0.43, 0.57), (1.94e-119, 0.53, 3.87e-34), (1.06e-239, 0.49, 3.53e-27)),
    "IdkDPO": ((0.01, 0.51, 0.60), (1.12e-05, 0.07, 0.62), (4.64e-12, 0.23, 0.60)),
    "NPO": ((0.92, 0.56, 0.66), (0.14, 0.45, 0.70), (0.02, 0.46, 0.70)),
    "SimNPO": ((0.58, 0.46, 0.55), (5.01e-100, 0.58, 4.19e-03), (2.47e-203, 0.54, 1.07e-05)),
    "RMU": ((0.16, 0.55, 0.70), (4.87e-10, 0.58, 0.77), (3.15e-15, 0.59, 0.76)),
}
_LLAMA_2_7B: dict[str, tuple[tuple[float, float, float], ...]] = {
    "full model": ((1.27e-03, 0.63, 0.53), (5.87e-14, 0.63, 0.51), (4.35e-25, 0.63, 0.52)),
    "retrained": ((1.0, 0.63, 0.68), (1.0, 0.63, 0.67), (1.0, 0.61, 0.68)),
    "GradAscent": ((1.88e-04, 0.55, 0.36), (1.94e-119, 0.0, 8.82e-96), (1.06e-239, 0.0, 2.21e-32)),
    "GradDiff": ((3.02e-03, 0.57, 0.41), (1.94e-119, 0.56, 4.14e-95), (1.80e-229, 0.58, 1.46e-07)),
    "IdkDPO": ((0.1, 0.56, 0.67), (4.02e-06, 0.04, 0.67), (5.42e-13, 0.04, 0.64)),
    "NPO": ((0.4, 0.58, 0.65), (0.09, 0.53, 0.71), (0.42, 0.54, 0.73)),
    "SimNPO": ((1.27e-03, 0.58, 0.41), (1.06e-106, 0.6, 3.94e-05), (1.47e-198, 0.6, 3.17e-04)),
    "RMU": ((0.4, 0.62, 0.64), (9.59e-10, 0.02, 0.81), (6.92e-21, 0.03, 0.81)),
}
_MODELS = {"Llama-3.2-1B-Instruct": _LLAMA_3_2_1B, "Llama-2-7b-hf-chat": _LLAMA_2_7B}
_SPLITS = ("forget01", "forget05", "forget10")


def published(split: str) -> tuple[PublishedTable, ...]:
    """What was published for a split, a table for each model."""
    place = _SPLITS.index(split)
    return tuple(
        PublishedTable(
            source=SOURCE,
            model=model,
            split=split,
            rows=tuple(
                PublishedRow(
                    method=method,
                    forget_quality=numbers[place][0],
                    model_utility=numbers[place][1],
                    forget_truth_ratio=numbers[place][2],
                )
                for method, numbers in rows.items()
            ),
        )
        for model, rows in _MODELS.items()
    )
