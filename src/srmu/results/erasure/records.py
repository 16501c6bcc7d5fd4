"""What is written down about erasure requests: the record of each, and the entries of their log.

Nothing here holds a name of the person or a text: the subject is a keyed hash, texts are there by their SHA-256.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from srmu.config.groups import Side

RECORD_FORMAT = 1

Outcome = Literal["forgotten", "less likely", "not known before", "still known", "not measured"]
"""`forgotten`: of its questions no more are answered than by guessing, or than `at_most` allows. `less likely`: there
are no questions, and its texts lost likelihood. `not known before`: the original model did not know it either."""
PASSED: tuple[Outcome, ...] = ("forgotten", "less likely", "not known before")
"""Outcomes with which a request may be closed."""
Role = Literal["new", "again", "earlier"]
"""Of a request in a run: run for the first time, run again, or only checked."""


@dataclass(frozen=True)
class HashedFile:
    """A file of the user's.

    Attributes:
        path: Relative to the folder of requests, or absolute.
        sha256: Of its bytes, in hexadecimal.
    """

    path: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class ErasureRequest:
    """One request, as its YAML file says it.

    Attributes:
        format: Of the file.
        id: Name of the request and of its file.
        subject: Keyed hash of who asked, `hmac-sha256:` and 64 digits.
        ground: Legal ground, in the words of who is responsible.
        received: Date, as 2026-11-26.
        due: Date until which it must be answered.
        approved_by: Who approved it; empty = nobody yet, so that it waits.
        texts: What to forget.
        questions: Multiple-choice questions on it, asked of the original model and of the result.
        retain: Texts to keep beside it, as for `srmu unlearn --retain`; those of the settings are kept too.
        at_most: Accuracy that may remain; none = what guessing gives.
    """

    format: int = RECORD_FORMAT
    id: str
    subject: str
    ground: str
    received: str
    due: str
    approved_by: str = ""
    texts: tuple[HashedFile, ...]
    questions: HashedFile | None = None
    retain: tuple[str, ...] = ()
    at_most: float | None = None


@dataclass(frozen=True, kw_only=True)
class Received:
    """A request as it was when the log first saw it; fields as in `ErasureRequest`."""

    request: str
    subject: str
    ground: str
    received: str
    due: str
    approved_by: str = ""
    texts: tuple[str, ...] = ()
    questions: str | None = None
    record_sha256: str


@dataclass(frozen=True, kw_only=True)
class Began:
    """A run began.

    Attributes:
        run: Its name.
        base: What it began with: `original`, or the run before it.
        original: SHA-256 of the weight files of the original model, by name.
        roles: What the run does with each request, by its id.
        approvals: Who approved each request that it carries out.
        records: SHA-256 of the YAML file of each request.
        settings_sha256: Of the settings of all runs.
    """

    run: str
    base: str
    original: Mapping[str, str]
    roles: Mapping[str, Role]
    approvals: Mapping[str, str]
    records: Mapping[str, str]
    settings_sha256: str


@dataclass(frozen=True)
class Abandoned:
    """A run that was interrupted and cannot be continued."""

    run: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class QuestionCheck:
    """Questions on a request, answered by the original model and by the result.

    Attributes:
        n: Questions.
        before: Share that the original model answers right.
        after: Share that the result answers right.
        guessing_before: Probability that pure guessing gets at least as many right as the original model.
        guessing_after: The same of the result.
    """

    n: int
    before: float
    after: float
    guessing_before: float
    guessing_after: float


@dataclass(frozen=True, kw_only=True)
class TextCheck:
    """The texts of a request under both models.

    Attributes:
        tokens: Predicted tokens.
        before: Loss of the original model, nats per token.
        after: Loss of the result.
        stderr: Standard error of their difference, by document; none for a single one.
        recited_before: Share of a text that the original model writes by itself to its end; mean over texts.
        recited_after: The same of the result.
    """

    tokens: int
    before: float
    after: float
    stderr: float | None = None
    recited_before: float | None = None
    recited_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class RequestCheck:
    """One request on the result of a run.

    Attributes:
        request: Its id.
        role: What the run did with it.
        outcome: The verdict.
        at_most: Accuracy that may remain, where the request says so.
        questions: None where there are none.
        texts: None where they are not there any more.
        notes: What could not be measured, and why.
    """

    request: str
    role: Role
    outcome: Outcome
    at_most: float | None = None
    questions: QuestionCheck | None = None
    texts: TextCheck | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KeptCheck:
    """A group of questions about what must stay.

    Attributes:
        group: Its name.
        n: Questions.
        before: Accuracy of the original model.
        after: Of the result.
        stderr: Standard error of the difference, question by question.
        lost: Whether it must stay, and fell by more than chance explains.
        side: `kept`, or `reported` for what is only shown.
    """

    group: str
    n: int
    before: float
    after: float
    stderr: float | None = None
    lost: bool = False
    side: Side = "kept"


@dataclass(frozen=True)
class RequirementCheck:
    """One of the requirements in the settings, and what became of it; see `srmu gate`."""

    requirement: str
    status: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A run ended, and all requests so far were checked on its result.

    Attributes:
        run: Its name.
        manifest_sha256: Of its manifest, which holds the hashes of the result.
        method: The target.
        steps: Optimizer steps.
        seconds: Wall time of the whole run.
        checks: One for each request.
        kept: One for each group of questions about what must stay.
        audited: Facts of the shipped bank that the run's base knew; none = no audit.
        audit_kept: Share of them that the result still answers, over the base's.
        attacks: Names of the attacks that were made on the result.
        requirements: One for each requirement.
    """

    run: str
    manifest_sha256: str
    method: str
    steps: int
    seconds: float
    checks: tuple[RequestCheck, ...]
    kept: tuple[KeptCheck, ...] = ()
    audited: int | None = None
    audit_kept: float | None = None
    attacks: tuple[str, ...] = ()
    requirements: tuple[RequirementCheck, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every request and every requirement passed."""
        return all(check.outcome in PASSED for check in self.checks) and all(
            requirement.status == "pass" for requirement in self.requirements
        )


@dataclass(frozen=True)
class Written:
    """The page of a run was written: SHA-256 of each file by name."""

    run: str
    files: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A request was signed off.

    Attributes:
        request: Its id.
        by: Who signed.
        run: The last run that it was checked on.
        outcome: Of that check.
        note: What who signed has to say.
    """

    request: str
    by: str
    run: str
    outcome: Outcome
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the log: exactly one of the fields between `time` and `previous` is there.

    Attributes:
        number: From 1.
        time: In UTC.
        received: See `Received`.
        began: See `Began`.
        abandoned: See `Abandoned`.
        checked: See `Checked`.
        written: See `Written`.
        closed: See `Closed`.
        previous: Hash of the entry before; zeros for the first.
        hash: SHA-256 of this line without this key.
    """

    number: int
    time: str
    received: Received | None = None
    began: Began | None = None
    abandoned: Abandoned | None = None
    checked: Checked | None = None
    written: Written | None = None
    closed: Closed | None = None
    previous: str
    hash: str = field(default="")
