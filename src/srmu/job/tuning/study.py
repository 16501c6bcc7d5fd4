"""`srmu tune`: an Optuna study over the settings of a run, with two objectives, what remains and what is kept.

Optuna's storage holds the study, so that it can be resumed, and joined by workers on any machine that reaches it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from srmu.config.settings import UnlearnConfig, flatten, make_config, to_dict
from srmu.errors import InputError, RunError
from srmu.export.manifest import without_texts
from srmu.job.plan import Plan, make_plan
from srmu.job.prepare import prepare_rows
from srmu.job.tuning.bench import TrialBench, TrialClock, TrialResult, describe, say_time
from srmu.job.tuning.outcome import GROUP_QUESTIONS, Score, shortfall
from srmu.job.tuning.plot import plot_front
from srmu.job.tuning.space import Key, given_values, search_space, suggest, to_settings
from srmu.job.tuning.validation import heldout_validation
from srmu.results.schema import from_json, to_json
from srmu.results.study import TRIALS_FILE, Outcome, StudyRecord, StudyTrial, read_study, write_study
from srmu.runtime.files import file_sha256, write_atomic
from srmu.runtime.progress import Reporter
from srmu.runtime.regular import read_regular

Sampler = Literal["tpe", "nsga2"]
STUDY_FILE, PLOT_FILE, BEST_FILE = "study.db", "front.png", "best.yaml"
STUDY_NAME = "srmu"
_SQLITE = b"SQLite format 3\0"
# Settings of the search itself, or of what a run leaves behind: no part of what is tuned.
_NOT_TUNED = ("out", "overwrite", "search", "request", "eval", "require", "track", "save_every", "questions")


@dataclass(frozen=True)
class TuneResult:
    """What a study found.

    Attributes:
        directory: Where `trials.json`, `front.png` and `best.yaml` are.
        record: What was searched, every trial, and the chosen one.
    """

    directory: Path
    record: StudyRecord


def tune(
    config: UnlearnConfig,
    *,
    trials: int = 20,
    seed: int = 0,
    timeout: float | None = None,
    storage: str | None = None,
    study_name: str = STUDY_NAME,
    sampler: Sampler = "tpe",
    score: Score = "accuracy",
    keys: Sequence[str] = (),
    group_questions: int = GROUP_QUESTIONS,
    reporter: Reporter | None = None,
) -> TuneResult:
    """Search settings for a model, texts and validation questions.

    Args:
        config: A run; what is not searched stays as it is there. `out` is the directory of the study; an existing study
            in it goes on.
        trials: In all, of all workers and earlier calls, diverged ones included.
        seed: Of the sampler; each worker and each call adds the number of trials that it found.
        timeout: Seconds after which no new trial begins.
        storage: Optuna storage URL, or a `.log` file for Optuna's journal; none = a SQLite file in the directory.
        study_name: In the storage.
        sampler: Tree-structured Parzen estimators, or the genetic NSGA-II.
        score: See `srmu.job.tuning.outcome.judge`.
        keys: Settings to search; none = all of `srmu.job.tuning.space.SPACE`.
        group_questions: Most questions of a group that a trial is asked.
        reporter: Hears of progress.

    Raises:
        InputError: If Optuna is missing, the storage cannot be used or holds another study, or the input is wrong.
    """
    reporter = reporter or Reporter()
    optuna = _import_optuna()
    if trials < 1:
        raise InputError(f"trials={trials!r} is out of range. Choose 1 or more.")
    plan = make_plan(config)
    space = search_space(plan, keys)
    directory = _directory(config)
    prepared = prepare_rows(plan, reporter)
    bench = TrialBench(
        plan,
        prepared.topics,
        heldout_validation(plan, prepared, group_questions),
        score=score,
        audited=plan.config.output.audit,
        reporter=reporter,
    )
    rate = bench.automatic_rate
    # What can be wrong with the input is past once the base has been measured; only now is anything written.
    assert bench.base
    if storage is None:
        directory.mkdir(parents=True, exist_ok=True)
    study = _open_study(optuna, storage or f"sqlite:///{directory / STUDY_FILE}", study_name, sampler, seed)
    _check_task(study, plan, space, score)
    directory.mkdir(parents=True, exist_ok=True)
    if not study.trials:
        study.enqueue_trial(given_values(plan.config, space, rate), skip_if_exists=True)

    finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL)
    left = trials - len(study.get_trials(deepcopy=False, states=finished))
    if left > 0:
        reporter.note(say_time(bench.likely_seconds, left))
    clock = TrialClock(left)

    def objective(trial: Any) -> tuple[float, float]:
        result = bench.run(to_settings(suggest(trial, space), rate))
        trial.set_user_attr("result", to_json(describe(result, trial.number)))
        reporter.note(_say_trial(trial.number, result, clock))
        return result.outcome.remaining, result.outcome.kept

    try:
        if left > 0:
            stop = optuna.study.MaxTrialsCallback(trials, states=finished)
            study.optimize(objective, n_trials=left, timeout=timeout, catch=(RunError,), callbacks=[stop])
    finally:
        result = _write_results(study, directory, config, space)
    return result


def _say_trial(number: int, result: TrialResult, clock: TrialClock) -> str:
    settings = ", ".join(f"{name} {value}" for name, value in result.settings.items())
    return (
        f"Trial {number}: remaining {result.outcome.remaining:.3f}, kept {result.outcome.kept:.3f} ({settings}); "
        f"about {clock.left_after_one()} left"
    )


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise InputError("Tuning needs the package optuna. Run 'pip install srmu[tune]'.") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _directory(config: UnlearnConfig) -> Path:
    """The study's directory, new, empty, or of an earlier call."""
    if config.output.out is None:
        return Path("runs") / f"tune-{Path(config.model.model).resolve().name}-{datetime.now():%Y%m%d-%H%M%S}"
    path = Path(config.output.out)
    if path.exists() and not path.is_dir():
        raise InputError(f"Output {str(path)!r} is a file. Choose another --out.")
    if path.is_dir() and any(path.iterdir()) and not _is_study(path):
        raise InputError(f"Output directory {str(path)!r} holds something other than a study. Choose another --out.")
    return path


