"""A folder of erasure requests: where its parts lie, and its YAML files, which anybody may have written.

settings.yaml     what every run is made with: the model, texts to keep, questions, any setting of `srmu unlearn`
requests/ID.yaml  one request
texts/            copies of texts, where `--copy` asked for them
runs/run-001/     a run directory of each run
pages/run-001.md  the page of each run to sign, and the same as HTML
log.jsonl         what happened, each line with the hash of the one before
salt              the key of the hashes of subjects, for its owner's eyes
"""

import datetime
import hashlib
import hmac
import math
import os
import re
import secrets
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from srmu.errors import InputError
from srmu.results.erasure.records import RECORD_FORMAT, ErasureRequest, HashedFile
from srmu.results.schema import Mismatch, from_json, to_json
from srmu.runtime.files import file_sha256, readable_errors, write_atomic

SUBJECT = "hmac-sha256:"
"""What the hash of a subject begins with."""
LONGEST_RECORD = 1 << 16
"""Bytes of a request's YAML file."""
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_SUBJECT = re.compile(SUBJECT + r"[0-9a-f]{64}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LONGEST_WORDS = 500
_SALT_BYTES = 32
_DEEPEST = 8
SETTINGS = """\
# What every run of this folder is made with. Paths are relative to this file.
model:            # checkpoint directory or hub id: the original model
retain: []        # texts to keep, as for srmu unlearn --retain; none = what the model writes, and general paragraphs
questions: {}     # NAME: FILE of questions about what must stay
# require: ["kept>=0.95*base"]   # what must hold of the results, see srmu gate
# Any other setting of srmu unlearn may follow.
"""


class Folder:
    """The places of a folder of requests."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.settings = self.path / "settings.yaml"
        self.records = self.path / "requests"
        self.texts = self.path / "texts"
        self.runs = self.path / "runs"
        self.pages = self.path / "pages"
        self.log = self.path / "log.jsonl"
        self.salt = self.path / "salt"
        self.lock = self.path / ".running"

    def make(self) -> None:
        """Make the folder, with settings to be filled in; what is there stays.

        Raises:
            InputError: It cannot be made, or is something else.
        """
        if self.path.is_dir() and not self.records.is_dir() and any(self.path.iterdir()):
            raise InputError(
                f"{str(self.path)!r} holds something other than erasure requests. Name a new folder, or an empty one."
            )
        with readable_errors(self.path):
            self.records.mkdir(parents=True, exist_ok=True)
            if not self.settings.exists():
                write_atomic(self.settings, SETTINGS.encode())

    def check(self) -> None:
        """Refuse what is no folder of requests.

        Raises:
            InputError: It is none.
        """
        if not self.records.is_dir():
            raise InputError(
                f"{str(self.path)!r} is no folder of erasure requests: it has no folder 'requests'. Make one with "
                f"srmu request new {str(self.path)!r}."
            )

    def resolve(self, path: str) -> Path:
        """A path of a record."""
        return self.path / Path(path).expanduser()

    def relative(self, path: Path) -> str:
        """How a record names a file: relative if it lies in the folder, else whole."""
        absolute, home = path.absolute(), self.path.absolute()
        return str(absolute.relative_to(home)) if absolute.is_relative_to(home) else str(absolute)

    def hashed(self, path: Path) -> HashedFile:
        """A file as a record names it."""
        return HashedFile(self.relative(path), file_sha256(path))

    def subject(self, name: str) -> str:
        """The keyed hash of a subject: HMAC-SHA-256 of the name, apart from case, spacing and Unicode form.

        The key is made once for a folder. Who does not have it cannot try names; where it is destroyed, nobody can any
        more.
        """
        if not name.strip():
            raise InputError("The subject is empty. Give a name, or what else identifies who asks.")
        text = " ".join(unicodedata.normalize("NFKC", name).casefold().split())
        return SUBJECT + hmac.new(self._key(), text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()

    def _key(self) -> bytes:
        if not self.salt.exists():
            write_atomic(self.salt, secrets.token_hex(_SALT_BYTES).encode(), private=True)
        try:
            key = bytes.fromhex(self.salt.read_text(encoding="ascii"))
        except (OSError, ValueError):
            key = b""
        if len(key) != _SALT_BYTES:
            raise InputError(
                f"The key {str(self.salt)!r} is damaged: subjects could not be compared with earlier ones. Restore it."
            )
        return key


def read_requests(folder: Folder) -> dict[str, ErasureRequest]:
    """All requests of a folder by id, in the order of their names.

    Raises:
        InputError: One of the files is no request; all that is wrong with it is named.
    """
    requests = {}
    for file in sorted(folder.records.iterdir()):
        if file.name.startswith("."):
            continue
        if file.suffix != ".yaml" or not file.is_file():
            raise InputError(f"{str(file)!r} is no request: their files end in '.yaml'. Rename it or move it away.")
        requests[file.stem] = read_request(file)
    return requests


def read_request(file: Path) -> ErasureRequest:
    """Read one request.

    Raises:
        InputError: It is not readable, or says something that no request may; all problems are named.
    """
    content = _read_yaml(file)
    try:
        request: ErasureRequest = from_json(ErasureRequest, content)
    except Mismatch as error:
        raise _wrong(file, str(error)) from None
    if problems := _problems(request, file.stem):
        raise _wrong(file, "; ".join(problems))
    return request


def check_new(folder: Folder, request: ErasureRequest) -> None:
    """Refuse a new request that says something that no request may.

    Raises:
        InputError: Naming all that is wrong, or that there is one with this id.
    """
    if problems := _problems(request, request.id):
        raise InputError(f"The request cannot be made: {'; '.join(problems)}.")
    if _file_of(folder, request.id).exists():
        raise InputError(f"There is a request {request.id!r} already. Choose another --id.")


def write_request(folder: Folder, request: ErasureRequest) -> Path:
    """Write a new request, which was checked; returns its file."""
    import yaml

    file = _file_of(folder, request.id)
    content = yaml.safe_dump(to_json(request), sort_keys=False, allow_unicode=True, width=120)
    write_atomic(file, content.encode("utf-8", "surrogatepass"))
    return file


def checked_files(folder: Folder, request: ErasureRequest) -> dict[str, str]:
    """What became of the request's files: path -> a sentence, for those that are gone or changed."""
    problems = {}
    for each in (*request.texts, *([request.questions] if request.questions else [])):
        path = folder.resolve(each.path)
        if not path.is_file():
            problems[each.path] = f"{each.path!r} is not there any more"
        elif file_sha256(path) != each.sha256:
            problems[each.path] = f"{each.path!r} changed after the request was made (its SHA-256 is another)"
    return problems


def parse_date(text: str, what: str) -> datetime.date:
    """A date as 2026-11-26.

    Raises:
        InputError: It is none.
    """
    try:
        if len(text) != len("2026-11-26"):
            raise ValueError
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{what} {text[:60]!r} is no date. Write it as 2026-11-26.") from None


def _file_of(folder: Folder, name: str) -> Path:
    return folder.records / f"{name}.yaml"


def _read_yaml(file: Path) -> Any:
    """The content of a small YAML file as JSON values, without what YAML allows and a record does not need."""
    import yaml

    try:
        with file.open("rb") as opened:
            content = opened.read(LONGEST_RECORD + 1)
        if len(content) > LONGEST_RECORD:
            raise _wrong(file, f"it is longer than {LONGEST_RECORD >> 10} KiB")
        text = content.decode("utf-8-sig")
        _refuse_bombs(file, text)
        if twice := _repeated_key(yaml.compose(text, Loader=yaml.SafeLoader)):
            raise _wrong(file, f"the key {twice[:60]!r} is there twice")
        return _plain(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _wrong(file, f"it is not readable YAML ({' '.join(str(error).split())[:200]})") from None
    except OSError as error:
        raise InputError(f"The request {str(file)!r} cannot be read: {error.strerror}.") from None


def _refuse_bombs(file: Path, text: str) -> None:
    """Refuse what takes the reader of a few lines more memory or time than there is: aliases, and deep nesting."""
    import yaml

    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise _wrong(file, "it has an alias (*name), which a request does not need")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            raise _wrong(file, f"it is nested deeper than {_DEEPEST} levels")


def _repeated_key(node: Any) -> str:
    """A key that a mapping has twice, of which YAML would take the last without a word; empty if there is none."""
    children = []
    if node is not None and node.id == "mapping":
        keys = [str(key.value) for key, _ in node.value]
        if twice := [key for key in keys if keys.count(key) > 1]:
            return twice[0]
        children = [value for _, value in node.value]
    elif node is not None and node.id == "sequence":
        children = node.value
    return next((found for child in children if (found := _repeated_key(child))), "")


def _plain(value: Any) -> Any:
    """Dates as texts, keys as texts."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, (datetime.date, datetime.datetime)):
        return value.isoformat()
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    return type(value).__name__


def _problems(request: ErasureRequest, name: str) -> list[str]:
    """What is wrong with a request beyond its types."""
    problems = []
    if request.format != RECORD_FORMAT:
        problems.append(f"format {request.format!r} is not {RECORD_FORMAT}")
    if not _ID.fullmatch(request.id):
        problems.append(f"id {request.id[:70]!r} has other characters than letters, digits, '-' and '_', or over 64")
    elif request.id != name:
        problems.append(f"id {request.id!r} is not the name of its file, {name!r}")
    if not _SUBJECT.fullmatch(request.subject):
        problems.append(f"subject is no hash; write no name there: srmu request new makes {SUBJECT}... of it")
    dates = []
    for what in ("received", "due"):
        try:
            dates.append(parse_date(getattr(request, what), what))
        except InputError as error:
            problems.append(str(error).rstrip("."))
    if len(dates) == len(("received", "due")) and dates[1] < dates[0]:
        problems.append(f"it was due ({request.due}) before it was received ({request.received})")
    if not request.ground.strip():
        problems.append("ground is empty; say on what legal ground")
    problems += [
        f"{what} is longer than {_LONGEST_WORDS} characters"
        for what in ("ground", "approved_by")
        if len(getattr(request, what)) > _LONGEST_WORDS
    ]
    if not request.texts:
        problems.append("texts is empty; name what to forget")
    files = (*request.texts, *([request.questions] if request.questions else []))
    problems += [
        f"sha256 of {each.path[:100]!r} is not 64 digits of 0-9 and a-f"
        for each in files
        if not _SHA256.fullmatch(each.sha256)
    ]
    if request.at_most is not None and not (0 <= request.at_most < 1 and math.isfinite(request.at_most)):
        problems.append(f"at_most is {request.at_most!r}; give a share from 0 up to but without 1")
    return problems


def _wrong(file: Path, problem: str) -> InputError:
    return InputError(f"The request {os.fspath(file)!r} is not right: {problem}. Correct it.")
