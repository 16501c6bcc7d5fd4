"""Everything in `manifest.json`: what a run was, in settings, hashes, counts and times. It never holds a text."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar, cast

from srmu.config.groups import Side
from srmu.errors import InputError
from srmu.results.digests import read_listed, write_sums
from srmu.results.records import Results
from srmu.results.run_files import MANIFEST_FILE
from srmu.results.schema import Mismatch, from_json, parse, to_json
from srmu.results.study import SearchRecord
from srmu.runtime.files import json_bytes, write_atomic

MANIFEST_FORMAT = 2
T = TypeVar("T")


@dataclass(frozen=True)
class Environment:
    """What a bit-identical repetition needs of the machine.

    Attributes:
        python: Version.
        packages: Version by name; none where a package is not installed.
        platform: Operating system.
        machine: Processor family.
        device: Where the run computed.
        threads: Of the processor.
        processes: That shared the work.
        dtype: That the model computed in.
    """

    python: str
    packages: Mapping[str, str | None]
    platform: str
    machine: str
    device: str
    threads: int
    processes: int = 1
    dtype: str | None = None


@dataclass(frozen=True)
class DataRecord:
    """One source of texts.

    Attributes:
        topic: Topic that it belongs to.
        role: "forget", "retain" or "questions".
        source: File name without its folder, hub data set, "self", or "text" for a string given in Python.
        sha256: Hash of its texts.
        documents: Number of documents.
        rows: Number of rows of tokens.
        tokens: Number of real tokens in them.
        dropped: Documents left out (empty, or too short).
    """

    topic: str
    role: Literal["forget", "retain", "questions"]
    source: str
    sha256: str
    documents: int
    rows: int
    tokens: int
    dropped: int = 0


@dataclass(frozen=True)
class Parent:
    """The run whose model is the base of this one.

    Attributes:
        run: Name of its directory.
        manifest_sha256: Hash of its manifest.
    """

    run: str
    manifest_sha256: str


@dataclass(frozen=True)
class ForgottenSource:
    """A source of texts that an earlier request forgot; fields as in `DataRecord`."""

    source: str
    sha256: str
    documents: int


@dataclass(frozen=True)
class BeforeAfter:
    """One measure of one group, of a run's base and its result."""

    base: float | None
    result: float | None


