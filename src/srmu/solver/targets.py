"""What forget rows are driven to: from frozen activations over map and statistics to the target."""

from collections.abc import Callable, Sequence
from functools import partial, reduce

import torch
from torch import Tensor

from srmu.config.groups import TargetConfig, TrainingConfig
from srmu.errors import InputError
from srmu.objective.adaptive_rmu import adaptive_rmu_target
from srmu.objective.counterfactual import counterfactual_target
from srmu.objective.erasure import CentroidSums, centroid_sums, erasure_target, make_erasure
from srmu.objective.importance import ActivationSums, activation_sums, importance_map
from srmu.objective.rmu import rmu_target
from srmu.objective.srmu import srmu_target
from srmu.runtime.processes import sum_over_ranks, world_size
from srmu.solver.counterfactual import Counterfactuals
from srmu.solver.frozen import FrozenRows, FrozenStore
from srmu.solver.topics import TopicState


class TargetMaker:
    """Makes the targets of a step; sums are added up over ranks before anything is made of them.

    Args:
        config: What the target is.
        hidden_size: Width of the residual stream.
        dtype: Of sums and targets.
        device: Where they live.
        reach: Longest move that the trained matrices can make, see `surgery.reach`; a relative target is no longer
            than that. None = nothing bounds it.
    """

    def __init__(
        self,
        config: TargetConfig,
        hidden_size: int,
        dtype: torch.dtype,
        device: torch.device,
        reach: float | None = None,
    ):
        self.config = config
        self.hidden_size = hidden_size
        self.dtype = dtype
        self.device = device
        self.reach = reach

    def own_sums(self, groups: Sequence[FrozenRows]) -> ActivationSums:
        """Activation sums of this rank's groups; of none, zeros."""
        parts = [activation_sums(rows.output, rows.token_mask, self.config.statistic) for rows in groups]
        if not parts:
            zeros = partial(torch.zeros, dtype=self.dtype, device=self.device)
            return ActivationSums(count=zeros(()), features=zeros(self.hidden_size), norms=zeros(()))
        return reduce(ActivationSums.__add__, parts)

    @staticmethod
    def over_ranks(sums: ActivationSums) -> ActivationSums:
        """The sums of all ranks' rows."""
        if world_size() == 1:
            return sums
        packed = sum_over_ranks(torch.cat([torch.stack([sums.count, sums.norms]), sums.features]))
        return ActivationSums(count=packed[0], features=packed[2:], norms=packed[1])

    def own_centroid_sums(self, topic: TopicState, groups: Sequence[FrozenRows]) -> CentroidSums:
        """Sums over the specific tokens of this rank's groups of forget rows; of none, zeros."""
        size, axes = self.hidden_size, self.config.erased_axes
        zeros = partial(torch.zeros, dtype=self.dtype, device=self.device)
        sums = CentroidSums(zeros(()), zeros(size), zeros(size, size) if axes else None)
        for rows in groups:
            weights = self._weights(topic, rows)
            sums += centroid_sums(rows.output, rows.token_mask, weights, with_moments=axes > 0)
        return sums

    def prepare(
        self,
        topic: TopicState,
        store: FrozenStore,
        forget_ids: Sequence[int],
        training: TrainingConfig,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        """Find what a topic's targets are made of, where more is needed than the rows of a step.

        Args:
            topic: The topic.
            store: Has its rows.
            forget_ids: Forget rows that the run may read, on all ranks.
            training: Seed, and how much may be kept.
            progress: Called with rows done and rows in all, where rows are read.

        Raises:
            InputError: If no forget token is specific, or too few are.
        """
        if self.config.method == "erasure":
            self.find_erasure(topic, store)
        if self.config.method == "counterfactual":
            assert topic.token_weights is not None
            rows = range(topic.forget_offset, topic.retain_offsets[0])
            topic.counterfactuals = Counterfactuals(
                store, rows, forget_ids, topic.token_weights, topic.name, training.seed
            )
            topic.counterfactuals.keep(training.cache_gb, progress)

    def find_erasure(self, topic: TopicState, store: FrozenStore) -> None:
        """The topic's centroid and axes, from all its forget rows on all ranks.

        A resumed run finds the same, since all of it is frozen.

        Raises:
            InputError: If no forget token is specific.
        """
        row_ids = range(topic.forget_offset, topic.retain_offsets[0])
        parts = [self.own_centroid_sums(topic, groups) for groups in store.own_parts(row_ids)]
        own = reduce(CentroidSums.__add__, parts)
        sums = CentroidSums(
            sum_over_ranks(own.weight),
            sum_over_ranks(own.features),
            None if own.moments is None else sum_over_ranks(own.moments),
        )
        if not sums.weight > 0:
            raise InputError(
                f"No token of the forget texts of {topic.name!r} is specific: the retain texts have all of them as "
                "often, so there is nothing to erase. Give other retain texts, or --forget-tokens all."
            )
        topic.erasure = make_erasure(sums, self.config.erased_axes)

    def _weights(self, topic: TopicState, rows: FrozenRows) -> Tensor:
        weights = topic.weights_of(rows.token_ids, torch.zeros((), dtype=self.dtype, device=self.device))
        return torch.ones_like(rows.token_mask, dtype=self.dtype) if weights is None else weights

    def make_map(self, topic: TopicState) -> None:
        """The topic's importance map from its statistics, where the method has one and there are statistics."""
        forget, retain, config = topic.fitter.forget, topic.fitter.retain, self.config
        if config.method == "srmu" and forget is not None and retain is not None:
            topic.importance = importance_map(
                forget.mean(config.statistic),
                retain.mean(config.statistic),
                config.importance_map,
                epsilon=config.map_epsilon,
                difference_lambda=config.difference_lambda,
            )

    def targets(
        self, topic: TopicState, forget: Sequence[FrozenRows], retain: Sequence[FrozenRows]
    ) -> tuple[list[Tensor], Tensor]:
        """The target of each forget group, and its mean length."""
        config = self.config
        if topic.erasure is not None:
            targets = [erasure_target(rows.output, self._weights(topic, rows), topic.erasure) for rows in forget]
            return targets, topic.erasure.centroid.norm()
        if topic.counterfactuals is not None:
            means = topic.counterfactuals.means(forget)
            targets = [
                counterfactual_target(rows.output, mean, config.overshoot)
                for rows, mean in zip(forget, means, strict=True)
            ]
            # As far as the tokens themselves: the target lies among them.
            return targets, self.over_ranks(self.own_sums(forget)).mean_norm
        forget_sums, retain_sums = (self.over_ranks(self.own_sums(groups)) for groups in (forget, retain))
        if config.map_scope != "corpus":
            topic.fitter.update(forget_sums, retain_sums)
        assert topic.fitter.forget is not None
        assert topic.fitter.retain is not None
        if config.method == "adaptive-rmu":
            targets = [adaptive_rmu_target(topic.direction, topic.steering_coefficient, rows.output) for rows in forget]
            return targets, topic.steering_coefficient * forget_sums.mean_norm
        target_of: Callable[[float | Tensor], Tensor] = partial(rmu_target, topic.direction)
        self.make_map(topic)
        if topic.importance is not None:
            target_of = partial(srmu_target, topic.direction, topic.importance)
        coefficient: float | Tensor = topic.steering_coefficient
        if config.coefficient_unit == "relative":
            # Where the map is zero everywhere, so is the target; `GradientSolver.flush` stops the run.
            length = topic.steering_coefficient * topic.fitter.forget.mean_norm
            if self.reach is not None:
                length = length.clamp(max=self.reach)
            coefficient = length / target_of(1.0).norm().clamp(min=1e-12)
        target = target_of(coefficient)
        if topic.token_directions is None or topic.importance is None:
            return [target] * len(forget), target.norm()
        vectors = [topic.token_directions.of(rows.token_ids) for rows in forget]
        return [srmu_target(vector, topic.importance, coefficient) for vector in vectors], target.norm()
