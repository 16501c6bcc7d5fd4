"""Run attacks on a result beside its base, and keep what they found in the run's `results.json`."""

import dataclasses
import hashlib
import json
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srmu.errors import InputError, nearest_hint
from srmu.evaluation.attacks.cells import CELLS_FILE, Cells, CellsFile
from srmu.evaluation.attacks.outcome import NotApplicable, Outcome, Skipped
from srmu.evaluation.attacks.registry import ATTACKS
from srmu.evaluation.attacks.seeds import over_seeds
from srmu.evaluation.attacks.setting import (
    FULL,
    QUICK,
    TUNINGS,
    AttackSetting,
    Budget,
    Subject,
    choose_kept,
    fact_of,
    holds,
    right_answer,
    split_halves,
)
from srmu.evaluation.loading import load_tokenizer
from srmu.evaluation.model_pair import ModelPair, resolve_pair
from srmu.inputs.corpora import read_corpus
from srmu.inputs.questions import Question, read_questions
from srmu.results.compare import side_of
from srmu.results.manifest_file import RESULTS_FILE, read_manifest, read_results
from srmu.runtime.files import file_sha256, write_json_atomic
from srmu.runtime.precision import check_dtype
from srmu.runtime.progress import Reporter
from srmu.surgery.checkpoint import open_checkpoint

SECTION = "attacks"
TEXTS = ("relearn", "kept", "forget", "unseen")
PARAPHRASE = "paraphrase"
_VERSION = 1
"""To be raised when the same setting would give other numbers: kept cells of an older version are not used."""


