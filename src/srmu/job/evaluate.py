"""Measure a checkpoint, or a run's result beside its base, on the user's own questions, texts, prompts and tasks."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from srmu.config.groups import Side
from srmu.errors import InputError
from srmu.evaluation.answers import check_rouge
from srmu.evaluation.model_pair import ALL_DEVICES, ModelPair, free, load_for_measuring, resolve_pair
from srmu.evaluation.run_questions import find_run_questions, find_run_sides
from srmu.evaluation.scores import ModelScores, Workload, evaluation_of, score_model
from srmu.inputs.completions import read_completions
from srmu.inputs.corpora import read_corpus
from srmu.inputs.harness_tasks import find_tasks
from srmu.inputs.questions import read_questions
from srmu.results.groups import EvaluateSettings, Source
from srmu.results.records import Evaluation, EvaluationReport, add_results, read_results
from srmu.results.run_files import MANIFEST_FILE
from srmu.results.sides import NOTHING_DECLARED, check_sides, sides_of
from srmu.runtime.files import file_sha256
from srmu.runtime.precision import check_dtype
from srmu.runtime.processes import connect, main_process, sharing, together, world_size
from srmu.runtime.progress import Reporter
from srmu.surgery.whole_model import MemoryLimit


def evaluate(
    model: str,
    *,
    base: str | None = None,
    questions: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    completions: Mapping[str, str] | None = None,
    tasks: Sequence[str] = (),
    sides: Mapping[str, Side] = NOTHING_DECLARED,
    text_field: str = "auto",
    chat: bool = False,
    limit: int | None = None,
    device: str = "auto",
    dtype: str = "auto",
    memory_gb: MemoryLimit = "auto",
    trust_remote_code: bool = False,
    reporter: Reporter | None = None,
) -> EvaluationReport:
    """Measure a model, and a base beside it.

    Of several processes each takes its part of the batches; all have the whole result, except of harness tasks, which
    the main process runs alone, and the main process writes.

    Args:
        model: Checkpoint directory, hub id, or a finished run directory: then the base is the run's, and what is
            measured is also merged, group by group, into `results.json` under `evaluate`.
        base: Checkpoint directory, hub id or run directory.
        questions: Group name -> JSONL of multiple-choice questions; of a run, if nothing at all is named, its own.
        texts: Group name -> file, folder or hub data set.
        completions: Group name -> JSONL of prompts and expected answers.
        tasks: Tasks of lm-evaluation-harness: names, or paths of YAML files.
        sides: Group name -> `forget`, `kept` or `reported`, where the name does not say it; kept in the run's results.
        text_field: Field with the text in records of `texts`, or a template; `auto` = recognised by their fields.
        chat: Ask in the chat template; texts are read as they are.
        limit: Most items of every group and task: the first ones.
        device: `auto`, `all` (spread over every accelerator), or as torch names it.
        dtype: `auto` = as stored where the device multiplies that natively, else float32.
        memory_gb: GiB that a model may take, or `auto` for what is free; beyond, its layers are read from disk at
            every pass.
        trust_remote_code: Run model code that comes with the checkpoint.
        reporter: Hears of stages and progress.

    Returns:
        By kind and group the result, and beside a base their paired difference; no text.

    Raises:
        InputError: Anything asked for is wrong; known before a model is loaded, except what the harness finds.
    """
    reporter = reporter or Reporter()
    files = {"questions": dict(questions or {}), "texts": dict(texts or {}), "completions": dict(completions or {})}
    if not any(files.values()) and not tasks:
        files["questions"] = find_run_questions(Path(model)) if (Path(model) / MANIFEST_FILE).is_file() else {}
        if not files["questions"]:
            raise InputError("Nothing to measure was named. Give --questions, --texts, --completions or --tasks.")
    check_sides(sides, [*files["questions"], *files["texts"]])
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit!r} leaves nothing to measure. Give 1 or more, or leave it out.")
    if device == ALL_DEVICES and world_size() > 1:
        raise InputError(
            f"device='all' was asked for in {world_size()} processes, each of which takes a device of its own. Leave "
            "--device out, or start srmu evaluate without a launcher."
        )
    check_dtype(dtype)
    connect(cpu=device == "cpu")
    with together():
        pair = resolve_pair(model, base)
        if pair.run_dir is not None:
            # A file that cannot be added to is to be known before hours of measuring.
            read_results(pair.run_dir)
        work = _read(files, tasks, text_field=text_field, chat=chat, limit=limit, reporter=reporter)
    found = score_pair(
        pair, work, device=device, dtype=dtype, memory_gb=memory_gb, trust_remote_code=trust_remote_code,
        reporter=reporter,
    )  # fmt: skip
    measured = _with_sources(
        evaluation_of(found.get("base"), found["result"]), files, EvaluateSettings(chat, limit, device, dtype)
    )
    if pair.run_dir is not None and main_process():
        _merge_into_results(pair.run_dir, measured, sides)
    return EvaluationReport(
        model=str(pair.model), base=None if pair.base is None else str(pair.base),
        questions=measured.questions, texts=measured.texts, completions=measured.completions, tasks=measured.tasks,
    )  # fmt: skip


def score_pair(
    pair: ModelPair,
    work: Workload,
    *,
    device: str,
    dtype: str,
    memory_gb: MemoryLimit,
    trust_remote_code: bool,
    reporter: Reporter,
) -> dict[str, ModelScores]:
    """Scores of `base`, where there is one, and of `result`; one model is in memory at a time."""
    found: dict[str, ModelScores] = {}
    vocabularies = []
    for title, path in (("base", pair.base), ("result", pair.model)):
        if path is None:
            continue
        loaded = load_for_measuring(
            path, device=device, dtype=dtype, memory_gb=memory_gb, trust_remote_code=trust_remote_code
        )
        vocabularies.append(loaded.tokenizer.get_vocab())
        if vocabularies[0] != vocabularies[-1]:
            raise InputError(
                f"{str(pair.base)!r} and {str(pair.model)!r} have different tokenizers, so their tokens cannot be "
                "compared. Give the base that the model comes from."
            )
        with sharing():
            found[title] = score_model(
                loaded.model, loaded.tokenizer, work, title=title.capitalize(), reporter=reporter
            )
        del loaded
        free(device)
    return found


def _read(
    files: Mapping[str, Mapping[str, str]],
    tasks: Sequence[str],
    *,
    text_field: str,
    chat: bool,
    limit: int | None,
    reporter: Reporter,
) -> Workload:
    """Read everything, so that a mistake is known before a model is loaded."""
    if files["completions"]:
        check_rouge()
    texts = {}
    for name, source in files["texts"].items():
        documents = read_corpus([source], text_field=text_field, role="evaluation").documents[:limit]
        texts[name] = [document.as_text() for document in documents]
    found_tasks = None
    if tasks:
        with reporter.task("Task list of the harness") as progress:
            found_tasks = find_tasks(tasks)
            progress(1, 1)
    return Workload(
        questions={name: read_questions(path)[:limit] for name, path in files["questions"].items()},
        texts=texts,
        completions={name: read_completions(path)[:limit] for name, path in files["completions"].items()},
        tasks=found_tasks,
        limit=limit,
        chat=chat,
    )


def _with_sources(
    measured: Evaluation, files: Mapping[str, Mapping[str, str]], settings: EvaluateSettings
) -> Evaluation:
    """With each group's file name, hash and settings beside its numbers, since groups of several calls are merged."""

    def source(kind: str, name: str) -> Source:
        return _source(files[kind][name])

    replace = dataclasses.replace
    return Evaluation(
        questions={
            name: replace(group, source=source("questions", name), settings=settings)
            for name, group in measured.questions.items()
        },
        texts={
            name: replace(group, source=source("texts", name), settings=settings)
            for name, group in measured.texts.items()
        },
        completions={
            name: replace(group, source=source("completions", name), settings=settings)
            for name, group in measured.completions.items()
        },
        tasks={name: replace(group, settings=settings) for name, group in measured.tasks.items()},
    )


def _source(given: str) -> Source:
    path = Path(given)
    if given.startswith("hub:") or not path.is_file():
        return Source(given if given.startswith("hub:") else path.name)
    return Source(path.name, file_sha256(path))


def _merge_into_results(run_dir: Path, measured: Evaluation, declared: Mapping[str, Side]) -> None:
    """Add groups to the run's `results.json`; a group measured again replaces the former numbers."""
    sides = sides_of([*measured.questions, *measured.texts], find_run_sides(run_dir, declared))
    add_results(
        run_dir,
        lambda results: dataclasses.replace(
            results, evaluate=results.evaluate.merged(measured), sides={**results.sides, **sides}
        ),
    )
