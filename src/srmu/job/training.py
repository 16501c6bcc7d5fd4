"""The stages that train: layers loaded, a solver made of them, steps taken."""

import time
from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

from torch import Tensor

from srmu.config.settings import to_dict
from srmu.export.manifest import without_texts
from srmu.job.estimate import PrefixPlace, cache_limit_gb, prefix_place
from srmu.job.plan import Plan
from srmu.job.run import Run
from srmu.job.stages import can_repair, first_stage, repair_stage, rows_of_repair
from srmu.runtime.interruption import StopRequest
from srmu.runtime.processes import largest, main_process, together
from srmu.runtime.progress import in_words
from srmu.runtime.trackers import Tracker, open_tracker
from srmu.solver.frozen import KeptRows
from srmu.solver.gradient import GradientSolver
from srmu.solver.staged import StagedSolver
from srmu.solver.stopping import WINDOW
from srmu.solver.topics import TopicRows
from srmu.surgery.agreement import check_agreement
from srmu.surgery.names import check_names
from srmu.surgery.sharding import shard_below
from srmu.surgery.truncate import TruncatedModel, load_truncated, shortened

STEPS_TIMED = 10
"""After so many steps a run says how long it will take."""


def make_solver(
    plan: Plan,
    truncated: TruncatedModel,
    topics: Sequence[TopicRows],
    *,
    cache_gb: float | None = None,
    kept: KeptRows | None = None,
) -> StagedSolver:
    """The solver of a plan; without a repair where the forget texts do not tell what it needs.

    Args:
        plan: Its settings and trained matrices.
        truncated: The layers that it runs.
        topics: What it trains on.
        cache_gb: Limit of kept frozen activations, instead of the plan's.
        kept: Frozen activations that earlier solvers kept, of the first stage.
    """

    def make(stage: Plan, rows: Sequence[TopicRows], below: Mapping[str, Tensor]) -> GradientSolver:
        training = stage.config.training
        return GradientSolver(
            truncated if stage.depth == len(truncated.layers) else shortened(truncated, stage.depth),
            stage.parameter_names,
            rows,
            stage.config.target,
            training if cache_gb is None else replace(training, cache_gb=cache_gb),
            max_length=stage.config.data.max_length,
            batch_tokens=stage.batch_tokens,
            # What is kept behind other matrices is of no use to another run.
            kept=None if below else kept,
            below=below,
        )

    makers = [partial(make, first_stage(plan), topics)]
    if can_repair(plan, topics):
        makers.append(partial(make, repair_stage(plan), rows_of_repair(topics)))
    return StagedSolver(makers)


def load_solver(run: Run, topics: Sequence[TopicRows]) -> StagedSolver:
    """The layers up to the tapped one, where there is room for them, and their solver."""
    plan = run.plan
    place = prefix_place(plan)
    with together():
        truncated = _load(run, place)
        if run.base_stream is not None:
            check_agreement(truncated, run.base_stream)
    if place == "ranks":
        shard_below(truncated, min(plan.parameter_names))
    return make_solver(plan, truncated, topics, cache_gb=cache_limit_gb(plan, place))


def check_trained_names(plan: Plan, truncated: TruncatedModel) -> None:
    """Prove that each trained matrix is found again in the files.

    Raises:
        InputError: If one is not.
    """
    names = [
        f"{truncated.layers_name}.{layer_id}.{name}"
        for layer_id, layer_names in plan.parameter_names.items()
        for name in layer_names
    ]
    check_names(truncated, plan.checkpoint, names)


def train(run: Run, solver: StagedSolver, stop: StopRequest, earlier: Sequence[dict[str, Any]] = ()) -> None:
    """Take the steps that are left; metrics, states and progress go where they belong.

    Args:
        run: The run.
        solver: At its first step, or past its last one where a search has trained it.
        stop: Where signals are noted.
        earlier: Metrics of steps that a search has taken.

    Raises:
        RunError: If a loss or gradient is not finite.
        Interrupted: If a signal came.
    """
    state = run.directory.load_state()
    if state is not None:
        solver.load_state(state)
    with _listening(run) as listener:
        if earlier:
            listener.hear(earlier)
        while not solver.done:
            with run.timed("frozen"), run.reporter.task("Frozen activations") as progress:
                solver.prepare(progress)
            _train_stage(run, solver, stop, listener)
            _say_what_happened(run, solver.stage, listener.longest_target)
    if run.plan.repair_layer is not None and len(solver.stages) == 1:
        run.reporter.note(
            "Nothing was repaired: the forget texts have fewer than two specific words that could be exchanged for "
            "each other, so that nothing says how they would read about something else."
        )


