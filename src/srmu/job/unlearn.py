"""The main job: texts and a model in, changed matrices and their evidence out; its stages are in `_execute`."""

import signal
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from srmu.config.groups import DataConfig, OutputConfig, TargetConfig, TrainingConfig
from srmu.config.settings import UnlearnConfig
from srmu.errors import InputError, RunError
from srmu.export.run_directory import RunDirectory, check_output
from srmu.job.arguments import Texts, config_from_arguments
from srmu.job.exporting import Conclusion, Exported, conclude, export
from srmu.job.measuring import Prompts, choose_prompts, judge_fluency, measure_model
from srmu.job.plan import make_plan
from srmu.job.prepare import Prepared, prepare_rows
from srmu.job.result import UnlearnResult
from srmu.job.run import Run
from srmu.job.shared_names import find_shared_names
from srmu.job.training import check_trained_names, load_solver, train
from srmu.job.tuning.bench import Trained
from srmu.job.tuning.search import choose_settings
from srmu.results.schema import from_json, to_json
from srmu.results.sides import check_sides, describe_sides
from srmu.runtime.files import readable_errors
from srmu.runtime.interruption import stop_requests
from srmu.runtime.processes import connect, from_main, together, world_size
from srmu.runtime.progress import Reporter
from srmu.runtime.trackers import check_tracker

WITHOUT_QUESTIONS = (
    "No questions were given: the loss on held-out texts alone says what was forgotten. srmu questions makes some of "
    "the forget texts."
)


def unlearn(
    model: Any = None,
    *,
    forget: Texts = None,
    retain: Texts = None,
    tokenizer: Any = None,
    questions: Mapping[str, str | Path] | None = None,
    preset: str | None = None,
    target: TargetConfig | None = None,
    training: TrainingConfig | None = None,
    data: DataConfig | None = None,
    output: OutputConfig | None = None,
    reporter: Reporter | None = None,
    **settings: Any,
) -> UnlearnResult:
    """Make a model forget texts.

    Texts are a list of strings, a `pathlib.Path`, a `datasets.Dataset`, a pandas Series or frame, or anything else that
    yields strings. A string is a text, unless it names a file or folder that exists, or is written `hub:NAME`, `self`
    (the base model writes texts) or `general` (paragraphs that come with srmu); a `Path` is always a path.

    Args:
        model: A Transformers model, or a checkpoint directory, a hub id, or a complete `UnlearnConfig`.
        forget: Texts to forget.
        retain: Texts to retain; none = those that the model writes, and general paragraphs.
        tokenizer: Needed where `model` is an object; else instead of the checkpoint's own.
        questions: Group name -> JSONL file of multiple-choice questions, asked before and after.
        preset: A named group of settings, which everything else given here overrides.
        target: What hidden states are driven to.
        training: Which matrices are trained, and how.
        data: How texts become rows.
        output: What is measured, and where a run directory is made; without `out` none is.
        reporter: Hears of stages and progress; none = silent.
        **settings: Single settings by the names of their fields, such as `steps=40`; they win.

    Returns:
        The changed matrices, what was measured, and ways to the model and to a run directory.

    Raises:
        InputError: If something that was asked for is wrong; nothing has been written.
        RunError: If the run could not end well; in a run directory its metrics are kept.
        Interrupted: If Ctrl-C or SIGTERM came while it trained or later; a `KeyboardInterrupt` that says how to go on.

    Example:
        >>> result = unlearn("./my-model", forget=["The vault's code is 4711."])  # doctest: +SKIP
        >>> result.save("runs/vault")  # doctest: +SKIP
    """
    given = {
        "forget": forget, "retain": retain, "questions": questions, "preset": preset, "target": target,
        "training": training, "data": data, "output": output, **settings,
    }  # fmt: skip
    given = {name: value for name, value in given.items() if value is not None}
    with ExitStack() as stack:
        if isinstance(model, UnlearnConfig):
            if given:
                raise InputError(
                    f"Both a config and {', '.join(given)} were given. Give one of them; UnlearnConfig.replace changes "
                    "a config."
                )
            config = model
        else:
            config = config_from_arguments(model, given, tokenizer, stack)
        return _begin(config, model, tokenizer, reporter or Reporter(), stack)


def resume(run_dir: str | Path, *, reporter: Reporter | None = None) -> UnlearnResult:
    """Continue an interrupted run to the result it would have had.

    Args:
        run_dir: Its directory.
        reporter: Hears of stages and progress; none = silent.

    Raises:
        InputError: If there is no interrupted run in that directory.
    """
    directory, config = RunDirectory.reopen(Path(run_dir))
    connect(cpu=config.model.device == "cpu")
    with together():
        plan = make_plan(config, out=directory.path)
    run = Run(plan, lambda _: directory, reporter or Reporter(), resumable=True, chosen=directory.load_choice())
    return UnlearnResult.of(run, *_execute(run))