def attack(
    model: str,
    *,
    base: str | None = None,
    questions: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    only: Sequence[str] = (),
    full: bool = False,
    learning_rates: Sequence[float] = (),
    tunings: Sequence[str] = (),
    text_field: str = "auto",
    seed: int | Sequence[int] = 0,
    device: str = "auto",
    dtype: str = "auto",
    trust_remote_code: bool = False,
    cells_file: Path | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Attack a model, and its base in the same way.

    Args:
        model: A finished run directory; or a checkpoint directory or hub id, with `base`. Of a run, the records are
            also merged into its `results.json`, and finished parts are kept in `attack_cells.json` beside it.
        base: Checkpoint directory, hub id or run directory; of a run, none = its own base.
        questions: Group name -> JSONL of multiple-choice questions; none = those of the run's config. Groups whose
            name begins with `forget` are attacked, `neighbours` are left out, `paraphrase` asks the forgotten facts in
            other words, and all others must stay.
        texts: `relearn` (told instead of half of the questions), `kept` (benign texts to fine-tune on), `forget` and
            `unseen` (for membership) -> file, folder or hub data set.
        only: Names of attacks; none = all.
        full: Learning rates swept, more steps and questions.
        learning_rates: Instead of the budget's; of full fine-tuning, LoRA takes ten times as much.
        tunings: Of `full` and `lora`, those to relearn with; none = the budget's.
        text_field: Field with the text in records of `texts`, or a template; `auto` = recognised.
        seed: Of every random choice, the halves too; over several, accuracies are averaged before the worst case is
            chosen.
        device: As torch names it, or `auto`.
        dtype: For attacks that do not train, `auto` = as stored where the device multiplies that natively, else
            float32; those that train have float32 weights.
        trust_remote_code: Run model code that comes with the checkpoint.
        cells_file: Where finished parts are kept, possibly with those of other results; none = beside the run.
        reporter: Hears of stages and progress.

    Returns:
        `model`, `base`, `budget`, `seed` and, by name, `attacks`: records with a `status`. JSON values, no text.

    Raises:
        InputError: Anything asked for is wrong; known before a model is loaded.
    """
    reporter = reporter or Reporter()
    names = _check_names(only)
    check_dtype(dtype)
    pair = resolve_pair(model, base)
    if pair.base is None:
        raise InputError(f"{model!r} is attacked beside its base, and none was given. Add --base, or name a run.")
    seeds = _check_seeds(seed)
    budget = _budget(full, learning_rates, tunings)
    settings = _make_settings(
        pair, _read_questions(pair, questions), _read_texts(texts or {}, text_field), budget, seeds=seeds,
        device=device, dtype=dtype, trust_remote_code=trust_remote_code, reporter=reporter,
    )  # fmt: skip
    if cells_file is None and pair.run_dir is not None:
        cells_file = pair.run_dir / CELLS_FILE
    file = CellsFile(cells_file)
    records = {}
    for name in names:
        records[name] = over_seeds([_run(name, setting, Cells(file, identity_of(setting))) for setting in settings])
        if pair.run_dir is not None:
            _merge(pair.run_dir, {name: records[name]})
    about = {"model": str(pair.model), "base": str(pair.base), "budget": budget.name}
    return {**about, "seed": seeds[0] if len(seeds) == 1 else seeds, SECTION: records}


def has_error(record: Mapping[str, Any]) -> bool:
    """Whether an attack could not be carried out, so that nothing is known of it."""
    return any(entry["status"] == "error" for entry in record[SECTION].values())


def _check_names(only: Sequence[str]) -> list[str]:
    for name in only:
        if name not in ATTACKS:
            known = list(ATTACKS)
            raise InputError(f"Attack {name!r} is unknown.{nearest_hint(name, known)} Known: {', '.join(known)}.")
    return [name for name in ATTACKS if not only or name in only]


def _check_seeds(seed: int | Sequence[int]) -> list[int]:
    seeds = [seed] if isinstance(seed, int) else list(seed)
    if not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"seed={seeds!r} were asked for. Give each seed once.")
    return seeds


def _budget(full: bool, learning_rates: Sequence[float], tunings: Sequence[str]) -> Budget:
    budget = FULL if full else QUICK
    if any(not 0 < rate < 1 for rate in learning_rates):
        raise InputError(f"learning_rates={list(learning_rates)!r} are out of range. Choose above 0 and below 1.")
    if unknown := set(tunings) - set(TUNINGS):
        raise InputError(f"tunings={sorted(unknown)!r} are unknown. Choose of {', '.join(TUNINGS)}.")
    ways = {
        material: tuple(way for way in own if not tunings or way in tunings) for material, own in budget.tunings.items()
    }
    return dataclasses.replace(budget, rates=tuple(learning_rates) or budget.rates, tunings=ways)


def _read_questions(pair: ModelPair, given: Mapping[str, str] | None) -> dict[str, list[Question]]:
    """The groups that were named, or else those of the run's config."""
    files = dict(given or {})
    if not files and pair.run_dir is not None:
        files = dict(read_manifest(pair.run_dir)["config"].get("questions") or {})
        if lost := [path for path in files.values() if not Path(path).is_file()]:
            raise InputError(f"Questions of the run are not at {lost[0]!r} any more. Name them with --questions.")
    groups = {name: read_questions(path) for name, path in files.items()}
    if not any(side_of(name) == "forget" for name in groups):
        found = ", ".join(groups) or "none"
        raise InputError(
            f"An attack needs questions on what was forgotten; groups found: {found}. "
            "Give --questions forget=PATH, and others such as --questions kept=PATH for what must stay."
        )
    return groups


def _read_texts(files: Mapping[str, str], text_field: str) -> dict[str, tuple[str, ...]]:
    texts = {}
    for name, source in files.items():
        if name not in TEXTS:
            raise InputError(f"--texts {name}= is unknown.{nearest_hint(name, TEXTS)} Known: {', '.join(TEXTS)}.")
        documents = read_corpus([source], text_field=text_field, role=name).documents
        texts[name] = tuple(document.as_text() for document in documents)
    return texts


def _make_settings(
    pair: ModelPair, groups: Mapping[str, Sequence[Question]], texts: Mapping[str, tuple[str, ...]], budget: Budget, *,
    seeds: Sequence[int], device: str, dtype: str, trust_remote_code: bool, reporter: Reporter,
) -> list[AttackSetting]:  # fmt: skip
    """One a seed; they share the models."""
    asked = [_asked(groups, texts, budget, seed) for seed in seeds]
    options = {"device": device, "dtype": dtype, "trust_remote_code": trust_remote_code}
    assert pair.base is not None
    subjects = {"base": _subject(pair.base, options), "result": _subject(pair.model, options)}
    tokenizer = load_tokenizer(pair.model, trust_remote_code=trust_remote_code)
    return [
        AttackSetting(subjects=subjects, tokenizer=tokenizer, budget=budget, reporter=reporter, **own) for own in asked
    ]


def _asked(
    groups: Mapping[str, Sequence[Question]], given: Mapping[str, tuple[str, ...]], budget: Budget, seed: int
) -> dict[str, Any]:
    """What the seed decides: who tells what, and what is asked."""
    texts = dict(given)
    forget = [question for name, group in groups.items() if side_of(name) == "forget" for question in group]
    told, tested = split_halves(forget, budget, seed)
    facts = {fact_of(question) for question in tested}
    kept, kept_told = choose_kept({name: group for name, group in groups.items() if name != PARAPHRASE}, budget, seed)
    if "relearn" in texts:
        answers = {right_answer(question) for question in tested}
        texts["relearn"] = tuple(
            text for text in texts["relearn"] if not any(holds(text, answer) for answer in answers)
        )
        if not texts["relearn"]:
            raise InputError("Every text to relearn holds an answer that is tested. Give texts on half of the facts.")
    return {
        "told": tuple(told),
        "tested": tuple(tested),
        "kept": kept,
        "kept_told": kept_told,
        "texts": texts,
        "paraphrases": tuple(question for question in groups.get(PARAPHRASE, ()) if fact_of(question) in facts),
        "seed": seed,
    }


def identity_of(setting: AttackSetting) -> str:
    """Hash of what all numbers depend on, but the weights (each number's key names them) and what is swept over."""
    budget = dataclasses.asdict(setting.budget)
    del budget["rates"], budget["tunings"]
    asked = (*setting.told, *setting.tested, *setting.paraphrases, *setting.kept_told)
    parts = [
        _VERSION, [dataclasses.asdict(question) for question in asked],
        {name: [dataclasses.asdict(question) for question in group] for name, group in setting.kept.items()},
        {name: list(texts) for name, texts in setting.texts.items()}, budget, setting.seed,
        [setting.subjects["result"].device, setting.subjects["result"].dtype],
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _subject(path: Path, options: Mapping[str, Any]) -> Subject:
    shards = {shard: file_sha256(path / shard) for shard in open_checkpoint(path).shards}
    digest = hashlib.sha256(json.dumps(shards, sort_keys=True).encode()).hexdigest()[:16]
    return Subject(path, digest=digest, **options)


def _run(name: str, setting: AttackSetting, cells: Cells) -> dict[str, Any]:
    """One attack's record; what raises is an error, never a verdict."""
    started = time.perf_counter()
    setting.reporter.note(f"Attack {name}, seed {setting.seed}")
    try:
        record = _record(name, setting, cells)
    except NotApplicable as reason:
        record = Outcome(status="not applicable", detail=str(reason)).to_record()
    except Skipped as reason:
        record = Outcome(status="skipped", detail=str(reason)).to_record()
    except Exception as error:
        # The message may quote a question, and is shown only; what is kept says where it was raised.
        setting.reporter.note(f"  error: {type(error).__name__}: {str(error)[:300]}")
        place = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
        record = Outcome(status="error", detail=detail).to_record()
    seconds = round(time.perf_counter() - started, 1)
    return {**record, "budget": setting.budget.name, "seed": setting.seed, "seconds": seconds}


def _record(name: str, setting: AttackSetting, cells: Cells) -> dict[str, Any]:
    """A finished attack's record; relearning keeps its own parts, since a sweep may have grown."""
    if name.startswith("relearn"):
        return ATTACKS[name](setting, cells).to_record()
    digests = "/".join(subject.digest for subject in setting.subjects.values())
    record: dict[str, Any] = cells.get(f"{name}/{digests}", lambda: ATTACKS[name](setting, cells).to_record())
    return dict(record)


def _merge(run_dir: Path, records: Mapping[str, Any]) -> None:
    """Put records into the run's `results.json`; an attack made again replaces its former record."""
    results = read_results(run_dir)
    results[SECTION] = {**results.get(SECTION, {}), **records}
    write_json_atomic(run_dir / RESULTS_FILE, results)
