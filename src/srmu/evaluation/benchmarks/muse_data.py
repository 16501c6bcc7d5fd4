"""MUSE's texts and questions (arXiv 2407.06460) from files or the hub, checked whole before any model is loaded."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srmu.errors import InputError, nearest_hint
from srmu.inputs.readers import HUB_PREFIX, read_records
from srmu.inputs.wanted import Records, Wanted

HUB_NAMES: Mapping[str, str] = {"news": "muse-bench/MUSE-News", "books": "muse-bench/MUSE-Books"}
"""The data set of each corpus on the hub."""
FULL_SIZE = 100
"""Items of every part but the examples, of which there are ten, as published."""
FOLDS = 4
"""Forget sets of `scal` (growing) and of `sust` (one after another); MUSE-Books has none."""
# The parts as the hub names them, configuration and split, with the fields of their records.
PARTS: Mapping[str, tuple[str, ...]] = {
    "verbmem/forget": ("prompt", "gt"),
    "knowmem/forget_qa": ("question", "answer"),
    "knowmem/forget_qa_icl": ("question", "answer"),
    "knowmem/retain_qa": ("question", "answer"),
    "knowmem/retain_qa_icl": ("question", "answer"),
    "privleak/forget": ("text",),
    "privleak/holdout": ("text",),
}
_SUFFIXES = (".json", ".jsonl", ".parquet")


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Beginnings with what follows them, or questions with their answers."""

    asked: tuple[str, ...]
    expected: tuple[str, ...]
    """One entry for each of `asked`."""


@dataclass(frozen=True, kw_only=True)
class MuseData:
    """One corpus of MUSE."""

    corpus: str
    """`news` or `books`."""
    verbatim: Pairs
    """Beginnings of the forget texts, and how they go on."""
    forget: Pairs
    forget_examples: Pairs
    """Questions with answers that stand before each question of `forget`."""
    retain: Pairs
    retain_examples: Pairs
    members: tuple[str, ...]
    """Forget texts."""
    holdout: tuple[str, ...]
    """Texts of the same kind that no model has seen."""
    sha256: Mapping[str, str]
    """Of the content of each part, however it is stored."""
    limit: int | None
    """Most items of a part; None = all that there are."""

    @property
    def is_complete(self) -> bool:
        """Whether every part has as many items as were published."""
        parts = (self.verbatim.asked, self.forget.asked, self.retain.asked, self.members, self.holdout)
        return all(len(part) == FULL_SIZE for part in parts)


class _Fields(Wanted):
    """Objects with these fields; of one field, also bare strings in a list."""

    def __init__(self, fields: Sequence[str]):
        self.fields = fields

    def is_record(self, names: Collection[str]) -> bool:
        return set(self.fields) <= set(names)

    def columns(self, names: Sequence[str], where: str) -> list[str]:
        if missing := [name for name in self.fields if name not in names]:
            raise InputError(f"{where}: {_list(missing)} missing; there are {', '.join(names)}. Give MUSE's own files.")
        return list(self.fields)


def check_corpus(corpus: str) -> None:
    """Refuse a name that is no corpus.

    Raises:
        InputError: With the nearest name.
    """
    if corpus not in HUB_NAMES:
        raise InputError(
            f"corpus={corpus!r} was asked for.{nearest_hint(corpus, tuple(HUB_NAMES))} "
            "MUSE's corpora are news and books."
        )


def read_muse(data: str | Path | None, corpus: str, *, limit: int | None = None) -> MuseData:
    """Read what a model is judged on.

    Args:
        data: Folder with `verbmem/forget`, `knowmem/forget_qa`, `privleak/holdout` and so on, each as `.json`, `.jsonl`
            or `.parquet`; a data set of the hub as `hub:NAME`; None = the authors' data set of the corpus.
        corpus: `news` or `books`.
        limit: Most items of a part, from its beginning; examples are always all taken.

    Raises:
        InputError: A part is missing or malformed (what and where is named), or forget texts are among the unseen ones.
    """
    check_corpus(corpus)
    if limit is not None and limit < 1:
        raise InputError(f"limit={limit!r} leaves nothing to measure. Give 1 or more.")
    sources = _sources(HUB_PREFIX + HUB_NAMES[corpus] if data is None else str(data))
    parts = {name: _read_part(name, source, PARTS[name]) for name, source in sources.items()}
    if both := set(parts["privleak/forget"]) & set(parts["privleak/holdout"]):
        raise InputError(
            f"{len(both)} texts of privleak/forget are in privleak/holdout too, such as {min(both)[0][:80]!r}. Take "
            "both from one copy of the data set."
        )
    pairs = {name: _pairs(rows, None if name.endswith("_icl") else limit) for name, rows in parts.items()}
    texts = {name: tuple(row[0] for row in parts[name])[:limit] for name in ("privleak/forget", "privleak/holdout")}
    return MuseData(
        corpus=corpus,
        verbatim=pairs["verbmem/forget"],
        forget=pairs["knowmem/forget_qa"],
        forget_examples=pairs["knowmem/forget_qa_icl"],
        retain=pairs["knowmem/retain_qa"],
        retain_examples=pairs["knowmem/retain_qa_icl"],
        members=texts["privleak/forget"],
        holdout=texts["privleak/holdout"],
        sha256={name: hashlib.sha256(json.dumps(rows).encode()).hexdigest() for name, rows in parts.items()},
        limit=limit,
    )


def _sources(data: str) -> dict[str, str]:
    """Where each part is to be read: all are found before one is read."""
    if data.startswith(HUB_PREFIX):
        return {name: ":".join([data, *name.split("/")]) for name in PARTS}
    found = {name: _find(Path(data), name) for name in PARTS}
    if missing := [name for name, path in found.items() if path is None]:
        raise InputError(
            f"MUSE needs {', '.join(missing)} in {data!r}, each as {', '.join(_SUFFIXES)}, and there is no such file. "
            f"Give a copy of the data set with --data, or {HUB_PREFIX}NAME."
        )
    return {name: str(path) for name, path in found.items()}


def _find(folder: Path, name: str) -> Path | None:
    """The file of a part; the hub's own names end in `-00000-of-00001.parquet`."""
    path = folder / name
    candidates = [path.with_name(path.name + suffix) for suffix in _SUFFIXES]
    candidates += sorted(path.parent.glob(f"{path.name}-*.parquet")) if path.parent.is_dir() else []
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _read_part(name: str, source: str, fields: Sequence[str]) -> list[tuple[str, ...]]:
    """The fields of each record of a part."""
    where = f"MUSE's {name} in {source!r}"
    records: Records = read_records(source, where, _Fields(fields), [])
    rows = [
        tuple(_text(_value(record, field, fields), f"{place}: {field!r}") for field in fields)
        for place, record in records
    ]
    if not rows:
        raise InputError(f"{where}: there is no record. Restore it from the data set.")
    return rows


def _value(record: Any, field: str, fields: Sequence[str]) -> Any:
    if isinstance(record, str) and len(fields) == 1:
        return record
    return record.get(field) if isinstance(record, Mapping) else None


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        found = "is missing" if value is None else f"is {str(value)[:60]!r}"
        raise InputError(f"{place} {found}, expected a text. Correct that place.")
    return value


def _pairs(rows: Sequence[Sequence[str]], limit: int | None) -> Pairs:
    return Pairs(asked=tuple(row[0] for row in rows)[:limit], expected=tuple(row[-1] for row in rows)[:limit])


def _list(names: Sequence[str]) -> str:
    return " and ".join(map(repr, names)) + (" is" if len(names) == 1 else " are")
