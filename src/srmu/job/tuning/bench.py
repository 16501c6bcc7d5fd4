"""Many trials of settings on one model and one set of texts, in memory.

What trials have in common is made once: texts as rows, the loaded layers, the frozen activations of rows between the
same layers, and one whole model, into which the trained matrices are put while it is asked.
"""

import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from srmu.errors import InputError
from srmu.evaluation.audit.audit import AuditItems, audit, prepare_audit
from srmu.evaluation.loading import load_causal_lm
from srmu.evaluation.measure import Measurement, measure
from srmu.job.forecast import questions_seconds, training_seconds
from srmu.job.measuring import forget_texts, knowledge_file
from srmu.job.plan import Plan
from srmu.job.stages import first_stage
from srmu.job.training import make_solver
from srmu.job.tuning.outcome import Score, Validation, judge
from srmu.job.tuning.replan import replan, with_weights
from srmu.results.study import Outcome, StudyTrial
from srmu.runtime.progress import Reporter, in_words
from srmu.solver.frozen import GIB, KeptRows
from srmu.solver.learning_rate import auto_learning_rate
from srmu.solver.staged import StagedSolver
from srmu.solver.topics import TopicRows
from srmu.surgery.layers import find_decoder_layers
from srmu.surgery.truncate import TruncatedModel, load_truncated, shortened
from srmu.surgery.whole_model import must_stream

STORED_HALVES = {"BF16": torch.bfloat16, "F16": torch.float16}


@dataclass(frozen=True)
class Trained:
    """A trial that has been trained and not yet measured.

    Attributes:
        plan: With the trial's settings.
        truncated: The layers that it ran.
        solver: After its last step.
        metrics: One record a step.
        seconds: Wall time of frozen activations and training.
    """

    plan: Plan
    truncated: TruncatedModel
    solver: StagedSolver
    metrics: list[dict[str, Any]]
    seconds: float


@dataclass(frozen=True)
class TrialResult:
    """One trial.

    Attributes:
        settings: What was given over the bench's own settings.
        seed: Of the vector and of the data order.
        measurement: The result's scores on the validation.
        outcome: The same in two numbers.
        forget_loss: Of the last step.
        retain_loss: Of the last step.
        training_seconds: Wall time of frozen activations and training.
        evaluation_seconds: Wall time of the measurement.
    """

    settings: dict[str, Any]
    seed: int
    measurement: Measurement
    outcome: Outcome
    forget_loss: float
    retain_loss: float
    training_seconds: float
    evaluation_seconds: float


