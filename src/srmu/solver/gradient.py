"""The gradient solver: frozen activations, replay, loss, AdamW on float32 masters of the trained matrices alone."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor

from srmu.config.groups import TargetConfig, TrainingConfig
from srmu.inputs.rows import TokenRows
from srmu.objective.importance import ActivationSums, ImportanceFitter
from srmu.objective.masked import squared_distance_sum, widen
from srmu.runtime.memory import keep_freed_memory
from srmu.runtime.processes import share, sum_over_ranks
from srmu.solver.batches import FORGET, RETAIN, Part, join_entries, replay_batches
from srmu.solver.change_scale import scaled_back
from srmu.solver.frozen import FrozenRows, FrozenStore, KeptRows
from srmu.solver.learning_rate import learning_rates
from srmu.solver.loss_scale import loss_scale
from srmu.solver.metrics import check_metrics, read_metrics
from srmu.solver.schedule import Step, build_schedule
from srmu.solver.state import pack_state, unpack_state
from srmu.solver.stopping import RunLength, given_steps
from srmu.solver.targets import TargetMaker
from srmu.solver.topics import TopicRows, TopicState, balance_states, begin_balances, load_balances, place_topics
from srmu.surgery.reach import reachable_length
from srmu.surgery.replay import Replayer
from srmu.surgery.truncate import TruncatedModel

# Metrics are read from the device this many steps at a time, so that the loop does not wait for it.
METRICS_EVERY = 10


class GradientSolver:
    """Trains the chosen matrices towards the target.

    Of several ranks each takes its share of a step's rows. What is made of rows (statistics, counts, losses, gradients)
    is summed over ranks before anything is made of it, so that all ranks take the step that one would take alone.

    Args:
        truncated: The embedding and layers 0..l.
        parameter_names: Layer id -> names, within the layer, of the matrices to train.
        topics: Token rows of each topic.
        target: What forget rows are driven to; none = the default.
        training: How, and for how long; none = the default.
        max_length: Longest row that will be seen, in tokens; none = that of the topics.
        batch_tokens: Tokens that go through layers at once; none = what suits the device.
        kept: Frozen activations that earlier solvers of the same topics' rows and layers kept, shared between them.
        below: By name, matrices of lower layers that a stage before this one has trained, in the compute dtype.
    """

    def __init__(
        self,
        truncated: TruncatedModel,
        parameter_names: Mapping[int, Sequence[str]],
        topics: Sequence[TopicRows],
        target: TargetConfig | None = None,
        training: TrainingConfig | None = None,
        *,
        max_length: int | None = None,
        batch_tokens: int | None = None,
        kept: KeptRows | None = None,
        below: Mapping[str, Tensor] | None = None,
    ):
        self.target = target = target or TargetConfig()
        self.training = training = training or TrainingConfig()
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
        self.learning_rates = learning_rates(truncated.layers, self.masters, training.learning_rate)
        groups = [
            {"params": [master], "lr": rate, "initial_lr": rate}
            for master, rate in zip(self.masters.values(), self.learning_rates.values(), strict=True)
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=0.0, fused=True)
        first_layer = min(parameter_names)
        self.replayer = Replayer(truncated, first_layer, parameter_names[first_layer])
        self.reach = reachable_length(truncated, parameter_names)
        self.target_maker = TargetMaker(target, truncated.hidden_size, self.master_dtype, self.device, self.reach)
        self.topics, all_rows = place_topics(
            topics, target, training.seed, truncated.hidden_size, self.master_dtype, self.device
        )
        self.max_length = max_length or max(all_rows.lengths)
        self.store = self._store(all_rows, batch_tokens, kept, below)
        self.length = RunLength(given_steps(training), len(topics))
        self.schedule = build_schedule(
            [len(topic.forget.token_ids) for topic in topics],
            [[len(rows.token_ids) for rows in topic.retain] for topic in topics],
            steps=self.length.planned,
            forget_batch_size=training.forget_batch_size,
            retain_batch_size=training.retain_batch_size,
            seed=training.seed,
        )
        begin_balances(self.topics, training.remaining_loss, self.length.planned, self.device)
        # Of the masters after each of the last steps; empty until the first of them.
        self.averages: dict[tuple[int, str], Tensor] = {}
        self.next_step = 0
        self._pending: list[dict[str, Any]] = []

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> bool:
        """Compute what is frozen for the whole run, where it is worth it; returns whether rows are kept."""
        keep_freed_memory()
        if self.replayer.sharded:
            self.store.record_calls()
        likely = self.schedule[: self.length.likely]
        reads = [row_id for step in likely for side in self._row_ids(step) for row_id in share(side)]
        kept = self.store.keep(reads, self.training.cache_gb, progress)
        if self.target.map_scope == "corpus":
            for index, topic in enumerate(self.topics):
                forget = sorted({i for s in likely if s.topic == index for i in self._row_ids(s)[0]})
                retain = sorted({i for s in likely if s.topic == index for i in self._row_ids(s)[1]})
                topic.fitter.update(self._corpus_sums(forget), self._corpus_sums(retain))
        for index, topic in enumerate(self.topics):
            forget = [row_id for step in self.schedule if step.topic == index for row_id in self._row_ids(step)[0]]
            self.target_maker.prepare(topic, self.store, forget, self.training, progress)
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
        while not self.done:
            self.step()
            # By the step's number: an end that is found from the losses is found at the same step in a resumed run.
            if self.next_step % METRICS_EVERY == 0 or self.done:
                self.flush(on_metrics)
            after_step(self.next_step)

    @property
    def done(self) -> bool:
        """Whether all steps have been taken."""
        return self.length.total is not None and self.next_step >= self.length.total

    def step(self) -> None:
        """Take one step; its metrics wait for `flush`."""
        started = time.perf_counter()
        step = self.schedule[self.next_step]
        topic = self.topics[step.topic]
        sides = [share(row_ids) for row_ids in self._row_ids(step)]
        lengths = self.store.lengths([*sides[0], *sides[1]])
        forget, retain = (self.store.get(row_ids, lengths) for row_ids in sides)
        targets, target_norm = self.target_maker.targets(topic, forget, retain)
        parts = [
            Part(FORGET, rows, target, self._token_weights(topic, rows))
            for rows, target in zip(forget, targets, strict=True)
        ]
        parts += [Part(RETAIN, rows, rows.output) for rows in retain]
        totals = sum_over_ranks(self._totals(parts))
        scale = loss_scale(self.compute_dtype, totals[FORGET] * self.truncated.hidden_size)
        weights = self._compute_weights()
        self.optimizer.zero_grad(set_to_none=True)
        retain_weight = topic.current_weight
        own_losses = self._accumulate(parts, totals, (1.0, retain_weight), scale, weights)
        forget_loss, retain_loss = sum_over_ranks(own_losses)
        topic.see(forget_loss)
        gradient_norm = self._hand_down(weights, scale)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self._share_of_rate()
        self.optimizer.step()
        self.next_step += 1
        self._average()
        self._pending.append(
            {
                "step": self.next_step,
                "topic": topic.name,
                "forget_loss": forget_loss,
                "retain_loss": retain_loss,
                "loss": forget_loss + retain_weight * retain_loss,
                "retain_weight": torch.as_tensor(retain_weight),
                "gradient_norm": gradient_norm,
                "target_norm": target_norm,
                "forget_tokens": totals[FORGET],
                "retain_tokens": totals[RETAIN],
                "seconds": time.perf_counter() - started,
            }
        )

    def flush(self, on_metrics: Callable[[list[dict[str, float]]], None]) -> None:
        """Read the waiting metrics from the device, hand them over, and stop the run if one is not finite."""
        records = read_metrics(self._pending)
        self._pending.clear()
        on_metrics(records)
        check_metrics(records)
        self.length.see(record["forget_loss"] for record in records)

    @torch.no_grad()
    def moved(self, rows: TokenRows) -> float:
        """How far counted tokens of other rows moved in the residual stream, relative to their frozen norm."""
        frozen_store = self.store.of_rows(rows)
        weights = self._by_layer(self._compute_weights(self.result))
        distance = norm = 0.0
        for start in range(0, len(rows), 16):
            for group in frozen_store.get(range(start, min(start + 16, len(rows)))):
                updated = self.replayer.replay(group.entry, weights)
                counted = widen(group.output[group.token_mask])
                distance += float((widen(updated[group.token_mask]) - counted).norm(dim=-1).sum())
                norm += float(counted.norm(dim=-1).sum())
        return distance / norm if norm else 0.0

    @property
    def result(self) -> Mapping[tuple[int, str], Tensor]:
        """The trained matrices as they are to be used: averaged, and scaled back, where that was asked for."""
        return scaled_back(self.averages or self.masters, self.truncated.layers, self.training.change_scale)

    def trained_parameters(self) -> dict[str, Tensor]:
        """The result under the matrices' names in the truncated model, in the masters' precision."""
        prefix = self.truncated.layers_name
        return {f"{prefix}.{layer_id}.{name}": matrix.detach() for (layer_id, name), matrix in self.result.items()}

    def state(self) -> dict[str, Tensor]:
        """Everything that changes from step to step, as tensors, for a resumable state; `flush` comes before it."""
        return pack_state(
            self.next_step, self.masters, self.averages, self.optimizer, self._fitters(), self.length.losses
        ) | balance_states(self.topics)

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue from what `state` gave."""
        self.next_step, losses = unpack_state(
            tensors, self.masters, self.averages, self.optimizer, self._fitters(), self.device
        )
        self.length.see(losses)
        load_balances(self.topics, tensors, self.device)
        # A topic whose last step is past takes no other, and its map is part of what the run leaves.
        for topic in self.topics:
            self.target_maker.make_map(topic)

    def _fitters(self) -> dict[str, ImportanceFitter]:
        return {topic.name: topic.fitter for topic in self.topics}

    def _store(
        self, rows: TokenRows, batch_tokens: int | None, kept: KeptRows | None, below: Mapping[str, Tensor] | None
    ) -> FrozenStore:
        return FrozenStore(
            rows,
            self.replayer,
            max_length=self.max_length,
            sink_norm_ratio=self.target.sink_norm_ratio if self.target.skip_sinks else None,
            device=self.device,
            batch_tokens=batch_tokens,
            kept=kept,
            below=below,
        )

    def _share_of_rate(self) -> float:
        """Of the full rate, at the next step."""
        if self.training.learning_rate_schedule == "constant":
            return 1.0
        return self.length.share_of_rate(self.next_step)

    def _row_ids(self, step: Step) -> tuple[list[int], list[int]]:
        topic = self.topics[step.topic]
        forget = [topic.forget_offset + position for position in step.forget]
        return forget, [topic.retain_offsets[source] + position for source, position in step.retain]

    def _corpus_sums(self, row_ids: Sequence[int]) -> ActivationSums:
        parts = [self.target_maker.own_sums(groups) for groups in self.store.own_parts(row_ids)]
        return self.target_maker.over_ranks(reduce(ActivationSums.__add__, parts))

    @torch.no_grad()
    def _average(self) -> None:
        """Take the masters into the average of the last steps, where it is their turn."""
        taken = self.next_step - self.length.first_averaged(self.training.weight_averaging)
        if taken == 1:
            self.averages.update({key: master.detach().clone() for key, master in self.masters.items()})
        elif taken > 1:
            for key, average in self.averages.items():
                average.lerp_(self.masters[key], 1 / taken)

    def _token_weights(self, topic: TopicState, rows: FrozenRows) -> Tensor | None:
        """What each token of forget rows weighs, `[batch, seq]`."""
        return topic.weights_of(rows.token_ids, torch.zeros((), dtype=self.master_dtype, device=self.device))

    def _compute_weights(
        self, matrices: Mapping[tuple[int, str], Tensor] | None = None
    ) -> dict[tuple[int, str], Tensor]:
        """The masters in the compute dtype, as leaves: their gradients are gathered over the groups of a step."""
        matrices = self.masters if matrices is None else matrices
        return {key: matrix.detach().to(self.compute_dtype).requires_grad_(True) for key, matrix in matrices.items()}

    @staticmethod
    def _by_layer(weights: Mapping[tuple[int, str], Tensor]) -> dict[int, dict[str, Tensor]]:
        by_layer: dict[int, dict[str, Tensor]] = {}
        for (layer_id, name), weight in weights.items():
            by_layer.setdefault(layer_id, {})[name] = weight
        return by_layer

    def _accumulate(
        self,
        parts: Sequence[Part],
        totals: Tensor,
        factors: tuple[float, float | Tensor],
        scale: Tensor | float,
        weights: Mapping[tuple[int, str], Tensor],
    ) -> Tensor:
        """This rank's part of each side's mean squared distance over the step's counted tokens and features, `[2]`.

        A token counts as often as it weighs, and `totals` are the weights of each side. Adds `factor * scale` times
        the gradient of each side's to that of the weights.
        """
        by_layer = self._by_layer(weights)
        counts = totals * self.truncated.hidden_size
        losses = torch.zeros(2, dtype=self.master_dtype, device=self.device)
        for batch in replay_batches(parts, self.store.batch_tokens):
            hidden = self.replayer.replay(join_entries(batch), by_layer)
            objective = torch.zeros_like(losses[0])
            for part, own in zip(batch, hidden.split([len(part.rows.output) for part in batch]), strict=True):
                loss = (
                    squared_distance_sum(own, part.target, part.rows.token_mask, part.token_weights) / counts[part.side]
                )
                losses[part.side] += loss.detach()
                if isinstance(factors[part.side], Tensor) or factors[part.side] > 0:
                    objective = objective + loss * (factors[part.side] * scale)
            if objective.requires_grad:
                objective.backward()
        return losses

    def _totals(self, parts: Sequence[Part]) -> Tensor:
        """What this rank's counted tokens of each side weigh, `[2]`; 1 each, unless weighted."""
        totals = torch.zeros(2, dtype=self.master_dtype, device=self.device)
        for part in parts:
            totals[part.side] += part.weight
        return totals

    def _hand_down(self, weights: Mapping[tuple[int, str], Tensor], scale: Tensor | float) -> Tensor:
        """Give the masters the gradients of all ranks, in their own precision; returns the gradients' norm."""
        for key, weight in weights.items():
            master = self.masters[key]
            gradient = torch.zeros_like(master) if weight.grad is None else weight.grad.to(master.dtype)
            master.grad = sum_over_ranks(gradient).div_(scale)
        norms = [torch.linalg.vector_norm(master.grad) for master in self.masters.values()]
        return torch.linalg.vector_norm(torch.stack(norms))
