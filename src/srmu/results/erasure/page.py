"""The page to sign about one run of erasure requests, in words for auditors; made from the log alone.

What is on the page is in the log too: a page can be written again at any time, and says then what was signed since.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from srmu.results.erasure.log import Log, entries_of
from srmu.results.erasure.outcome import GUESSING, LEAST_RISE
from srmu.results.erasure.records import PASSED, Began, Checked, Entry, KeptCheck, Received, RequestCheck
from srmu.runtime.escaping import markdown, visible

SHORT = 12
"""Digits of a hash of a subject that are shown."""
_ROLES = {"new": "carried out", "again": "carried out again", "earlier": "checked again"}
NOT_PROMISED = (
    "That the knowledge has left the weights. What was measured is what the model answers when it is asked in the "
    "usual way. All layers behind the trained ones are those of the original model, byte by byte; fine-tuning, on "
    "other texts too, can bring some of it back.",
    "Anything about other places: the original model, other copies of it, backups, training data, search indexes, logs "
    "and caches were not touched. Who still has the original model still has what it knows.",
    "Answers to questions that were not asked: other languages, other wordings, free conversation.",
    "That this is erasure in the sense of a law. Whether it is enough is for those to say who answer for it.",
)
WHAT_LOG_SHOWS = (
    "Each entry of the log holds the hash of the one before, so that a changed byte is found. Against somebody who "
    "rewrites the log from a place to its end only a hash helps that was kept elsewhere: keep the one below."
)


@dataclass(frozen=True)
class Table:
    """A table of texts."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A part of the page: paragraphs, then tables, then points."""

    title: str
    paragraphs: tuple[str, ...] = ()
    tables: tuple[Table, ...] = ()
    points: tuple[str, ...] = ()


@dataclass(frozen=True)
class Page:
    """What is shown, as plain text; control characters are escapes."""

    title: str
    sections: tuple[Section, ...]


def make_page(log: Log, run: str) -> Page:
    """The page of a run that ended.

    Args:
        log: Verified.
        run: Name of the run.
    """
    began: Began = next(each for each in entries_of(log, "began") if each.run == run)
    at = next(entry for entry in log.entries if entry.checked and entry.checked.run == run)
    checked = at.checked
    assert checked is not None
    return _visible(
        Page(
            f"Erasure requests, {run}",
            (
                _summary(checked, at),
                _asked(log, began),
                _done(log, began, checked, at),
                _measured(checked),
                Section("What is not promised", points=(*NOT_PROMISED, _attacks(checked))),
                _signed(log, checked),
                _proof(log, at),
            ),
        )
    )