class TrialBench:
    """Trains and measures settings, one trial after another.

    A trial's trained matrices are those that a run with its settings would export. Frozen activations may differ from
    the run's in their last bits where an earlier trial read other rows, and so computed them in other batches.

    Args:
        plan: A run whose settings the trials vary; its texts and its model are theirs.
        topics: Its training rows.
        validation: What trials are measured on.
        score: See `judge`.
        audited: Whether trials are also asked a part of what the collateral audit asks.
        reporter: Hears of stages and progress.
    """

    def __init__(
        self,
        plan: Plan,
        topics: Sequence[TopicRows],
        validation: Validation,
        *,
        score: Score = "accuracy",
        audited: bool = False,
        reporter: Reporter | None = None,
    ):
        self.plan = plan
        self.topics = list(topics)
        self.validation = validation
        self.score = score
        self.audited = audited
        self.reporter = reporter or Reporter()
        self._loaded: TruncatedModel | None = None
        self._measuring_seconds = 0.0
        self._kept: OrderedDict[tuple[Any, ...], KeptRows] = OrderedDict()

    def run(self, settings: Mapping[str, Any] | None = None, seed: int | None = None) -> TrialResult:
        """Train with these settings and measure the result; nothing is written.

        Args:
            settings: Fields of `UnlearnConfig` over the plan's.
            seed: Instead of the plan's.

        Raises:
            InputError: If a setting cannot be, or cannot differ between trials.
            RunError: If the training diverged.
        """
        settings = dict(settings or {})
        trained = self.train(settings if seed is None else {**settings, "seed": seed})
        started = time.perf_counter()
        measurement = self.measure(trained.solver)
        last = trained.metrics[-1]
        return TrialResult(
            settings=settings,
            seed=trained.plan.config.training.seed,
            measurement=measurement,
            outcome=judge(self.base, measurement, self.validation, self.score),
            forget_loss=last["forget_loss"],
            retain_loss=last["retain_loss"],
            training_seconds=trained.seconds,
            evaluation_seconds=time.perf_counter() - started,
        )

    def train(self, settings: Mapping[str, Any]) -> Trained:
        """Train with these settings.

        Raises:
            InputError: If a setting cannot be, or cannot differ between trials.
            RunError: If the training diverged.
        """
        started = time.perf_counter()
        plan = replan(self.plan, settings)
        truncated = self._truncated(plan.depth)
        solver = make_solver(plan, truncated, with_weights(self.topics, plan), kept=self._shared(plan))
        metrics: list[dict[str, Any]] = []
        while not solver.done:
            with self.reporter.task("Frozen activations") as progress:
                solver.prepare(progress)
            with self.reporter.task("Trial") as progress:
                solver.run(metrics.extend, lambda done: progress(done, solver.total_steps))
        return Trained(plan, truncated, solver, metrics, time.perf_counter() - started)

    def measure(self, solver: StagedSolver) -> Measurement:
        """Scores of the whole model with a solver's matrices in it, rounded as they would be stored."""
        known = self._known
        with self.holding(solver.result):
            found = self._measure("Measuring the trial")
            if known is None:
                return found
            return replace(found, audit=audit(self.model, self.plan.tokenizer, known, reporter=self.reporter))

    def layers(self, num_layers: int) -> nn.ModuleList:
        """The base's first decoder layers, with their frozen weights."""
        return self._truncated(num_layers).layers

    @cached_property
    def automatic_rate(self) -> float:
        """The mean automatic learning rate of the matrices that the plan trains."""
        plan = first_stage(self.plan)
        layers, chosen = self.layers(plan.depth), plan.parameter_names
        rates = [auto_learning_rate(layers[layer], name) for layer, names in chosen.items() for name in names]
        return sum(rates) / len(rates)

    @cached_property
    def base(self) -> Measurement:
        """Scores of the base on the validation."""
        started = time.perf_counter()
        found = self._measure("Measuring the base model")
        self._measuring_seconds = time.perf_counter() - started
        return found

    @cached_property
    def likely_seconds(self) -> float:
        """What one trial will likely take: a training and an audit, timed by parts of them, and a measurement."""
        assert self.base
        training = training_seconds(self.plan, self._truncated(self.plan.depth), self.topics)
        asked = [fact.question(-1) for fact in self._known.facts] if self._known else []
        audited = questions_seconds(self.plan, self.model, asked) if asked else 0.0
        return training + self._measuring_seconds + audited

    @cached_property
    def _known(self) -> AuditItems | None:
        """What the base knows and trials are asked."""
        if not self.audited:
            return None
        return prepare_audit(
            self.model, self.plan.tokenizer, forget_texts(self.plan),
            reporter=self.reporter, file=knowledge_file(self.plan), is_trial=True,
        )  # fmt: skip

    @cached_property
    def model(self) -> Any:
        """The whole base model; a trial's matrices are in it only while it is measured."""
        plan = self.plan
        if must_stream(plan.checkpoint, plan.device, plan.dtype, plan.config.model.memory_gb):
            raise InputError(
                "Trials measure the whole model in memory, where it does not fit. Give settings without --search, or "
                "find them on a machine with more memory."
            )
        return load_causal_lm(
            plan.checkpoint.path,
            device=plan.device,
            dtype=plan.dtype,
            trust_remote_code=plan.config.model.trust_remote_code,
        )

    def _measure(self, title: str) -> Measurement:
        return measure(
            self.model,
            self.plan.tokenizer,
            texts=self.validation.texts,
            questions=self.validation.questions,
            chat=self.plan.config.data.chat,
            reporter=self.reporter,
            title=title,
        )

    def _truncated(self, num_layers: int) -> TruncatedModel:
        """The first layers: loaded once for the deepest trial, and shared by the shallower ones."""
        if self._loaded is None or len(self._loaded.layers) < num_layers:
            plan = self.plan
            self._loaded = load_truncated(
                plan.checkpoint,
                num_layers,
                dtype=plan.dtype,
                device=plan.device,
                trust_remote_code=plan.config.model.trust_remote_code,
            )
        return shortened(self._loaded, num_layers)

    def _shared(self, plan: Plan) -> KeptRows:
        """Frozen activations between this plan's layers; those used longest ago go when all exceed the limit."""
        config = plan.config
        # Where a replay begins depends on the trained matrices.
        plan = first_stage(plan)
        key = (*plan.parameter_names.items(), plan.layer_id, config.target.skip_sinks, config.target.sink_norm_ratio)
        self._kept.setdefault(key, {})
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(map(_num_bytes, self._kept.values())) > config.training.cache_gb * GIB:
            self._kept.popitem(last=False)
        return self._kept[key]

    @contextmanager
    def holding(self, matrices: Mapping[tuple[int, str], Tensor]) -> Iterator[None]:
        """The whole model has these matrices, rounded as they would be stored, until the block ends."""
        _, layers = find_decoder_layers(self.model.get_decoder(), self.plan.num_layers)
        stored = {STORED_HALVES.get(tensor.dtype) for tensor in self.plan.checkpoint.tensors.values()}
        dtype = stored.pop() if len(stored) == 1 else None
        parameters = {key: layers[key[0]].get_parameter(key[1]) for key in matrices}
        before = {key: parameter.detach().clone() for key, parameter in parameters.items()}
        with torch.no_grad():
            try:
                for key, matrix in matrices.items():
                    parameters[key].copy_(matrix if dtype is None else matrix.to(dtype))
                yield
            finally:
                for key, parameter in parameters.items():
                    parameter.copy_(before[key])


def describe(result: TrialResult, number: int) -> StudyTrial:
    """A trial as a record: settings, outcome and time, no texts."""
    return StudyTrial(
        number=number,
        state="complete",
        settings=result.settings,
        seed=result.seed,
        outcome=result.outcome,
        forget_loss=result.forget_loss,
        retain_loss=result.retain_loss,
        seconds=round(result.training_seconds + result.evaluation_seconds, 3),
    )


class TrialClock:
    """Says how long trials will still take, by those that are done.

    Args:
        trials: All that may be run from now on.
    """

    def __init__(self, trials: int):
        self._trials, self._done, self._started = trials, 0, time.perf_counter()

    def left_after_one(self) -> str:
        """After one more trial: the time of those that are left."""
        self._done += 1
        mean = (time.perf_counter() - self._started) / self._done
        return in_words(mean * max(0, self._trials - self._done))


def say_time(seconds: float, trials: int, *, at_most: bool = False) -> str:
    """What trials will take, before the first: one of them, and all."""
    number = f"at most {trials}" if at_most else str(trials)
    return f"A trial will take about {in_words(seconds)}; {number} of them about {in_words(trials * seconds)}."


def _num_bytes(kept: KeptRows) -> int:
    return sum(part.numel() * part.element_size() for row in kept.values() for part in row)