def _is_study(path: Path) -> bool:
    """Whether a directory holds trials of ours; without them, a data base that Optuna may know."""
    if (path / TRIALS_FILE).exists():
        try:
            read_study(path)
        except InputError:
            return False
        return True
    database = path / STUDY_FILE
    return database.is_file() and read_regular(database)[: len(_SQLITE)] == _SQLITE


def _open_study(optuna: Any, storage: str, name: str, sampler: Sampler, seed: int) -> Any:
    try:
        if storage.endswith(".log"):
            journal = optuna.storages.journal
            place = journal.JournalStorage(journal.JournalFileBackend(storage))
        else:
            place = optuna.storages.get_storage(storage)
        study = optuna.create_study(
            directions=["minimize", "maximize"], storage=place, study_name=name, load_if_exists=True
        )
    except Exception as error:  # drivers, networks and files fail each in their own way
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise InputError(
            f"Storage {storage!r} cannot be used for the study {name!r} ({reason}). Give an Optuna storage URL, such "
            "as sqlite:///study.db, or a .log file."
        ) from None
    if len(study.directions) != 2:
        raise InputError(f"Storage {storage!r} holds another study named {name!r}. Choose another --study.")
    start = seed + len(study.trials)
    samplers = {"tpe": optuna.samplers.TPESampler, "nsga2": optuna.samplers.NSGAIISampler}
    study.sampler = samplers[sampler](seed=start)
    return study


def _check_task(study: Any, plan: Plan, space: dict[str, Key], score: Score) -> None:
    """A study belongs to one model, one set of texts and questions and one space; paths may differ between machines."""
    settings = {
        name: value for name, value in to_dict(plan.config).items()
        if name not in (*_NOT_TUNED, *space, "model", "forget", "retain", "topics", "trained_layers", "device")
    }  # fmt: skip
    content = [
        settings, {name: str(key) for name, key in space.items()}, score,
        file_sha256(plan.checkpoint.path / "config.json"),
        [[topic.forget.sha256, *(corpus.sha256 for corpus in topic.retain)] for topic in plan.topics],
        {name: [repr(question) for question in asked] for name, asked in plan.questions.items()},
    ]  # fmt: skip
    task = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    known = study.user_attrs.get("task")
    if known is None:
        study.set_user_attr("task", task)
    elif known != task:
        raise InputError(
            f"The study {study.study_name!r} is of another model, other texts, questions, settings or another search "
            "space. Choose another --out, --storage or --study."
        )


def _write_results(study: Any, directory: Path, config: UnlearnConfig, space: dict[str, Key]) -> TuneResult:
    """Write what there is; also after an interruption."""
    trials = []
    for trial in study.trials:
        if trial.state.name == "COMPLETE":
            trials.append(from_json(StudyTrial, trial.user_attrs["result"], f"trials[{trial.number}]"))
        elif trial.state.name == "FAIL":
            trials.append(StudyTrial(number=trial.number, state="diverged", settings=trial.params))
    complete = [trial for trial in trials if trial.outcome is not None]
    front = sorted(trial.number for trial in study.best_trials)
    best = min(complete, key=_rank, default=None)
    record = StudyRecord(
        study=study.study_name,
        space={name: str(key) for name, key in space.items()},
        front=tuple(front),
        chosen=None if best is None else best.number,
        trials=tuple(trials),
    )
    write_study(directory, record)
    if best is not None:
        write_atomic(directory / BEST_FILE, best_yaml(config, best, len(trials)).encode())
        plot_front(record, best.number, directory / PLOT_FILE)
    return TuneResult(directory, record)


def _rank(trial: StudyTrial) -> tuple[bool, float, float, float]:
    """Whether it loses what was audited, the shortfall, then what was lost, then what remains."""
    found = _outcome(trial)
    return not found.eligible, shortfall(found.remaining, found.kept), found.lost, found.remaining


def _outcome(trial: StudyTrial) -> Outcome:
    assert trial.outcome is not None
    return trial.outcome


def best_yaml(config: UnlearnConfig, trial: StudyTrial, number_of_trials: int) -> str:
    """A file for `srmu unlearn`: what differs from the defaults, with the trial's settings."""
    import yaml

    chosen: dict[str, Any] = dict(trial.settings)
    if "layer" in chosen:
        chosen["trained_layers"] = ()
    tuned = make_config(flatten(config) | chosen)
    default = to_dict(make_config({"preset": config.preset}))
    left = ("out", "overwrite", "search", "request")
    shown = {
        name: value
        for name, value in to_dict(tuned).items()
        if name not in left and (name in trial.settings or value != default[name])
    }
    hashed = without_texts(shown)
    found = _outcome(trial)
    head = (
        f"# Trial {trial.number} of {number_of_trials} of srmu tune: of what was to go {found.remaining:.3f} "
        f"remained, of what was to stay {found.kept:.3f} was kept in the worst group.\n"
    )
    if hashed != shown:
        head += "# Texts that were given as strings are stored nowhere: here are their hashes. Give the texts anew.\n"
    return head + str(yaml.safe_dump(hashed, sort_keys=False, allow_unicode=True))