@dataclass(frozen=True, kw_only=True)
class Request:
    """An earlier request on the way from the first base to this run, and what it cost.

    Attributes:
        run: Name of its directory.
        manifest_sha256: Hash of its manifest.
        created: When it ended; none where its files could not be read.
        model: Its base, as its user named it.
        forget: What it forgot.
        seconds: Wall time by stage.
        questions: Accuracy by group.
        texts: Nats per token by group.
    """

    run: str
    manifest_sha256: str
    created: str | None = None
    model: str | None = None
    forget: tuple[ForgottenSource, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    questions: Mapping[str, BeforeAfter] = field(default_factory=dict)
    texts: Mapping[str, BeforeAfter] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Base:
    """The model that a run began with.

    Attributes:
        model: What the user named: a path or a hub id.
        revision: Hub revision, as the user named it.
        commit: Of a snapshot in the hub's cache.
        path: Where it lay; `~` stands for the home of whoever ran it.
        path_from_run: The way there from the run directory; none where the two have no folder in common.
        shards: SHA-256 of its weight files, by name.
        config_sha256: Hash of its `config.json`.
        parent: The run that made it, if one did.
        chain: That run and those before it, oldest first.
    """

    model: str
    revision: str | None = None
    commit: str | None = None
    path: str
    path_from_run: str | None = None
    shards: Mapping[str, str]
    config_sha256: str
    parent: Parent | None = None
    chain: tuple[Request, ...] = ()


@dataclass(frozen=True)
class ResultFiles:
    """The checkpoint in the run directory: SHA-256 of every file, by name."""

    files: Mapping[str, str]


@dataclass(frozen=True)
class TensorChange:
    """How a stored tensor differs from the base's.

    Attributes:
        name: Stored name.
        shard: File that holds it.
        dtype: Stored dtype, as in the header.
        shape: Its sizes.
        changed_fraction: Share of entries whose stored bits differ, 0 to 1.
        relative_change: Frobenius norm of the difference over that of the base's tensor.
        largest_change: Largest absolute difference of an entry.
    """

    name: str
    shard: str
    dtype: str
    shape: tuple[int, ...]
    changed_fraction: float
    relative_change: float
    largest_change: float


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a run was.

    Attributes:
        format: Of the file.
        created: When the run ended, in UTC.
        config: The resolved settings by name, as plain JSON values; texts in them are replaced by their hashes.
        assumed: Settings that the preset's sources do not give, with where each comes from.
        seeds: By use.
        steps: Optimizer steps taken.
        learning_rates: Full rate of each trained parameter, by its name in the loaded model.
        environment: Versions, machine, device.
        data: One entry per source of texts.
        base: The model that the run began with.
        result: The checkpoint that it made.
        run_files: SHA-256 of the run's other finished files, relative to its directory.
        changed: One entry per changed tensor.
        importance: Numbers that sum up the importance map of each topic.
        seconds: Wall time by stage.
        peak_memory_mb: Peak memory in MB, by place.
        auto: What `--search` tried and chose, if it was asked to.
    """

    format: int = MANIFEST_FORMAT
    created: str
    config: Mapping[str, object]
    assumed: Mapping[str, str]
    seeds: Mapping[str, int]
    steps: int
    learning_rates: Mapping[str, float]
    environment: Environment
    data: tuple[DataRecord, ...]
    base: Base
    result: ResultFiles
    run_files: Mapping[str, str]
    changed: tuple[TensorChange, ...]
    importance: Mapping[str, Mapping[str, float]]
    seconds: Mapping[str, float]
    peak_memory_mb: Mapping[str, float]
    auto: SearchRecord | None = None

    @property
    def method(self) -> str:
        """The target: rmu, adaptive-rmu, srmu."""
        return self._setting("method", str, "")

    @property
    def requirements(self) -> tuple[str, ...]:
        """Acceptance criteria of the run's own."""
        return self._setting("require", tuple[str, ...], ())

    @property
    def questions(self) -> dict[str, str]:
        """Files of questions by group, as the user named them."""
        return self._setting("questions", dict[str, str], {})

    @property
    def sides(self) -> dict[str, Side]:
        """Sides that the user declared, by group."""
        return self._setting("sides", dict[str, Side], {})

    def data_of(self, role: str) -> list[DataRecord]:
        """The sources with that role."""
        return [record for record in self.data if record.role == role]

    def _setting(self, name: str, hint: object, default: T) -> T:
        return (
            cast(T, from_json(hint, to_json(self.config[name]), f"config.{name}")) if name in self.config else default
        )


def read_manifest(run_dir: str | Path) -> Manifest:
    """Read the manifest of a run directory, which must be the one that its `SHA256SUMS` lists.

    Raises:
        InputError: There is none, or it is not one that this version reads, or another one than is listed.
    """
    file = _manifest_file(run_dir)
    content = read_listed(Path(run_dir), MANIFEST_FILE)
    assert content is not None
    return _parsed(content, file)


def read_any_manifest(run_dir: str | Path) -> Manifest:
    """The same, whatever `SHA256SUMS` says: to tell a run from other folders, and to say all that is wrong with it."""
    file = _manifest_file(run_dir)
    try:
        return _parsed(file.read_bytes(), file)
    except OSError as error:
        raise InputError(f"{str(file)!r} cannot be read ({error.strerror}). Restore it from a copy.") from None


def write_manifest(run_dir: str | Path, manifest: Manifest, digests: Mapping[str, str]) -> None:
    """Write the manifest, which makes a directory a finished run, after `SHA256SUMS`, which lists it.

    Args:
        run_dir: The run directory.
        manifest: Its manifest.
        digests: SHA-256 of every other file, by name relative to the run directory.
    """
    content = json_bytes(to_json(manifest))
    write_sums(Path(run_dir), {**digests, MANIFEST_FILE: hashlib.sha256(content).hexdigest()})
    write_atomic(Path(run_dir) / MANIFEST_FILE, content)


def _manifest_file(run_dir: str | Path) -> Path:
    file = Path(run_dir) / MANIFEST_FILE
    if not file.is_file():
        raise InputError(
            f"{str(run_dir)!r} is no run directory: it has no {MANIFEST_FILE}. Give the --out of a finished run."
        )
    return file


def _parsed(content: bytes, file: Path) -> Manifest:
    manifest = parse(Manifest, content, file, version=MANIFEST_FORMAT)
    if problem := _problem(manifest):
        raise InputError(f"{str(file)!r} is damaged: {problem}. Restore it from a copy.")
    return manifest


def costs_of(results: Results) -> tuple[dict[str, BeforeAfter], dict[str, BeforeAfter]]:
    """What a run's own results say before and after: accuracy by group of questions, nats per token by texts."""
    questions = {
        name: BeforeAfter(group.base.accuracy, group.result.accuracy)
        for name, group in results.questions.items()
        if group.base is not None
    }
    texts = {
        name: BeforeAfter(group.base.nll, group.result.nll)
        for name, group in results.texts.items()
        if group.base is not None
    }
    return questions, texts


def _problem(manifest: Manifest) -> str | None:
    """What `verify` relies on, beyond types."""
    parts = {
        "run_files": manifest.run_files, "result.files": manifest.result.files, "base.shards": manifest.base.shards,
        "changed": manifest.changed,
    }  # fmt: skip
    if empty := [name for name, part in parts.items() if not part]:
        return f"{empty[0]!r} is empty"
    try:
        _ = manifest.method, manifest.requirements, manifest.questions, manifest.sides
    except Mismatch as error:
        return str(error)
    return None
