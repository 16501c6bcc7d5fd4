"""Before any training: how far the base model itself separates forget from retain texts, layer by layer.

Two passes over the rows. The first sums activations of one half of the rows; from them come the importance maps and,
for each layer, a direction. The second projects tokens of the other half, never seen before, onto that direction.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srmu.config.groups import TargetConfig
from srmu.errors import InputError
from srmu.evaluation.texts import batches_by_length
from srmu.inputs.rows import TokenRows, pad_batch, split_rows
from srmu.objective.choices import ImportanceMapName
from srmu.objective.importance import ActivationSums, activation_sums, describe_map, importance_map
from srmu.objective.masked import sink_free_mask, widen
from srmu.results.overlap_records import LayerSummary, MapSummary, MassiveFeature
from srmu.surgery.taps import hidden_of
from srmu.surgery.truncate import TruncatedModel

MAPS: tuple[ImportanceMapName, ...] = ("ratio", "difference", "product")
TOP_FEATURES = 5
HISTOGRAM_BINS = 10
_BATCH_TOKENS = 2048
# What Sun et al. (arXiv 2402.17762) call a massive activation.
MASSIVE_MAGNITUDE, MASSIVE_RATIO = 100.0, 1000.0

Progress = Callable[[int, int], None]


@dataclass
class _Moments:
    """Sums over counted tokens of one side at one layer, and the largest activations over all real tokens."""

    importance: ActivationSums
    total: Tensor
    squares: Tensor
    largest_ratio: Tensor
    massive: Tensor
    """`[3, hidden]`: largest magnitude and ratio of massive activations, and 1 where a counted token has one."""

    def absorb(self, other: "_Moments") -> None:
        """Add another batch."""
        self.importance = self.importance + other.importance
        self.total, self.squares = self.total + other.total, self.squares + other.squares
        self.largest_ratio = torch.maximum(self.largest_ratio, other.largest_ratio)
        self.massive = torch.maximum(self.massive, other.massive)


def summarize_layers(
    truncated: TruncatedModel,
    forget: TokenRows,
    retain: TokenRows,
    *,
    config: TargetConfig | None = None,
    max_rows: int = 64,
    progress: Progress | None = None,
) -> list[LayerSummary]:
    """Measure every layer of a model on both sides.

    The direction is that of a linear discriminant with a diagonal covariance: difference of the two means over the
    pooled variance, feature by feature.

    Args:
        truncated: The layers to measure; the final norm is not among them.
        forget: Rows to forget; half of them, by documents, are held out.
        retain: Rows to retain, in the same form.
        config: Statistic, guards of the maps and sink ratio; none = the defaults.
        max_rows: Most rows of a side in each half.
        progress: Called with rows done and rows in all.

    Raises:
        InputError: A side has a single row or equal ones only, so that nothing can be held out.
    """
    config = config or TargetConfig()
    halves = {}
    for role, rows in (("forget", forget), ("retain", retain)):
        train, heldout = split_rows(rows, 0.5, max_rows, seed=0)
        if not len(train) or not len(heldout):
            raise InputError(
                f"Separability needs two different {role} texts, and there is {len(rows)} row. Give more of them."
            )
        halves[role] = (train.select(range(min(len(train), max_rows))), heldout)
    total, done = sum(len(half) for pair in halves.values() for half in pair), 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if progress:
            progress(done, total)

    moments = {role: _sum_rows(truncated, pair[0], config, advance) for role, pair in halves.items()}
    directions = [_direction(f, r) for f, r in zip(moments["forget"], moments["retain"], strict=True)]
    scores = {role: _project_rows(truncated, pair[1], directions, config, advance) for role, pair in halves.items()}
    return [
        _summarize(layer, moments["forget"][layer], moments["retain"][layer],
                   [score[layer] for score in scores["forget"]], [score[layer] for score in scores["retain"]], config)
        for layer in range(len(directions))
    ]  # fmt: skip


def area_under_curve(positive: np.ndarray, negative: np.ndarray) -> float:
    """Probability that a value of `positive` exceeds one of `negative`, ties counted half (Mann-Whitney)."""
    ordered = np.sort(negative)
    below = np.searchsorted(ordered, positive, side="left")
    up_to = np.searchsorted(ordered, positive, side="right")
    return float((below + up_to).mean() / 2 / len(negative))


def summarize_map(importance: Tensor) -> MapSummary:
    """Histogram, effective dimension and heaviest features of a map `[hidden]` in [0, 1]."""
    importance = importance.float().cpu()
    numbers = describe_map(importance)
    counts = torch.histc(importance, bins=HISTOGRAM_BINS, min=0, max=1)
    top = importance.topk(min(TOP_FEATURES, len(importance)))
    return MapSummary(
        histogram=tuple(int(count) for count in counts),
        effective_dimension=numbers["effective_dimension"],
        share_of_zeros=numbers["share_of_zeros"],
        top_features=tuple((int(i), float(v)) for i, v in zip(top.indices, top.values, strict=True)),
    )


@torch.no_grad()
def _visit(
    truncated: TruncatedModel, rows: TokenRows, row_ids: Sequence[int], see: Callable[[int, Tensor, Tensor], None]
) -> None:
    """Run a batch; `see` gets each layer's number, its output and the mask of real tokens, one layer at a time."""
    device = next(truncated.inner.parameters()).device
    batch = pad_batch(rows, row_ids)
    real_mask = batch.real_mask.to(device)

    def hook(layer: int) -> Callable[..., None]:
        return lambda _module, _inputs, output: see(layer, hidden_of(output), real_mask)

    with ExitStack() as stack:
        for number, layer in enumerate(truncated.layers):
            stack.callback(layer.register_forward_hook(hook(number)).remove)
        truncated.inner(input_ids=batch.token_ids.to(device), use_cache=False)


