"""Run attacks on a result beside its base, and keep what they found in the run's `results.json`."""

import dataclasses
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from srmu.config.groups import Side
from srmu.errors import InputError, nearest_hint
from srmu.evaluation.attacks.cells import Cells, CellsFile
from srmu.evaluation.attacks.outcome import NotApplicable, Skipped
from srmu.evaluation.attacks.preparing import (
    Loading,
    choose_budget,
    identity_of,
    make_settings,
    read_groups,
    read_texts,
)
from srmu.evaluation.attacks.registry import ATTACKS
from srmu.evaluation.attacks.seeds import over_seeds
from srmu.evaluation.attacks.setting import AttackSetting
from srmu.evaluation.model_pair import resolve_pair
from srmu.evaluation.run_questions import find_run_sides
from srmu.results.attack_records import AttackRecord
from srmu.results.attack_report import AttackReport
from srmu.results.records import add_results
from srmu.results.run_files import CELLS_FILE
from srmu.results.sides import NOTHING_DECLARED
from srmu.runtime.precision import check_dtype
from srmu.runtime.progress import Reporter


def attack(
    model: str,
    *,
    base: str | None = None,
    questions: Mapping[str, str] | None = None,
    texts: Mapping[str, str] | None = None,
    sides: Mapping[str, Side] = NOTHING_DECLARED,
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
) -> AttackReport:
    """Attack a model, and its base in the same way.

    Args:
        model: A finished run directory; or a checkpoint directory or hub id, with `base`. Of a run, the records are
            also merged into its `results.json`, and finished parts are kept in `attack_cells.json` beside it.
        base: Checkpoint directory, hub id or run directory; of a run, none = its own base.
        questions: Group name -> JSONL of multiple-choice questions; none = those of the run's config. Groups on
            the forget side are attacked, those that are only reported are left out, `paraphrase` asks the forgotten
            facts in other words, and all others must stay; `results.sides` has the rule.
        texts: `relearn` (trained on in place of half of the questions), `kept` (benign texts to fine-tune on), `forget`
            and `unseen` (for membership) -> file, folder or hub data set.
        sides: Of groups whose names do not say it, over those of the run.
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
        A record by attack; numbers and names, no text of the data. It shows itself as a table.

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
    budget = choose_budget(full, learning_rates, tunings)
    known = find_run_sides(pair.run_dir, sides)
    settings = make_settings(
        pair,
        read_groups(pair, questions, known),
        read_texts(texts or {}, text_field),
        budget,
        seeds=seeds,
        sides=known,
        loading=Loading(device=device, dtype=dtype, trust_remote_code=trust_remote_code),
        reporter=reporter,
    )
    if cells_file is None and pair.run_dir is not None:
        cells_file = pair.run_dir / CELLS_FILE
    file = CellsFile(cells_file)
    records = {}
    for name in names:
        records[name] = over_seeds([_run(name, setting, Cells(file, identity_of(setting))) for setting in settings])
        if pair.run_dir is not None:
            _merge(pair.run_dir, name, records[name])
    return AttackReport(
        model=str(pair.model), base=str(pair.base), budget=budget.name, seeds=tuple(seeds), records=records
    )


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


def _run(name: str, setting: AttackSetting, cells: Cells) -> AttackRecord:
    """One attack's record; what raises is an error, never a verdict."""
    began = time.perf_counter()
    setting.reporter.note(f"Attack {name}, seed {setting.seed}")
    try:
        record = _record(name, setting, cells)
    except NotApplicable as reason:
        record = AttackRecord(status="not applicable", notes=(str(reason),))
    except Skipped as reason:
        record = AttackRecord(status="skipped", notes=(str(reason),))
    except Exception as error:
        # The message may quote a question, and is shown only; what is kept says where it was raised.
        setting.reporter.note(f"  error: {type(error).__name__}: {str(error)[:300]}")
        place = traceback.extract_tb(error.__traceback__)[-1]
        detail = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"
        record = AttackRecord(status="error", notes=(detail,))
    return dataclasses.replace(
        record,
        notes=(*record.notes, *_mark_of_questions(setting, record)),
        needs=ATTACKS[name].needs,
        budget=setting.budget.name,
        seeds=(setting.seed,),
        seconds=round(time.perf_counter() - began, 1),
    )


def _mark_of_questions(setting: AttackSetting, record: AttackRecord) -> tuple[str, ...]:
    """A note where a result rests on questions that srmu made."""
    made = sum(question.machine_made for question in setting.tested)
    if record.status != "result" or not made:
        return ()
    return (f"{made} of the {len(setting.tested)} tested questions are machine-made",)


def _record(name: str, setting: AttackSetting, cells: Cells) -> AttackRecord:
    """A finished attack's record, which is kept, unless the attack keeps its own parts."""
    attack = ATTACKS[name]
    if attack.keeps_own_parts:
        return attack.run(setting, cells)
    digests = "/".join(subject.digest for subject in setting.subjects.values())
    return cells.get(f"{name}/{digests}", AttackRecord, lambda: attack.run(setting, cells))


def _merge(run_dir: Path, name: str, record: AttackRecord) -> None:
    """Put a record into the run's `results.json`; an attack made again replaces its former record."""
    add_results(run_dir, lambda results: dataclasses.replace(results, attacks={**results.attacks, name: record}))
