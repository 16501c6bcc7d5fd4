"""RWKU's sets (arXiv 2406.10890) from local files or the hub, checked whole before any model is loaded."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srmu.errors import InputError, nearest_hint
from srmu.evaluation.benchmarks.rwku_records import (
    Instruction,
    MultipleChoice,
    OpenQuestion,
    Passage,
    Probe,
    TruthfulQuestion,
    fields,
    instruction,
    multiple_choice,
    open_question,
    passage,
    probe,
    reasoning,
    truthful_question,
)
from srmu.evaluation.benchmarks.sampling import first_of_each
from srmu.inputs.limits import shown_source
from srmu.inputs.readers import HUB_PREFIX, read_file, read_records
from srmu.inputs.wanted import Wanted

HUB = "hub"
"""As `--data`: every set is read from the authors' data set on the hub."""
_DATASET = "jinzhuoran/RWKU"
_SUFFIXES = (".jsonl", ".json", ".parquet")
Item = Probe | Passage | MultipleChoice | OpenQuestion | TruthfulQuestion | Instruction


@dataclass(frozen=True)
class SetKind:
    """A set as the hub and the authors' processed files name it.

    Attributes:
        other_name: Of its file in the folders that the authors' `process/data_process.py` writes.
        read: Makes an item of a record.
        about: In words, for tables.
    """

    other_name: str
    read: Callable[[Any, str], Any]
    about: str


SETS: Mapping[str, SetKind] = {
    "forget_level1": SetKind("forget_level1", probe, "forget, fill in the blank"),
    "forget_level2": SetKind("forget_level2", probe, "forget, question and answer"),
    "forget_level3": SetKind("forget_level3", probe, "forget, adversarial"),
    "neighbor_level1": SetKind("neighbor_level1", probe, "neighbours, fill in the blank"),
    "neighbor_level2": SetKind("neighbor_level2", probe, "neighbours, question and answer"),
    "mia_forget": SetKind("forget_mia", passage, "membership, forget members"),
    "mia_retain": SetKind("retain_mia", passage, "membership, retain members"),
    "utility_general": SetKind("retain_mmlu", multiple_choice, "general ability, MMLU"),
    "utility_reason": SetKind("retain_bbh", reasoning, "reasoning, BBH"),
    "utility_truthfulness": SetKind("truthful", truthful_question, "truthfulness, TruthfulQA"),
    "utility_factuality": SetKind("triviaqa", open_question, "factuality, TriviaQA"),
    "utility_fluency": SetKind("fluency", instruction, "fluency, AlpacaEval"),
}


@dataclass(frozen=True, kw_only=True)
class RwkuData:
    """The sets that are there.

    Attributes:
        sets: Items by name of the set.
        sha256: By set, of its items as they were read, before subject and limit.
        missing: By set that is not there, why.
        subject: The person whose probes alone were read; none = all.
        limit: Most items of a set; none = all.
    """

    sets: Mapping[str, tuple[Any, ...]]
    sha256: Mapping[str, str]
    missing: Mapping[str, str]
    subject: str | None
    limit: int | None

    @property
    def num_items(self) -> int:
        """Of all sets together."""
        return sum(map(len, self.sets.values()))