def _counted(hidden: Tensor, real_mask: Tensor, config: TargetConfig) -> Tensor:
    """The tokens that training would count."""
    return sink_free_mask(hidden, real_mask, config.sink_norm_ratio) if config.skip_sinks else real_mask


def _sum_rows(
    truncated: TruncatedModel, rows: TokenRows, config: TargetConfig, advance: Callable[[int], None]
) -> list[_Moments]:
    moments: dict[int, _Moments] = {}

    def see(layer: int, hidden: Tensor, real_mask: Tensor) -> None:
        found = _moments(hidden, real_mask, config)
        if layer in moments:
            moments[layer].absorb(found)
        else:
            moments[layer] = found

    for batch in batches_by_length(rows.lengths, _BATCH_TOKENS):
        _visit(truncated, rows, batch, see)
        advance(len(batch))
    return [moments[layer] for layer in sorted(moments)]


def _moments(hidden: Tensor, real_mask: Tensor, config: TargetConfig) -> _Moments:
    mask = _counted(hidden, real_mask, config)
    wide = widen(hidden)
    counted = wide[mask].to("cpu", torch.float64)
    magnitudes = wide[real_mask].abs()
    ratios = magnitudes / magnitudes.median(dim=-1, keepdim=True).values.clamp(min=1e-12)
    found = ((magnitudes > MASSIVE_MAGNITUDE) & (ratios >= MASSIVE_RATIO)).float()
    massive = torch.stack([magnitudes * found, ratios * found, mask[real_mask].float()[:, None] * found])
    return _Moments(
        importance=activation_sums(hidden, mask, config.statistic),
        total=counted.sum(0),
        squares=counted.square().sum(0),
        largest_ratio=ratios.max(),
        massive=massive.amax(1),
    )


def _direction(forget: _Moments, retain: _Moments) -> Tensor:
    """Difference of the means over the pooled variance, `[hidden]` float64."""
    means, variances = [], []
    for side in (forget, retain):
        count = max(float(side.importance.count), 1.0)
        means.append(side.total / count)
        variances.append((side.squares / count - means[-1].square()).clamp(min=0))
    pooled = (variances[0] + variances[1]) / 2
    # A feature that hardly ever varies must not take over.
    return (means[0] - means[1]) / (pooled + 1e-6 * pooled.mean() + 1e-30)


def _project_rows(
    truncated: TruncatedModel,
    rows: TokenRows,
    directions: Sequence[Tensor],
    config: TargetConfig,
    advance: Callable[[int], None],
) -> list[list[np.ndarray]]:
    """For each row that counts a token, and each layer, the projections of its counted tokens."""
    found: list[list[np.ndarray]] = [[np.zeros(0)] * len(directions) for _ in range(len(rows))]
    for batch in batches_by_length(rows.lengths, _BATCH_TOKENS):

        def see(layer: int, hidden: Tensor, real_mask: Tensor, batch: Sequence[int] = batch) -> None:
            mask = _counted(hidden, real_mask, config)
            values = hidden.to("cpu", torch.float64) @ directions[layer]
            for place, row in enumerate(batch):
                found[row][layer] = values[place][mask[place].cpu()].numpy()

        _visit(truncated, rows, batch, see)
        advance(len(batch))
    return found


def _summarize(
    layer: int,
    forget: _Moments,
    retain: _Moments,
    forget_scores: Sequence[np.ndarray],
    retain_scores: Sequence[np.ndarray],
    config: TargetConfig,
) -> LayerSummary:
    sides: list[Any] = [
        [row for row in scores if len(row)] or [np.full(1, np.nan)] for scores in (forget_scores, retain_scores)
    ]
    tokens = [np.concatenate(rows) for rows in sides]
    row_means = [np.array([row.mean() for row in rows]) for rows in sides]
    spread = float(tokens[0].var() + tokens[1].var())
    v_forget, v_retain = (side.importance.mean(config.statistic) for side in (forget, retain))
    maps: dict[str, MapSummary] = {
        name: summarize_map(
            importance_map(
                v_forget, v_retain, name,
                epsilon=config.map_epsilon, difference_lambda=config.difference_lambda,
            )
        )
        for name in MAPS
    }  # fmt: skip
    return LayerSummary(
        layer=layer,
        auc=area_under_curve(tokens[0], tokens[1]),
        auc_rows=area_under_curve(row_means[0], row_means[1]),
        fisher=float((tokens[0].mean() - tokens[1].mean()) ** 2 / spread) if spread else 0.0,
        maps=maps,
        massive=_massive(torch.maximum(forget.massive, retain.massive)),
        largest_ratio=float(torch.maximum(forget.largest_ratio, retain.largest_ratio)),
        heldout_rows=(len(forget_scores), len(retain_scores)),
    )


def _massive(found: Tensor) -> tuple[MassiveFeature, ...]:
    """Features with a massive activation, largest first, of the rows of `_Moments.massive`."""
    magnitudes, ratios, counted = found.tolist()
    features = [
        MassiveFeature(number, magnitude, ratio, bool(is_counted))
        for number, (magnitude, ratio, is_counted) in enumerate(zip(magnitudes, ratios, counted, strict=True))
        if magnitude
    ]
    return tuple(sorted(features, key=lambda feature: -feature.magnitude))
