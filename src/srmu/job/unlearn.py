"""The main job: a config in, a run directory out."""

import dataclasses
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from srmu.config.settings import UnlearnConfig, to_dict
from srmu.errors import InputError, Interrupted, RunError
from srmu.evaluation.loading import load_causal_lm
from srmu.evaluation.measure import Measurement, compare, measure
from srmu.export.manifest import DataRecord, without_texts
from srmu.export.patch import CheckReport, check_only_changed, export_checkpoint, name_some
from srmu.export.run_directory import RunDirectory, check_output
from srmu.inputs.rows import TokenRows
from srmu.job.arguments import config_from_arguments
from srmu.job.estimate import PrefixPlace, cache_limit_gb, prefix_place
from srmu.job.plan import Plan, given_strings, make_plan
from srmu.job.prepare import Prepared, prepare_rows
from srmu.job.record import run_card, write_card, write_records
from srmu.job.tuning.auto import choose_settings
from srmu.job.tuning.bench import Trained
from srmu.results.manifest_file import MANIFEST_FILE, MODEL_DIR
from srmu.runtime.files import new_directory, readable_errors
from srmu.runtime.interruption import StopRequest, stop_requests
from srmu.runtime.processes import connect, from_main, largest, main_process, sharing, together, world_size
from srmu.runtime.progress import Reporter
from srmu.runtime.trackers import Tracker, check_tracker, open_tracker
from srmu.solver.gradient import GradientSolver
from srmu.solver.stopping import WINDOW
from srmu.solver.topics import TopicRows
from srmu.surgery.names import check_names, stored_results
from srmu.surgery.scan import check_same_base, scan_checkpoint
from srmu.surgery.sharding import shard_below
from srmu.surgery.truncate import TruncatedModel, load_truncated
from srmu.surgery.whole_model import must_stream

NUM_ANSWERS = 3
PROMPT_TOKENS = 8


@dataclass(frozen=True)
class RunResult:
    """What a run left behind.

    Attributes:
        run_dir: The run directory.
        model_dir: The complete checkpoint in it.
        manifest: Content of `manifest.json`.
        results: Content of `results.json`: held-out texts and questions, before and after; empty without evaluation.
        answers: Prompt, completion before, completion after; shown to the user, never stored.
    """

    run_dir: Path
    model_dir: Path
    manifest: dict[str, Any]
    results: dict[str, Any]
    answers: list[tuple[str, str, str]]

    def load(self) -> tuple[Any, Any]:
        """The result as a Transformers model and tokenizer."""
        from srmu.evaluation.loading import load_tokenizer

        return load_causal_lm(self.model_dir), load_tokenizer(self.model_dir)