def read_rwku(
    data: str | Path, *, subject: str | None = None, sets: Sequence[str] | None = None, limit: int | None = None
) -> RwkuData:
    """Read what a folder or the hub holds of RWKU.

    Args:
        data: `hub`; or a folder with `forget_level1.jsonl` and so on (`.json`, `.parquet`), or with the names that the
            authors' script gives the files of one person (`retain_mmlu.json`, ...).
        subject: One person; None = all in the files.
        sets: Names of `SETS` that must be there; None = those that are.
        limit: Most items of a set, of every person some.

    Raises:
        InputError: A set that was named is missing, none is there, or a record is malformed (with file and line).
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit!r} leaves no question. Give 1 or more.")
    for name in sets or ():
        if name not in SETS:
            raise InputError(
                f"set={name!r} was asked for.{nearest_hint(name, tuple(SETS))} There are {', '.join(SETS)}."
            )
    sources, missing = _find(data, tuple(sets) if sets else None)
    everything = {name: _read_set(name, source) for name, source in sources.items()}
    if subject is not None:
        _check_subject(subject, everything)
    kept = {
        name: [item for item in items if subject is None or item.subject in ("", subject)]
        for name, items in everything.items()
    }
    for name in [name for name, items in kept.items() if not items]:
        del kept[name]
        missing[name] = f"it has nothing about {subject}"
    return RwkuData(
        sets={
            name: first_of_each(items, [item.subject for item in items], limit) for name, items in kept.items()
        },
        sha256={name: _digest(items) for name, items in everything.items()},
        missing={name: missing[name] for name in SETS if name in missing},
        subject=subject,
        limit=limit,
    )  # fmt: skip


def _find(data: str | Path, sets: Sequence[str] | None) -> tuple[dict[str, str], dict[str, str]]:
    """Source by set, and why by set that has none."""
    wanted = sets or tuple(SETS)
    left_out = {name: "it was not asked for" for name in SETS if name not in wanted}
    if str(data) == HUB:
        return {name: f"{HUB_PREFIX}{_DATASET}:{name}:test" for name in SETS if name in wanted}, left_out
    folder = Path(data)
    if not folder.is_dir():
        raise InputError(f"--data {str(folder)!r} is no folder. Give a folder of RWKU's files, or {HUB!r}.")
    sources, missing = {}, dict(left_out)
    for name in (name for name in SETS if name in wanted):
        stems = dict.fromkeys((name, SETS[name].other_name))
        files = [file for stem in stems for suffix in _SUFFIXES if (file := folder / f"{stem}{suffix}").is_file()]
        if len(files) > 1:
            raise InputError(f"Set {name!r} is in {files[0].name!r} and {files[1].name!r}. Leave one of them.")
        if files:
            sources[name] = str(files[0])
        elif sets:
            raise InputError(
                f"Set {name!r} is not in {str(folder)!r}: there is no {name}.jsonl (.json, .parquet). Put it there, or "
                "leave it out of --sets."
            )
        else:
            missing[name] = f"{name}.jsonl is not in the folder"
    if not sources:
        raise InputError(
            f"{str(folder)!r} holds none of RWKU's sets. Give a folder with forget_level1.jsonl and so on, or {HUB!r}."
        )
    return sources, missing


def _read_set(name: str, source: str) -> list[Any]:
    where = f"Set {shown_source(source)}"
    read = SETS[name].read
    items = [read(fields(record, place), place) for place, record in _records(source, where)]
    if not items:
        raise InputError(f"{where} holds no record. Restore it from the data set.")
    return items


def _records(source: str, where: str) -> Iterator[tuple[str, Any]]:
    if source.startswith(HUB_PREFIX):
        return read_records(source, where, _AnyRecord(), [])
    return read_file(Path(source), where, _AnyRecord(), [])


class _AnyRecord(Wanted):
    def is_record(self, names: Collection[str]) -> bool:
        return bool({"query", "text", "question", "instruction"} & set(names))

    def columns(self, names: Sequence[str], where: str) -> list[str]:
        return list(names)


def _check_subject(subject: str, everything: Mapping[str, Sequence[Any]]) -> None:
    known = dict.fromkeys(item.subject for items in everything.values() for item in items if item.subject)
    if subject not in known:
        few = ", ".join(list(known)[:3]) or "none"
        raise InputError(
            f"subject={subject!r} was asked for, and no record is about it.{nearest_hint(subject, tuple(known))} The "
            f"files have {len(known)} subjects, such as {few}."
        )


def _digest(items: Sequence[Any]) -> str:
    content = json.dumps([vars(item) for item in items], ensure_ascii=False, default=vars)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