def _train_stage(run: Run, solver: StagedSolver, stop: StopRequest, listener: "_Listener") -> None:
    """The steps that are left of the stage whose turn it is."""
    save_every, length = run.config.output.save_every, solver.stage.length
    title = "Unlearning" if len(solver.stages) == 1 else "Repairing"
    with run.timed("training"), run.reporter.task(title) as progress:
        progress(solver.next_step, solver.total_steps)
        begun, started = solver.stage.next_step, time.perf_counter()
        listener.longest_target = 0.0

        def after_step(done: int) -> None:
            progress(done, solver.total_steps)
            if solver.stage.next_step == begun + STEPS_TIMED and solver.stage.next_step < length.likely:
                run.reporter.note(_time_left(run, solver, (time.perf_counter() - started) / STEPS_TIMED))
            # Signals reach ranks at different steps: they agree on one.
            if number := largest(stop.signal):
                solver.flush(listener.hear)
                raise run.stopped(solver, number)
            if save_every and done % save_every == 0:
                solver.flush(listener.hear)
                run.directory.save_state(solver.state())

        solver.run(listener.hear, after_step)


def _time_left(run: Run, solver: StagedSolver, step_seconds: float) -> str:
    """What is still to come, once a few steps have been timed and the base has been measured."""
    length, more = solver.stage.length, solver.num_stages - len(solver.stages)
    steps = f"{length.likely} steps" + ("" if length.is_given else ", as is likely; it ends by its losses")
    # Steps of the repair cost about as much.
    training = in_words(step_seconds * (length.likely * (1 + more) - solver.stage.next_step))
    steps += ", and as many to repair" if more else ""
    measuring = sum(run.seconds.get(stage, 0.0) for stage in ("evaluation", "audit"))
    after = f", then about {in_words(measuring)} to measure the result" if measuring >= 1 else ""
    return f"About {training} of training left ({steps}){after}."


class _Listener:
    """Hands the metrics of steps on, and remembers the longest target."""

    def __init__(self, run: Run, tracker: Tracker):
        self.run = run
        self.tracker = tracker
        self.longest_target = 0.0

    def hear(self, records: Sequence[dict[str, Any]]) -> None:
        """Take in the metrics of the next steps."""
        self.longest_target = max([self.longest_target, *(record["target_norm"] for record in records)])
        self.run.directory.write_metrics(records)
        self.tracker.log(records)
        if records:
            last = records[-1]
            self.run.reporter.detail(f"forget {last['forget_loss']:.3g}, retain {last['retain_loss']:.3g}")


@contextmanager
def _listening(run: Run) -> Any:
    tracker = Tracker()
    if main_process():
        tracker = open_tracker(run.config.output.track, run.directory.path, without_texts(to_dict(run.config)))
    try:
        yield _Listener(run, tracker)
    finally:
        tracker.finish()


def _load(run: Run, place: PrefixPlace) -> TruncatedModel:
    plan = run.plan
    if place == "disk":
        run.reporter.note("The layers below the trained ones do not fit into memory: passes read them from disk.")
    with run.timed("load"):
        truncated = load_truncated(
            plan.checkpoint,
            plan.depth,
            dtype=plan.dtype,
            device=plan.device,
            trust_remote_code=plan.config.model.trust_remote_code,
            on_disk_below=min(plan.parameter_names) if place == "disk" else 0,
        )
        check_trained_names(plan, truncated)
    return truncated


def _say_what_happened(run: Run, solver: GradientSolver, longest_target: float) -> None:
    """What a user should know of a training that ended: a target out of reach, or a loss that never fell."""
    # Families that normalise after the MLP cannot follow a long target; one held at what can be reached equals it up
    # to rounding.
    if solver.reach is not None and longest_target >= 0.999 * solver.reach:
        run.reporter.note(
            "This family normalises what an MLP adds: the trained layers can push a token by "
            f"{solver.reach:.3g} at most, and the target was {longest_target:.3g} long. To go further train "
            "the gains too: --target-roles mlp_down,mlp_post_norm."
        )
    if solver.length.never_fell:
        share = fmean(solver.length.losses[-WINDOW:]) / solver.length.losses[0]
        run.reporter.note(
            f"The forget loss did not fall and level off: after {solver.next_step} steps it was "
            f"{100 * share:.0f} % of what it was at first, so little may have been forgotten. "
            "Lower --retain-weight, or let --search choose it."
        )