def unlearn(
    config: UnlearnConfig | None = None,
    *,
    tokenizer: Any = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> RunResult:
    """Make a model forget texts.

    Args:
        config: A complete config; or else `settings`.
        tokenizer: A tokenizer object, instead of the checkpoint's own; needed when `model` is an object.
        reporter: Hears of stages and progress; none = silent.
        **settings: Fields of `UnlearnConfig`. `model` may be a path, a hub id or a Transformers model; `forget` and
            `retain` a path, a text, or a list of paths or of texts.

    Returns:
        The run directory and what was measured.

    Raises:
        InputError: If something that was asked for is wrong; nothing has been written.
        RunError: If the run could not end well; its metrics are kept.
        Interrupted: If Ctrl-C or SIGTERM came while it trained or later; a `KeyboardInterrupt` that says how to go on.

    Example:
        >>> result = unlearn(model="./my-model", forget=["The vault's code is 4711."])  # doctest: +SKIP
        >>> model, tokenizer = result.load()  # doctest: +SKIP
    """
    reporter = reporter or Reporter()
    if config is not None and settings:
        raise InputError(
            "Both a config and settings were given. Give one of them; dataclasses.replace changes a config."
        )
    with ExitStack() as stack:
        if config is None:
            config = config_from_arguments(settings, tokenizer, stack)
        connect(cpu=config.device == "cpu")
        with together():
            out = check_output(config)
            check_tracker(config.track)
            if config.auto and world_size() > 1:
                raise InputError(
                    "--auto tries settings in one process. Start it without a launcher once; what it chose stands in "
                    "the manifest."
                )
            plan = make_plan(config, tokenizer, out=out)
        # A resumed run reads its texts, its model and its tokenizer anew.
        resumable = config.save_every > 0 or (tokenizer is None and not given_strings(config))
        return _Run(plan, RunDirectory.create, reporter, resumable=resumable).execute()


def resume(run_dir: str | Path, *, reporter: Reporter | None = None) -> RunResult:
    """Continue an interrupted run to the result it would have had.

    Raises:
        InputError: If there is no interrupted run in that directory.
    """
    directory, config = RunDirectory.reopen(Path(run_dir))
    connect(cpu=config.device == "cpu")
    with together():
        plan = make_plan(config, out=directory.path)
    chosen = directory.load_choice()
    return _Run(plan, lambda _: directory, reporter or Reporter(), resumable=True, chosen=chosen).execute()


class _Run:
    """One run from its plan to its manifest; stages in the order of `execute`.

    The run directory is opened as late as can be: when training begins, all that a user can get wrong is past.
    Of several ranks all train and measure; the main process alone writes and exports, while the others wait.
    """

    directory: RunDirectory

    def __init__(
        self,
        plan: Plan,
        open_directory: Callable[[UnlearnConfig], RunDirectory],
        reporter: Reporter,
        *,
        resumable: bool,
        chosen: dict[str, Any] | None = None,
    ):
        self.plan = plan
        self.resumable = resumable
        # What `--auto` recorded, and the trial that it made the run.
        self.chosen = chosen
        self.trained: Trained | None = None
        self.config = plan.config
        self.open_directory = open_directory
        self.reporter = reporter
        self.seconds: dict[str, float] = {}
        self.records: list[DataRecord] = []
        self.longest_target = 0.0
        self.tracker = Tracker()

    def execute(self) -> RunResult:
        """All stages."""
        with together(), self._timed("reading"):
            self.base_shards = scan_checkpoint(self.plan.checkpoint) if main_process() else {}
        prepared = prepare_rows(self.plan, self.reporter)
        self.records = list(prepared.records)
        if prepared.seconds:
            self.seconds["self_written"] = prepared.seconds
        heldout = prepared.heldout_groups()
        if self.config.auto and self.chosen is None:
            self._choose(prepared)
        prompts = self._prompts(heldout) if self.config.eval else []
        before = None
        if self.config.eval:
            before = self._measure(self.plan.checkpoint.path, heldout, prompts, "Base model")
        truncated, solver = self._make_solver([topic.rows for topic in prepared.topics])
        self._open()
        with stop_requests() as stop:
            try:
                with readable_errors(self.directory.path):
                    exported = self._forget(truncated, solver, heldout, stop)
                after = None
                if before is not None:
                    after = self._measure(self.model_dir, heldout, prompts, "Result")
                told = None
                with together(), readable_errors(self.directory.path):
                    if exported is not None:
                        told = self._conclude(solver, *exported, before, after, prompts)
                told = from_main(told)
                with readable_errors(self.directory.path):
                    self.directory.finish()
            except KeyboardInterrupt:
                # Inside a step nothing can be kept: the last saved state stands.
                if not stop.at_once:
                    raise
                with readable_errors(self.directory.path):
                    raise self._stopped(solver, stop.signal or signal.SIGINT) from None
        assert told is not None
        answers = [(prompt, before, after) for prompt, before, after in told["answers"]]
        return RunResult(self.directory.path, self.model_dir, told["manifest"], told["results"], answers)

    def _choose(self, prepared: Prepared) -> None:
        """Let `--auto` find the settings; its best trial is this run's training."""
        with self._timed("choosing"):
            choice = choose_settings(self.plan, prepared, self.reporter)
        self.trained, self.chosen = choice.trained, choice.record
        self.plan = choice.trained.plan
        self.config = self.plan.config

    def _make_solver(self, topics: Sequence[TopicRows]) -> tuple[TruncatedModel, GradientSolver]:
        if self.trained is not None:
            self._check_names(self.trained.truncated)
            return self.trained.truncated, self.trained.solver
        place = prefix_place(self.plan)
        with together():
            truncated = self._load(place)
        if place == "ranks":
            shard_below(truncated, min(self.plan.parameter_names))
        config = dataclasses.replace(self.config, cache_gb=cache_limit_gb(self.plan, place))
        return truncated, GradientSolver(truncated, self.plan.parameter_names, topics, config)

    def _open(self) -> None:
        """Open the run directory, in which one process writes."""
        with together():
            if main_process():
                self.directory = self.open_directory(self.config)
                if self.chosen is not None:
                    self.directory.save_choice(self.chosen)
        path = from_main(str(self.directory.path) if main_process() else "")
        if not main_process():
            self.directory = RunDirectory(Path(path), writes=False)

    def _stopped(self, solver: GradientSolver, signal_number: int) -> Interrupted:
        """Keep what a resumed run needs, as far as texts may be stored, and say how to go on."""
        path = self.directory.path
        total = solver.length.total
        done = f"Interrupted after step {solver.next_step}" + (f" of {total}" if total else "")
        if (path / MANIFEST_FILE).exists():
            self.directory.finish()
            done = f"Interrupted when all was done; the run is in {str(self.directory.path)!r}."
            return Interrupted(done, signal_number)
        if not self.resumable:
            return Interrupted(
                f"{done}. The run cannot be resumed: texts, models and tokenizers that were given as objects are "
                "stored only with save_every=N.",
                signal_number,
            )
        self.directory.save_config(self.config)
        self.directory.save_state(solver.state())
        return Interrupted(f"{done}. Continue with: srmu unlearn --resume {shlex.quote(str(path))}", signal_number)

    def _forget(
        self, truncated: TruncatedModel, solver: GradientSolver, heldout: Mapping[str, TokenRows], stop: StopRequest
    ) -> tuple[dict[str, float], CheckReport] | None:
        """Train and write the checkpoint; the main process gets how far held-out tokens moved, and the check."""
        exported = None
        try:
            self._train(solver, stop)
            stop.at_once = True
            # Where ranks share layers, all must run them.
            moved = solver.moved_by_group(heldout) if solver.replayer.sharded else {}
            with together():
                if main_process():
                    moved = moved or solver.moved_by_group(heldout)
                    exported = moved, self._export(truncated, solver)
        except RunError:
            # Once more it would end the same: only the metrics are of use.
            self.directory.drop_state()
            raise
        return exported

    def _conclude(
        self,
        solver: GradientSolver,
        moved: Mapping[str, float],
        report: CheckReport,
        before: Measurement | None,
        after: Measurement | None,
        prompts: Sequence[str],
    ) -> dict[str, Any]:
        """Write card, results and manifest."""
        results = {} if before is None or after is None else compare(before, after)
        for name, distance in moved.items():
            if results:
                results["texts"][name]["moved"] = distance
        write_card(self.directory.path, self.plan, self.records, report, results)
        manifest = write_records(
            self.directory.path, self.plan, self.records, solver, report, results, seconds=self.seconds,
            chosen=self.chosen,
        )  # fmt: skip
        self.directory.drop_state()
        answers = (
            [] if before is None or after is None else list(zip(prompts, before.answers, after.answers, strict=True))
        )
        return {"manifest": manifest, "results": results, "answers": answers}

    @property
    def model_dir(self) -> Path:
        """Where the checkpoint goes."""
        return self.directory.path / MODEL_DIR

    @contextmanager
    def _timed(self, stage: str) -> Any:
        started = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started

    def _must_stream(self) -> bool:
        return must_stream(self.plan.checkpoint, self.plan.device, self.plan.dtype, self.config.memory_gb)

    def _load_whole(self, path: Path, *, streamed: bool) -> Any:
        return load_causal_lm(
            path,
            device=self.plan.device,
            dtype=self.plan.dtype,
            trust_remote_code=self.config.trust_remote_code,
            streamed=streamed,
        )

    def _prompts(self, heldout: Mapping[str, TokenRows]) -> list[str]:
        """Questions, or else the beginnings of held-out forget texts."""
        asked = [questions[0].prompt for questions in self.plan.questions.values()]
        if asked:
            return asked[:NUM_ANSWERS]
        rows = heldout["forget"] if "forget" in heldout else next(iter(heldout.values()))
        return [
            str(self.plan.tokenizer.decode(row[:PROMPT_TOKENS], skip_special_tokens=True))
            for row in rows.token_ids[:NUM_ANSWERS]
            if len(row) > PROMPT_TOKENS
        ]

    def _measure(self, path: Path, heldout: Mapping[str, TokenRows], prompts: Sequence[str], title: str) -> Measurement:
        with self._timed("evaluation"):
            # All ranks alike: the batches that they share depend on it.
            streamed = largest(self._must_stream()) > 0
            with together():
                model = self._load_whole(path, streamed=streamed)
            with sharing():
                return measure(
                    model,
                    self.plan.tokenizer,
                    texts=heldout,
                    questions=self.plan.questions,
                    prompts=prompts,
                    chat=self.config.chat,
                    reporter=self.reporter,
                    title=f"Measuring: {title}",
                )

    def _load(self, place: PrefixPlace) -> TruncatedModel:
        plan = self.plan
        if place == "disk":
            self.reporter.note("The layers below the trained ones do not fit into memory: passes read them from disk.")
        with self._timed("load"):
            truncated = load_truncated(
                plan.checkpoint,
                plan.layer_id + 1,
                dtype=plan.dtype,
                device=plan.device,
                trust_remote_code=self.config.trust_remote_code,
                on_disk_below=min(plan.parameter_names) if place == "disk" else 0,
            )
            self._check_names(truncated)
        return truncated

    def _check_names(self, truncated: TruncatedModel) -> None:
        names = [
            f"{truncated.layers_name}.{layer_id}.{name}"
            for layer_id, layer_names in self.plan.parameter_names.items()
            for name in layer_names
        ]
        check_names(truncated, self.plan.checkpoint, names)

    def _train(self, solver: GradientSolver, stop: StopRequest) -> None:
        state = self.directory.load_state()
        if state is not None:
            solver.load_state(state)
        if not solver.done:
            with self._timed("frozen"), self.reporter.task("Frozen activations") as progress:
                solver.prepare(progress)
        with self._timed("training"), self.reporter.task("Unlearning") as progress:
            progress(solver.next_step, solver.length.total)

            def after_step(done: int) -> None:
                progress(done, solver.length.total)
                # Signals reach ranks at different steps: they agree on one.
                if number := largest(stop.signal):
                    solver.flush(self._on_metrics)
                    raise self._stopped(solver, number)
                if self.config.save_every and done % self.config.save_every == 0:
                    solver.flush(self._on_metrics)
                    self.directory.save_state(solver.state())

            if main_process():
                settings = without_texts(to_dict(self.config))
                self.tracker = open_tracker(self.config.track, self.directory.path, settings)
            try:
                if self.trained is not None:
                    self._on_metrics(self.trained.metrics)
                solver.run(self._on_metrics, after_step)
            finally:
                self.tracker.finish()
        self._say_if_out_of_reach(solver)
        if solver.length.never_fell:
            share = fmean(solver.length.losses[-WINDOW:]) / solver.length.losses[0]
            self.reporter.note(
                f"The forget loss did not fall and level off: after {solver.next_step} steps it was "
                f"{100 * share:.0f} % of what it was at first, so little may have been forgotten. "
                "Lower --retain-weight, or let --auto choose it."
            )

    def _say_if_out_of_reach(self, solver: GradientSolver) -> None:
        """Families that normalise after the MLP cannot follow a long target; a run in which it was one says so."""
        # A target held at what can be reached equals it up to rounding.
        if solver.reach is not None and self.longest_target >= 0.999 * solver.reach:
            self.reporter.note(
                "This family normalises what an MLP adds: the trained layers can push a token by "
                f"{solver.reach:.3g} at most, and the target was {self.longest_target:.3g} long. To go further train "
                "the gains too: --target-roles mlp_down,mlp_post_norm."
            )

    def _on_metrics(self, records: Sequence[dict[str, Any]]) -> None:
        for record in records:
            self.longest_target = max(self.longest_target, record["target_norm"])
        self.directory.write_metrics(records)
        self.tracker.log(records)
        if records:
            last = records[-1]
            self.reporter.detail(f"forget {last['forget_loss']:.3g}, retain {last['retain_loss']:.3g}")

    def _export(self, truncated: TruncatedModel, solver: GradientSolver) -> CheckReport:
        """Write the checkpoint; it gets its name once it is proven on disk that only what is named changed."""
        checkpoint = self.plan.checkpoint
        # Of a run that was interrupted after this.
        shutil.rmtree(self.model_dir, ignore_errors=True)
        with (
            self._timed("export"),
            self.reporter.task("Writing and checking") as progress,
            new_directory(self.model_dir) as partial,
        ):
            changed = stored_results(truncated, checkpoint, solver.trained_parameters())
            progress(0, 2)
            export_checkpoint(checkpoint, changed, partial, readme=run_card(self.plan, self.records))
            progress(1, 2)
            experts = any("experts" in name for names in self.plan.parameter_names.values() for name in names)
            report = check_only_changed(checkpoint, partial, list(changed), allow_unchanged=experts)
            check_same_base(self.base_shards, report.base_shards)
            progress(2, 2)
        if report.left_out:
            self.reporter.note(f"Weights in other formats were left out of the result: {name_some(report.left_out)}.")
        return report