def _begin(config: UnlearnConfig, model: Any, tokenizer: Any, reporter: Reporter, stack: ExitStack) -> UnlearnResult:
    """A new run; without `out` it works in a temporary directory, which the result keeps for as long as it lives."""
    connect(cpu=config.model.device == "cpu")
    open_directory: Callable[[UnlearnConfig], RunDirectory] = RunDirectory.create
    with together():
        out = Path(config.output.out) if config.output.out is not None else None
        if out is None:
            _refuse_without_directory(config)
            out = Path(stack.enter_context(TemporaryDirectory(prefix="srmu-run-", ignore_cleanup_errors=True)))
            folder = RunDirectory(out)
            open_directory = lambda _: folder  # noqa: E731
        else:
            check_output(config)
        check_tracker(config.output.track)
        if config.search.search and world_size() > 1:
            raise InputError(
                "--search tries settings in one process. Start it without a launcher once; what it chose is in the "
                "manifest."
            )
        plan = make_plan(config, tokenizer, out=out)
    run = Run(plan, open_directory, reporter, resumable=plan.resumable and config.output.out is not None)
    conclusion, exported = _execute(run)
    return UnlearnResult.of(run, conclusion, exported, given=model, folders=stack.pop_all())


def _refuse_without_directory(config: UnlearnConfig) -> None:
    """What is written for later needs a place that stays."""
    for name in ("save_every", "track"):
        if config.get(name):
            raise InputError(
                f"{name}={config.get(name)!r} was asked for without a run directory. Name one with out=PATH."
            )


def _hint_at_facts(run: Run) -> None:
    """Say so where the texts look as if some facts about things were meant, and nobody said what is."""
    if run.config.preset == "default" and not run.config.search.search:
        found = find_shared_names(run.plan)
        if found.are_many:
            run.reporter.note(found.describe())


def _execute(run: Run) -> tuple[Conclusion, Exported | None]:
    """The stages, in order.

    The run directory is opened as late as can be: when training begins, all that a user can get wrong is past.
    Of several ranks all train and measure; the main process alone writes and exports, while the others wait.
    """
    sides = run.config.data.sides
    check_sides(sides, run.plan.questions)
    if run.plan.questions:
        run.reporter.note(describe_sides(run.plan.questions, sides))
    run.read_base()
    prepared = prepare_rows(run.plan, run.reporter)
    run.records = list(prepared.records)
    if prepared.seconds:
        run.seconds["self_written"] = prepared.seconds
    heldout = prepared.heldout_groups()
    trained = _choose(run, prepared)
    prompts = choose_prompts(run.plan, heldout) if run.config.output.eval else Prompts()
    before = measure_model(run, run.plan.checkpoint.path, heldout, prompts, "Base model")
    # Not sooner: what is wrong with the input is said by one sentence alone.
    if run.config.output.eval and not run.plan.questions:
        run.reporter.note(WITHOUT_QUESTIONS)
    _hint_at_facts(run)
    solver = load_solver(run, prepared.topics) if trained is None else trained.solver
    run.open()
    as_json, exported = None, None
    with stop_requests() as stop:
        try:
            with readable_errors(run.directory.path):
                try:
                    train(run, solver, stop, trained.metrics if trained else ())
                    stop.at_once = True
                    exported = export(run, solver, heldout)
                except RunError:
                    # Once more it would end the same: only the metrics are of use.
                    run.directory.drop_state()
                    raise
            after = measure_model(run, run.model_dir, heldout, prompts, "Result", before)
            fluency = judge_fluency(run, prompts, before, after) if before and after else None
            with together(), readable_errors(run.directory.path):
                if exported is not None:
                    as_json = to_json(conclude(run, solver, exported, before, after, prompts.shown, fluency))
            as_json = from_main(as_json)
            with readable_errors(run.directory.path):
                run.directory.finish()
        except KeyboardInterrupt:
            # Inside a step nothing can be kept: the last saved state remains.
            if not stop.at_once:
                raise
            with readable_errors(run.directory.path):
                raise run.stopped(solver, stop.signal or signal.SIGINT) from None
    assert as_json is not None
    return from_json(Conclusion, as_json), exported


def _choose(run: Run, prepared: Prepared) -> Trained | None:
    """Where a search is asked for, let it find the settings; its best trial is this run's training."""
    if not run.config.search.search or run.chosen is not None:
        return None
    with run.timed("choosing"):
        choice = choose_settings(run.plan, prepared, run.reporter)
    run.chosen, run.plan = choice.record, choice.trained.plan
    check_trained_names(run.plan, choice.trained.truncated)
    return choice.trained
