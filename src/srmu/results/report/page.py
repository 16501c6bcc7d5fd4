"""`results.json`, `manifest.json` and metrics -> one HTML page that needs no network and no script."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from srmu.errors import InputError
from srmu.results.audit_records import Audit
from srmu.results.compare import Comparison, Entry, Score, compare_runs, frontier, is_folder_of_runs
from srmu.results.compare_formats import arrow, measure_columns
from srmu.results.digests import is_finished, replace_listed
from srmu.results.records import Answer, read_results
from srmu.results.report import plots
from srmu.results.report.findings import findings
from srmu.results.report.numbers import number, with_error
from srmu.results.report.run_page import (
    Row,
    RunView,
    audit_rows,
    evaluated_rows,
    fluency_rows,
    question_rows,
    run_view,
    text_rows,
)
from srmu.results.run_files import REPORT_FILE
from srmu.results.schema import Mismatch, from_json
from srmu.runtime.escaping import visible
from srmu.runtime.files import locked_directory, write_atomic
from srmu.runtime.regular import read_regular

_TEMPLATE = "template.html.j2"
WORST_FIELDS = 8
"""Fields of knowledge in the picture of the audit."""


def write_report(
    paths: Sequence[str | Path], *, out: str | Path | None = None, answers: str | Path | None = None
) -> Path:
    """Write the page about one run, or about several runs on one base.

    Args:
        paths: Run directories, or folders of them.
        out: File to write; none = `report.html` in the directory, where there is one.
        answers: Sample answers from `srmu ask --json`; none are shown otherwise, for they may quote what was forgotten.

    Returns:
        The file written.

    Raises:
        InputError: Directories that are no runs or do not belong together, an answers file that cannot be read, or
            several runs without `out`.
    """
    if out is None and len(paths) != 1:
        raise InputError(f"{len(paths)} runs were given and no place for their page. Name a file with --out.")
    file = Path(out) if out is not None else Path(paths[0]) / REPORT_FILE
    page = render(paths, answers=answers)
    content = page.encode("utf-8", "backslashreplace")
    try:
        if file.name == REPORT_FILE and is_finished(file.parent):
            # One of the run's own files.
            with locked_directory(file.parent):
                replace_listed(file.parent, REPORT_FILE, content)
        else:
            write_atomic(file, content)
    except OSError as error:
        raise InputError(f"Report {str(file)!r} cannot be written ({error.strerror}). Choose another --out.") from None
    return file


def render(paths: Sequence[str | Path], *, answers: str | Path | None = None) -> str:
    """The page as text; arguments and errors as in `write_report`."""
    import jinja2

    single = len(paths) == 1 and not is_folder_of_runs(paths[0])
    view = _single(Path(paths[0])) if single else _comparison(compare_runs(paths))
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("srmu.results.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(_TEMPLATE).render(answers=_answers(answers), **vars(view)).lstrip()
    # Tags are escaped as they are put in; what turns the direction of writing is no tag.
    return visible(page)


@dataclass(frozen=True)
class TableView:
    """A table with what its mark means."""

    columns: list[str]
    rows: list[Row]
    mark: str


@dataclass(frozen=True)
class AuditView:
    """What was lost that nobody asked about: the whole, then every field of knowledge, worst first."""

    summary: list[Row]
    fields: list[Row]
    picture: plots.Figure


@dataclass(frozen=True)
class PageView:
    """Everything that the template shows, but sample answers."""

    title: str
    runs: list[RunView]
    findings: list[Markup]
    question_rows: list[Row]
    text_rows: list[Row]
    evaluated_rows: list[Row]
    audit: AuditView | None
    fluency_rows: list[Row]
    comparison: TableView | None
    overview: plots.Figure | None
    frontier: Markup | None


def _single(path: Path) -> PageView:
    """The page of one run, measured or not."""
    view, results = run_view(path, path.absolute().name), read_results(path)
    return PageView(
        title=f"What {view.name} forgot and kept",
        runs=[view],
        findings=findings(results),
        question_rows=question_rows(results),
        text_rows=text_rows(results),
        evaluated_rows=evaluated_rows(results),
        audit=None if results.audit is None else _audit(results.audit),
        fluency_rows=[] if results.fluency is None else fluency_rows(results.fluency),
        comparison=None,
        overview=_overview(compare_runs([path])) if results.measured else None,
        frontier=None,
    )


def _comparison(comparison: Comparison) -> PageView:
    """The page of several runs."""
    return PageView(
        title=f"{comparison.title}: what was forgotten, what was kept",
        runs=[run_view(run.path, run.name) for run in comparison.runs if run.path is not None],
        findings=[_run_sentence(run, comparison.base) for run in comparison.runs],
        question_rows=[],
        text_rows=[],
        evaluated_rows=[],
        audit=None,
        fluency_rows=[],
        comparison=TableView(
            ["run", *measure_columns(comparison), "time", "memory"], _rows(comparison), comparison.mark
        ),
        overview=_overview(comparison),
        frontier=_frontier(comparison) if len(comparison.runs) > 1 else None,
    )


def _run_sentence(run: Entry, base: Entry) -> Markup:
    parts = []
    for groups, before, words in (
        (run.questions, base.questions, "accuracy"),
        (run.texts, base.texts, "nats per token"),
    ):
        for group, score in groups.items():
            if groups is run.texts and run.questions:
                continue
            change = "beyond chance" if score.significant else "not shown to be beyond chance"
            parts.append(
                Markup("<em>{}</em> {} {} → {} ({})").format(
                    group, words, number(before[group].value), number(score.value), change
                )
            )
    return Markup("<strong>{}</strong>: {}.").format(run.name, Markup("; ").join(parts))


def _rows(comparison: Comparison) -> list[Row]:
    mark = Markup(' <span class="mark">*</span>')
    rows: list[Row] = []
    for entry in (comparison.base, *comparison.runs):
        scores = [*entry.questions.values(), *entry.texts.values(), *entry.evaluated.values()]
        cells = [with_error(score.value, score.stderr) + (mark if score.significant else "") for score in scores]
        rows.append([entry.name, *cells, number(entry.seconds, "seconds"), number(entry.peak_mb, "megabytes")])
    return rows


def _overview(comparison: Comparison) -> plots.Figure | None:
    """One row per group, one dot per model: accuracy of the questions; without questions, of the next token."""
    base = comparison.base
    groups = list(base.questions or base.texts)
    if not groups:
        return None
    values = []
    for entry in (base, *comparison.runs):
        scores = [(entry.questions if base.questions else entry.texts)[group] for group in groups]
        shown = [share for score in scores if (share := _share_right(score, asked=bool(base.questions))) is not None]
        if len(shown) < len(scores):
            return None
        name = "result" if entry is not base and len(comparison.runs) == 1 else entry.name
        errors = [score.stderr for score in scores]
        values.append(plots.Series(name, shown, range(len(groups)), errors))
    words = "share answered right" if base.questions else "share of next tokens predicted"
    picture = plots.dots(
        [arrow(group, comparison.side_of(group)) for group in groups],
        values,
        x_label=words,
        title="Before and after",
        description=f"The {words} in each group; the same numbers are in the table",
    )
    return plots.Figure(picture, [series.name for series in values])


def _share_right(score: Score, *, asked: bool) -> float | None:
    """Of questions their accuracy, of texts the share of next tokens that are the first choice."""
    return score.value if asked else score.top_accuracy


def _audit(audit: Audit) -> AuditView:
    """Tables of all that was audited, and a picture of its whole and of its worst fields."""
    shown = [*audit.summary, *audit.fields[:WORST_FIELDS]]
    names, places = [part.words for part in shown], range(len(shown))
    series = [
        plots.Series("base", [part.base for part in shown], places, [None] * len(shown)),
        plots.Series("result", [part.result for part in shown], places, [part.stderr for part in shown]),
    ]
    picture = plots.dots(
        names, series, x_label="share answered right", title="What nobody asked about",
        description="The whole, then the worst fields; the same numbers are in the tables",
    )  # fmt: skip
    return AuditView(
        summary=audit_rows(audit.summary),
        fields=audit_rows(audit.fields),
        picture=plots.Figure(picture, [one.name for one in series]),
    )


def _frontier(comparison: Comparison) -> Markup | None:
    points = {run.name: frontier(run, comparison) for run in comparison.runs}
    series = [plots.Series(name, [point[0]], [point[1]]) for name, point in points.items() if point is not None]
    if not series:
        return None
    return plots.scatter(
        [plots.Series("base", [1.0], [1.0]), *series],
        x_label="← still known of the forget side, share of the base",
        y_label="smallest kept utility",
        title="What forgetting cost",
        description="Up is kept, left is forgotten; the best place is the upper left",
    )


def _answers(file: str | Path | None) -> tuple[Answer, ...]:
    """Prompts with each model's answer, as `srmu ask --json` prints them."""
    if file is None:
        return ()
    try:
        loaded = json.loads(read_regular(file).decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"Answers {str(file)!r} cannot be read ({str(error)[:100]}). Give the output of srmu ask --json."
        ) from None
    try:
        answers: tuple[Answer, ...] = from_json(tuple[Answer, ...], loaded)
    except Mismatch as error:
        raise InputError(
            f"Answers {str(file)!r} hold no list of prompts with answers: {error}. Give the output of srmu ask --json."
        ) from None
    return answers
