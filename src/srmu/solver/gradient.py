"""The gradient solver: frozen activations, replay, loss, AdamW on float32 masters of the trained matrices alone."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from typing import Any

import torch
from torch import Tensor

from srmu.config import UnlearnConfig
from srmu.data.rows import TokenRows
from srmu.data.schedule import Step, build_schedule
from srmu.direction import draw_direction
from srmu.distributed import share, sum_over_ranks, world_size
from srmu.errors import InputError, RunError
from srmu.importance import ActivationSums, ImportanceFitter, activation_sums, importance_map
from srmu.objective.adaptive_rmu import adaptive_rmu_target
from srmu.objective.masked import squared_distance_sum, widen
from srmu.objective.rmu import rmu_target
from srmu.objective.srmu import srmu_target
from srmu.solver.frozen import FrozenRows, FrozenStore
from srmu.solver.learning_rate import auto_learning_rate
from srmu.solver.state import pack_state, unpack_state
from srmu.surgery.layers import ROLES
from srmu.surgery.replay import Replayer
from srmu.surgery.truncate import TruncatedModel

# float16 has too few small numbers for the gradient of a mean over many entries. Losses are scaled by about their
# number of entries, times 2^-8 to leave room above for sums over tokens and a large alpha; a power of two changes no
# digit.
HALF_LOSS_SHIFT = 8.0
# Metrics are read from the device this many steps at a time, so that the loop does not wait for it.
METRICS_EVERY = 10


@dataclass(frozen=True)
class TopicRows:
    """Token rows of one topic.

    Attributes:
        name: Of the topic.
        forget: Forget rows.
        retain: Rows of each retain source; sources have equal shares of a step.
        strength: In the config's unit.
        retain_weight: Alpha.
    """

    name: str
    forget: TokenRows
    retain: tuple[TokenRows, ...]
    strength: float
    retain_weight: float


@dataclass
class Topic:
    """A topic while it is solved: its vector, its map statistics, and where its rows stand in the store."""

    name: str
    direction: Tensor
    strength: float
    retain_weight: float
    fitter: ImportanceFitter
    forget_offset: int
    retain_offsets: tuple[int, ...]
    importance: Tensor | None = field(default=None)


class GradientSolver:
    """Trains the chosen matrices towards the target.

    Of several ranks each takes its share of a step's rows. What is made of rows (statistics, counts, losses, gradients)
    is summed over ranks before anything is made of it, so that all ranks take the step that one would take alone.

    Args:
        truncated: The embedding and layers 0..l.
        parameter_names: Layer id -> names, within the layer, of the matrices to train.
        topics: Token rows of each topic.
        config: The run's settings.
    """

    def __init__(
        self,
        truncated: TruncatedModel,
        parameter_names: Mapping[int, Sequence[str]],
        topics: Sequence[TopicRows],
        config: UnlearnConfig,
    ):
        self.config = config
        self.truncated = truncated
        self.device = next(truncated.inner.parameters()).device
        self.compute_dtype = next(truncated.inner.parameters()).dtype
        self.master_dtype = torch.float64 if self.compute_dtype == torch.float64 else torch.float32
        self.masters = {
            (layer_id, name): truncated.layers[layer_id]
            .get_parameter(name)
            .detach()
            .to(self.master_dtype, copy=True)
            .requires_grad_(True)
            for layer_id, names in sorted(parameter_names.items())
            for name in names
        }
        self.learning_rates = {
            (layer_id, name): auto_learning_rate(truncated.layers[layer_id], name)
            if config.learning_rate == "auto"
            else config.learning_rate
            for layer_id, name in self.masters
        }
        groups = [
            {"params": [master], "lr": rate, "initial_lr": rate}
            for master, rate in zip(self.masters.values(), self.learning_rates.values(), strict=True)
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0)
        self.replayer = Replayer(truncated, min(parameter_names))
        self.topics, all_rows = self._place(topics)
        self.store = self._store(all_rows)
        self.schedule = build_schedule(
            [len(topic.forget.token_ids) for topic in topics],
            [[len(rows.token_ids) for rows in topic.retain] for topic in topics],
            steps=config.steps,
            forget_rows=config.forget_rows,
            retain_rows=config.retain_rows,
            seed=config.seed,
        )
        self.next_step = 0
        self._pending: list[dict[str, Any]] = []

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """Compute what is frozen for the whole run, where it is worth it; returns whether rows are kept."""
        reads = [row_id for step in self.schedule for side in self._row_ids(step) for row_id in share(side)]
        kept = self.store.keep(reads, self.config.cache_gb, progress)
        if self.config.map_scope == "corpus":
            for index, topic in enumerate(self.topics):
                forget = sorted({i for s in self.schedule if s.topic == index for i in self._row_ids(s)[0]})
                retain = sorted({i for s in self.schedule if s.topic == index for i in self._row_ids(s)[1]})
                topic.fitter.update(self._corpus_sums(forget), self._corpus_sums(retain))
        return kept

    def run(self, on_metrics: Callable[[list[dict[str, float]]], None], after_step: Callable[[int], None]) -> None:
        """Take the remaining steps.

        Args:
            on_metrics: Called with the metrics of some steps, in order; also before an error is raised.
            after_step: Called with the number of steps done, for progress bars and saved states.

        Raises:
            RunError: If a loss or gradient is not finite, or a map is zero everywhere; the metrics up to that step
                have been handed over.
        """
        while self.next_step < len(self.schedule):
            self.step()
            if len(self._pending) >= METRICS_EVERY or self.next_step == len(self.schedule):
                self.flush(on_metrics)
            after_step(self.next_step)

    def step(self) -> None:
        """Take one step; its metrics wait for `flush`."""
        started = time.perf_counter()
        step = self.schedule[self.next_step]
        topic = self.topics[step.topic]
        forget, retain = (self.store.get(share(row_ids)) for row_ids in self._row_ids(step))
        tokens = sum_over_ranks(torch.stack([self._num_tokens(groups) for groups in (forget, retain)]))
        targets, target_norm = self._targets(topic, forget, retain)
        scale = self._loss_scale(tokens[0])
        weights = self._compute_weights()
        self.optimizer.zero_grad(set_to_none=True)
        own_losses = (
            self._accumulate(forget, targets, tokens[0], 1.0, scale, weights),
            self._accumulate(retain, [r.output for r in retain], tokens[1], topic.retain_weight, scale, weights),
        )
        forget_loss, retain_loss = sum_over_ranks(torch.stack(own_losses))
        gradient_norm = self._hand_down(weights, scale)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._share_of_rate()
        self.optimizer.step()
        self.next_step += 1
        self._pending.append(
            {
                "step": self.next_step,
                "topic": topic.name,
                "forget_loss": forget_loss,
                "retain_loss": retain_loss,
                "loss": forget_loss + topic.retain_weight * retain_loss,
                "gradient_norm": gradient_norm,
                "target_norm": target_norm,
                "forget_tokens": tokens[0],
                "retain_tokens": tokens[1],
                "seconds": time.perf_counter() - started,
            }
        )

    def flush(self, on_metrics: Callable[[list[dict[str, float]]], None]) -> None:
        """Read the waiting metrics from the device, hand them over, and stop the run if one is not finite."""
        records = [
            {key: value.item() if isinstance(value, Tensor) else value for key, value in record.items()}
            for record in self._pending
        ]
        self._pending.clear()
        on_metrics(records)
        for record in records:
            if not (math.isfinite(record["loss"]) and math.isfinite(record["gradient_norm"])):
                raise RunError(
                    f"The loss became {record['loss']} (gradient norm {record['gradient_norm']}) "
                    f"at step {record['step']}; no checkpoint was written, the metrics are kept. "
                    "Lower --learning-rate or --strength."
                )
            if record["target_norm"] == 0:
                raise RunError(
                    f"The importance map became zero for every feature at step {record['step']}: the forget texts use "
                    "none more than the retain texts do. Give other retain texts, or another --importance-map."
                )

    @property
    def normalises_after_mlp(self) -> bool:
        """Whether the trained layers have a norm behind the matrices, which bounds how far they can push."""
        return any(name in dict(self.truncated.layers[-1].named_parameters()) for name in ROLES["mlp_post_norm"])

    @torch.no_grad()
    def moved(self, rows: TokenRows) -> float:
        """How far counted tokens of other rows moved in the residual stream, relative to their frozen norm."""
        frozen_store = self._store(rows)
        weights = self._by_layer(self._compute_weights())
        distance = norm = 0.0
        for start in range(0, len(rows), 16):
            for group in frozen_store.get(range(start, min(start + 16, len(rows)))):
                updated = self.replayer.replay(group.entry, weights)
                counted = widen(group.output[group.token_mask])
                distance += float((widen(updated[group.token_mask]) - counted).norm(dim=-1).sum())
                norm += float(counted.norm(dim=-1).sum())
        return distance / norm if norm else 0.0

    def trained_parameters(self) -> dict[str, Tensor]:
        """Masters under their names in the truncated model, in their own precision."""
        prefix = self.truncated.layers_name
        return {f"{prefix}.{layer_id}.{name}": master.detach() for (layer_id, name), master in self.masters.items()}

    def state(self) -> dict[str, Tensor]:
        """Everything that changes from step to step, as tensors, for a resumable state."""
        return pack_state(self.next_step, self.masters, self.optimizer, self._fitters())

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `state` gave."""
        self.next_step = unpack_state(tensors, self.masters, self.optimizer, self._fitters(), self.device)

    def _fitters(self) -> dict[str, ImportanceFitter]:
        return {topic.name: topic.fitter for topic in self.topics}

    def _place(self, topics: Sequence[TopicRows]) -> tuple[list[Topic], TokenRows]:
        """Lay all rows one after another and remember where each corpus begins."""
        token_ids: list = []
        placed = []
        for index, topic in enumerate(topics):
            offsets = []
            if not topic.retain or not all(rows.token_ids for rows in (topic.forget, *topic.retain)):
                raise InputError(f"Topic {topic.name!r} has a corpus without rows. Give it longer texts.")
            for rows in (topic.forget, *topic.retain):
                offsets.append(len(token_ids))
                token_ids.extend(rows.token_ids)
            direction = draw_direction(
                self.config.method,
                self.config.misdirection,
                self.truncated.hidden_size,
                seed=self.config.seed,
                topic_index=index,
            )
            placed.append(
                Topic(
                    name=topic.name,
                    direction=direction.to(self.device, self.master_dtype),
                    strength=topic.strength,
                    retain_weight=topic.retain_weight,
                    fitter=ImportanceFitter(self.config.map_scope, self.config.running_decay),
                    forget_offset=offsets[0],
                    retain_offsets=tuple(offsets[1:]),
                )
            )
        return placed, TokenRows(tuple(token_ids), tuple(range(len(token_ids))))

    def _store(self, rows: TokenRows) -> FrozenStore:
        return FrozenStore(
            rows,
            self.replayer,
            row_tokens=self.config.row_tokens,
            sink_norm_ratio=self.config.sink_norm_ratio if self.config.skip_sinks else None,
            device=self.device,
        )

    def _share_of_rate(self) -> float:
        """Of the full rate, at the next step; linear: from all of it at the first step towards none after the last."""
        if self.config.learning_rate_schedule == "constant":
            return 1.0
        return 1 - self.next_step / len(self.schedule)

    def _row_ids(self, step: Step) -> tuple[list[int], list[int]]:
        topic = self.topics[step.topic]
        forget = [topic.forget_offset + position for position in step.forget]
        retain = [topic.retain_offsets[source] + position for source, position in step.retain]
        return forget, retain

    def _sums(self, groups: Sequence[FrozenRows]) -> ActivationSums:
        """Activation sums of the groups; of none, zeros."""
        parts = [activation_sums(rows.output, rows.token_mask, self.config.statistic) for rows in groups]
        if not parts:
            zeros = partial(torch.zeros, dtype=self.master_dtype, device=self.device)
            return ActivationSums(count=zeros(()), features=zeros(self.truncated.hidden_size), norms=zeros(()))
        return reduce(ActivationSums.__add__, parts)

    def _corpus_sums(self, row_ids: Sequence[int]) -> ActivationSums:
        size, own = 64, share(row_ids)
        parts = [self._sums(self.store.get(own[start : start + size])) for start in range(0, len(own), size)]
        return self._over_ranks(reduce(ActivationSums.__add__, parts or [self._sums([])]))

    @staticmethod
    def _over_ranks(sums: ActivationSums) -> ActivationSums:
        """The sums of all ranks' rows, taken before any map or mean is made of them."""
        if world_size() == 1:
            return sums
        packed = sum_over_ranks(torch.cat([torch.stack([sums.count, sums.norms]), sums.features]))
        return ActivationSums(count=packed[0], features=packed[2:], norms=packed[1])

    def _targets(
        self, topic: Topic, forget: Sequence[FrozenRows], retain: Sequence[FrozenRows]
    ) -> tuple[list[Tensor], Tensor]:
        """The target of each forget group, and its mean length."""
        config = self.config
        forget_sums, retain_sums = (self._over_ranks(self._sums(groups)) for groups in (forget, retain))
        if config.map_scope != "corpus":
            topic.fitter.update(forget_sums, retain_sums)
        assert topic.fitter.forget is not None
        assert topic.fitter.retain is not None
        if config.method == "adaptive-rmu":
            targets = [adaptive_rmu_target(topic.direction, topic.strength, rows.output) for rows in forget]
            return targets, topic.strength * forget_sums.mean_norm
        target_of: Callable[[float | Tensor], Tensor] = partial(rmu_target, topic.direction)
        if config.method == "srmu":
            topic.importance = importance_map(
                topic.fitter.forget.mean(config.statistic),
                topic.fitter.retain.mean(config.statistic),
                config.importance_map,
                epsilon=config.map_epsilon,
                difference_lambda=config.difference_lambda,
            )
            target_of = partial(srmu_target, topic.direction, topic.importance)
        coefficient: float | Tensor = topic.strength
        if config.strength_unit == "relative":
            # Where the map is zero everywhere, so is the target; `flush` stops the run.
            coefficient = topic.strength * topic.fitter.forget.mean_norm / target_of(1.0).norm().clamp(min=1e-12)
        target = target_of(coefficient)
        return [target] * len(forget), target.norm()

    def _compute_weights(self) -> dict[tuple[int, str], Tensor]:
        """The masters in the compute dtype, as leaves: their gradients are gathered over the groups of a step."""
        return {
            key: master.detach().to(self.compute_dtype).requires_grad_(True) for key, master in self.masters.items()
        }

    @staticmethod
    def _by_layer(weights: Mapping[tuple[int, str], Tensor]) -> dict[int, dict[str, Tensor]]:
        by_layer: dict[int, dict[str, Tensor]] = {}
        for (layer_id, name), weight in weights.items():
            by_layer.setdefault(layer_id, {})[name] = weight
        return by_layer

    def _accumulate(
        self,
        groups: Sequence[FrozenRows],
        targets: Sequence[Tensor],
        num_tokens: Tensor,
        factor: float,
        scale: Tensor | float,
        weights: Mapping[tuple[int, str], Tensor],
    ) -> Tensor:
        """This rank's part of the mean squared distance over the step's counted tokens and features.

        Adds `factor * scale` times its gradient to that of the weights.
        """
        by_layer = self._by_layer(weights)
        count = num_tokens * self.truncated.hidden_size
        loss = torch.zeros((), dtype=self.master_dtype, device=self.device)
        for rows, target in zip(groups, targets, strict=True):
            hidden = self.replayer.replay(rows.entry, by_layer)
            part = squared_distance_sum(hidden, target, rows.token_mask) / count
            if factor > 0:
                (part * (factor * scale)).backward()
            loss = loss + part.detach()
        return loss

    def _loss_scale(self, num_tokens: Tensor) -> Tensor | float:
        """What losses are multiplied with before the backward pass, and gradients divided by after it."""
        if self.compute_dtype != torch.float16:
            return 1.0
        return torch.exp2(torch.floor(torch.log2(num_tokens * self.truncated.hidden_size)) - HALF_LOSS_SHIFT)

    def _num_tokens(self, groups: Sequence[FrozenRows]) -> Tensor:
        """Counted tokens of this rank's groups."""
        none = torch.zeros((), dtype=torch.int64, device=self.device)
        return torch.stack([none, *(rows.token_mask.sum() for rows in groups)]).sum()

    def _hand_down(self, weights: Mapping[tuple[int, str], Tensor], scale: Tensor | float) -> Tensor:
        """Give the masters the gradients of all ranks, in their own precision; returns the gradients' norm."""
        squares = []
        for key, weight in weights.items():
            master = self.masters[key]
            gradient = torch.zeros_like(master) if weight.grad is None else weight.grad.to(master.dtype)
            master.grad = sum_over_ranks(gradient) / scale
            squares.append(master.grad.square().sum())
        return torch.stack(squares).sum().sqrt()
