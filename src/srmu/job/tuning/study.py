"""`srmu tune`: an Optuna study over the settings of a run, with two objectives, what remains and what is kept.

Optuna's storage holds the study, so that it can be resumed, and joined by workers on any machine that reaches it.
"""

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from srmu.config.settings import UnlearnConfig, make_config, to_dict
from srmu.errors import InputError, RunError
from srmu.export.manifest import without_texts
from srmu.job.plan import Plan, given_strings, make_plan
from srmu.job.prepare import Prepared, prepare_rows
from srmu.job.tuning.bench import TrialBench, describe
from srmu.job.tuning.outcome import FORGET, GROUP_QUESTIONS, Score, Validation, make_validation, shortfall
from srmu.job.tuning.plot import plot_front
from srmu.job.tuning.space import Key, given_values, search_space, suggest, to_settings
from srmu.runtime.files import file_sha256, write_atomic, write_json_atomic
from srmu.runtime.progress import Reporter

Sampler = Literal["tpe", "nsga2"]
STUDY_FILE, TRIALS_FILE, PLOT_FILE, BEST_FILE = "study.db", "trials.json", "front.png", "best.yaml"
STUDY_NAME = "srmu"
# Settings of the search itself, or of what a run leaves behind: no part of what is tuned.
_NOT_TUNED = ("out", "overwrite", "auto", "request", "eval", "require", "track", "save_every", "questions")


@dataclass(frozen=True)
class TuneResult:
    """What a study found.

    Attributes:
        directory: Where `trials.json`, `front.png` and `best.yaml` are.
        space: What was searched.
        trials: All finished trials as JSON values, in order.
        front: Numbers of those that no other beats in both objectives.
        chosen: Number of the one in `best.yaml`; none where no trial ended well.
    """

    directory: Path
    space: dict[str, Key]
    trials: list[dict[str, Any]]
    front: list[int]
    chosen: int | None


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
        [topic.rows for topic in prepared.topics],
        tune_validation(plan, prepared, group_questions),
        score=score,
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

    def objective(trial: Any) -> tuple[float, float]:
        result = bench.run(to_settings(suggest(trial, space), rate))
        trial.set_user_attr("result", describe(result))
        reporter.note(
            f"Trial {trial.number}: remaining {result.outcome.remaining:.3f}, kept {result.outcome.kept:.3f} "
            f"({', '.join(f'{name} {value}' for name, value in result.settings.items())})"
        )
        return result.outcome.remaining, result.outcome.kept

    finished = (optuna.trial.TrialState.COMPLETE, optuna.trial.TrialState.FAIL)
    left = trials - len(study.get_trials(deepcopy=False, states=finished))
    try:
        if left > 0:
            stop = optuna.study.MaxTrialsCallback(trials, states=finished)
            study.optimize(objective, n_trials=left, timeout=timeout, catch=(RunError,), callbacks=[stop])
    finally:
        result = _write_results(study, directory, config, space)
    return result


def tune_validation(plan: Plan, prepared: Prepared, group_questions: int = GROUP_QUESTIONS) -> Validation:
    """The user's questions, and held-out rows of each side and source.

    Raises:
        InputError: If questions are given and none is about what is to be forgotten, or there is nothing to measure on.
    """
    if plan.questions and not any(name.startswith(FORGET) for name in plan.questions):
        raise InputError(
            f"Question groups whose name begins with {FORGET!r} are taken for what is to go; found "
            f"{', '.join(plan.questions)}. Name one of them so, as in --questions forget=FILE,kept=FILE."
        )
    texts = {}
    for topic in prepared.topics:
        prefix = "" if len(prepared.topics) == 1 else f"{topic.rows.name}."
        texts[f"{FORGET} {prefix}".rstrip(" .")] = topic.forget_heldout
        for number, (source, rows) in enumerate(zip(topic.sources, topic.retain_heldout, strict=True), 1):
            texts[f"{prefix}{number}: {source}"] = rows
    trained = [rows for topic in prepared.topics for rows in (topic.rows.forget, *topic.rows.retain)]
    return make_validation(plan.questions, texts, trained, plan.vocab_size, group_questions=group_questions)


def _import_optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise InputError("Tuning needs the package optuna. Run 'pip install srmu[tune]'.") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def _directory(config: UnlearnConfig) -> Path:
    """The study's directory, new, empty, or of an earlier call."""
    if config.out is None:
        return Path("runs") / f"tune-{Path(config.model).resolve().name}-{datetime.now():%Y%m%d-%H%M%S}"
    path = Path(config.out)
    if path.exists() and not path.is_dir():
        raise InputError(f"Output {str(path)!r} is a file. Choose another --out.")
    if path.is_dir() and any(path.iterdir()) and not any((path / name).exists() for name in (STUDY_FILE, TRIALS_FILE)):
        raise InputError(f"Output directory {str(path)!r} holds something other than a study. Choose another --out.")
    return path


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
    records = []
    for trial in study.trials:
        if trial.state.name == "COMPLETE":
            records.append({"number": trial.number, "state": "complete", **trial.user_attrs["result"]})
        elif trial.state.name == "FAIL":
            records.append({"number": trial.number, "state": "diverged", "parameters": trial.params})
    complete = [record for record in records if record["state"] == "complete"]
    front = sorted(trial.number for trial in study.best_trials)
    best = min(complete, key=_rank, default=None)
    result = TuneResult(directory, space, records, front, None if best is None else best["number"])
    write_json_atomic(
        directory / TRIALS_FILE,
        {
            "study": study.study_name,
            "space": {name: str(key) for name, key in space.items()},
            "front": front,
            "chosen": result.chosen,
            "trials": records,
        },
    )
    if best is not None:
        write_atomic(directory / BEST_FILE, best_yaml(config, best, len(records)).encode())
        plot_front(complete, front, best["number"], directory / PLOT_FILE)
    return result


def _rank(record: dict[str, Any]) -> tuple[float, float, float]:
    """The shortfall, then what was lost, then what remains."""
    return shortfall(record["remaining"], record["kept"]), record["lost"], record["remaining"]


def best_yaml(config: UnlearnConfig, record: dict[str, Any], number_of_trials: int) -> str:
    """A file for `srmu unlearn`: what differs from the defaults, with the trial's settings."""
    import yaml

    chosen = {**record["settings"], "trained_layers": ()} if "layer" in record["settings"] else record["settings"]
    tuned = make_config({f.name: getattr(config, f.name) for f in dataclasses.fields(config)} | chosen)
    default = to_dict(make_config({"preset": config.preset}))
    left = ("out", "overwrite", "auto", "request")
    shown = {
        name: value
        for name, value in to_dict(tuned).items()
        if name not in left and (name in record["settings"] or value != default[name])
    }
    if given_strings(config):
        # Texts that were given as strings are stored nowhere: the file names them by hash, and they are given anew.
        shown = without_texts(shown)
    head = (
        f"# Trial {record['number']} of {number_of_trials} of srmu tune: of what was to go {record['remaining']:.3f} "
        f"remained, of what was to stay {record['kept']:.3f} was kept in the worst group.\n"
    )
    return head + str(yaml.safe_dump(shown, sort_keys=False, allow_unicode=True))