def to_html(page: Page) -> str:
    """The page as HTML that needs nothing from elsewhere."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("srmu.results.report", ""), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("erasure.html.j2").render(page=page).lstrip()


def to_markdown(page: Page) -> str:
    """The page as Markdown."""
    lines = [f"# {markdown(page.title)}"]
    for section in page.sections:
        lines += [f"## {markdown(section.title)}"] if section.title else []
        lines += [markdown(paragraph) for paragraph in section.paragraphs]
        for table in section.tables:
            rows = [table.head, ("---",) * len(table.head), *table.rows]
            cells = [" | ".join(cell if row[0] == "---" else markdown(cell) for cell in row) for row in rows]
            lines += [f"{markdown(table.caption)}:", "\n".join(f"| {row} |" for row in cells)]
        lines += ["\n".join(f"- {markdown(point)}" for point in section.points)] if section.points else []
    return "\n\n".join(lines) + "\n"


def _summary(checked: Checked, at: Entry) -> Section:
    carried = [check for check in checked.checks if check.role != "earlier"]
    passed = sum(check.outcome in PASSED for check in checked.checks)
    lost = [kept.group for kept in checked.kept if kept.lost]
    kept = (
        "No questions were asked about what must stay."
        if not checked.kept
        else f"Questions about what must stay were answered worse than chance explains in: {', '.join(lost)}."
        if lost
        else "No group of questions about what must stay was answered worse than chance explains."
    )
    return Section(
        "",
        (
            f"On {at.time}, {_count(len(carried), 'request')} to erase texts from a language model "
            f"{'was' if len(carried) == 1 else 'were'} carried out, and {_count(len(checked.checks), 'request')} in "
            f"all {'was' if len(checked.checks) == 1 else 'were'} checked on the result: {passed} passed, "
            f"{len(checked.checks) - passed} did not. {kept}",
        ),
    )


def _asked(log: Log, began: Began) -> Section:
    received: dict[str, Received] = {each.request: each for each in entries_of(log, "received")}
    rows = tuple(
        (
            name, received[name].subject.partition(":")[2][:SHORT], received[name].ground, received[name].received,
            received[name].due, began.approvals[name], " ".join(received[name].texts),
        )
        for name, role in began.roles.items()
        if role != "earlier"
    )  # fmt: skip
    head = ("request", "subject", "legal ground", "received", "due", "approved by", "texts to erase (SHA-256)")
    return Section(
        "What was asked",
        (
            "Who asked is shown by a keyed hash of the name (its first digits): who has the key can find the requests "
            "of a name, and nobody can read a name from a hash. Texts are shown by hashes of their files.",
        ),
        (Table("Requests that this run carried out", head, rows),),
    )


def _done(log: Log, began: Began, checked: Checked, at: Entry) -> Section:
    start = next(entry for entry in log.entries if entry.began is began)
    base = "the original model" if began.base == "original" else f"the result of {began.base}"
    return Section(
        "What was done",
        (
            f"The run {began.run} began at {start.time} with {base}, trained a few matrices of it by the method "
            f"{checked.method} for {checked.steps} steps, so that the texts to erase no longer lead the model to what "
            f"it knew of them, and wrote a new model. With all measurements it took {checked.seconds:,.0f} s and ended "
            f"at {at.time}. The new model is in the folder of the run; its manifest names every changed matrix, every "
            "setting and the hash of every file, and srmu verify checks them.",
        ),
        (
            Table(
                "Hashes (SHA-256)",
                ("what", "hash"),
                (
                    *((f"original model, {name}", digest) for name, digest in began.original.items()),
                    ("settings of the run", began.settings_sha256),
                    ("manifest of the result", checked.manifest_sha256),
                ),
            ),
        ),
    )


def _measured(checked: Checked) -> Section:
    head = (
        "request", "in this run", "outcome", "questions", "right before", "right after",
        "guessing gets as many", "loss before", "loss after", "recited before", "recited after", "remarks",
    )  # fmt: skip
    tables = [Table("Each request, original model and result", head, tuple(map(_row, checked.checks)))]
    if checked.kept:
        kept_head = ("group", "questions", "right before", "right after", "standard error of the change", "verdict")
        tables.append(Table("What must stay", kept_head, tuple(map(_kept_row, checked.kept))))
    if checked.requirements:
        rows = tuple((each.requirement, each.status, each.detail) for each in checked.requirements)
        tables.append(Table("Requirements that were set before", ("requirement", "status", "detail"), rows))
    audit: tuple[str, ...] = ()
    if checked.audited and checked.audit_kept is not None:
        audit = (
            f"Of {checked.audited:,} facts of general knowledge that this run's own base answered, the result keeps "
            f"{_share(checked.audit_kept)}.",
        )
    return Section(
        "What was measured",
        (
            "Right before and right after are shares of right answers to multiple-choice questions, by the original "
            "model and by the result. A request counts as forgotten if pure guessing would get at least as many right "
            f"with a probability of {GUESSING:g} or more (or, where the request sets one, if no more than its share is "
            "right); it was not known before if that is so of the original model too. Few questions show little: with "
            "four, guessing gets three right about once in twenty times.",
            "Loss is that of the texts themselves, in nats per token: higher is less likely. A request without "
            "questions counts as less likely if the loss rose by more than chance explains, or, for a single document, "
            f"by at least {LEAST_RISE:g}; what the model would answer is then not known. Recited is the share of a "
            "text that the model writes to its end by itself.",
            *audit,
        ),
        tuple(tables),
    )


def _row(check: RequestCheck) -> tuple[str, ...]:
    questions, texts = check.questions, check.texts
    answered = ("0", "", "", "") if questions is None else (
        str(questions.n), _share(questions.before), _share(questions.after), _share(questions.guessing_after)
    )  # fmt: skip
    losses = ("", "", "", "") if texts is None else (
        f"{texts.before:.2f}", f"{texts.after:.2f}", _share(texts.recited_before), _share(texts.recited_after)
    )  # fmt: skip
    limit = () if check.at_most is None else (f"at most {_share(check.at_most)} may be right",)
    return (check.request, _ROLES[check.role], check.outcome, *answered, *losses, "; ".join([*limit, *check.notes]))


def _kept_row(kept: KeptCheck) -> tuple[str, ...]:
    verdict = "only reported" if kept.side == "reported" else "lost" if kept.lost else "kept"
    stderr = "" if kept.stderr is None else _share(kept.stderr)
    return (kept.group, str(kept.n), _share(kept.before), _share(kept.after), stderr, verdict)


def _attacks(checked: Checked) -> str:
    if checked.attacks:
        return f"That it holds against other attacks than those that were made on it: {', '.join(checked.attacks)}."
    return "That it holds against attacks: none was made (srmu attack)."


def _signed(log: Log, checked: Checked) -> Section:
    signed = {entry.closed.request: entry for entry in log.entries if entry.closed}
    rows = []
    for check in checked.checks:
        entry = signed.get(check.request)
        if entry is None or entry.closed is None:
            rows.append((check.request, check.outcome, "not yet", "", "", ""))
        else:
            closed = entry.closed
            rows.append((check.request, check.outcome, closed.by, entry.time, closed.run, closed.note))
    head = ("request", "outcome in this run", "signed by", "at", "on the check of", "note")
    return Section("Signed off", tables=(Table("Who answers for which request", head, tuple(rows)),))


def _proof(log: Log, at: Entry) -> Section:
    return Section(
        "How this page can be checked",
        (
            f"It was made from the log of the requests up to entry {log.entries[-1].number}; the measurements are "
            f"entry {at.number}. The next entry of the log holds the hash of this page.",
            "srmu request status FOLDER --contains HASH verifies log, records, pages and results, and that the log "
            "still holds the entry below.",
            WHAT_LOG_SHOWS,
        ),
        (Table("Log", ("entry", "hash"), ((str(log.entries[-1].number), log.head),)),),
    )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _visible(page: Page) -> Page:
    """The same with what a reader's program would obey as escapes."""

    def texts(values: Sequence[str]) -> tuple[str, ...]:
        return tuple(visible(value) for value in values)

    sections = tuple(
        Section(
            section.title,
            texts(section.paragraphs),
            tuple(Table(each.caption, each.head, tuple(map(texts, each.rows))) for each in section.tables),
            texts(section.points),
        )
        for section in page.sections
    )
    return Page(page.title, sections)
