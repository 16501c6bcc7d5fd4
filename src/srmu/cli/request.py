"""`srmu request`: erasure requests, from their receipt to the signature."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from srmu.job.erasure.run import RequestRun
    from srmu.job.erasure.status import FolderStatus, RequestLine

EPILOG = "Example: srmu request run erasures"
FOLDER: Any = typer.Argument(..., metavar="FOLDER", help="Folder of erasure requests.")
JSON: Any = typer.Option(False, "--json", help="Print as JSON.")


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode="rich", epilog=EPILOG)
    app.add_typer(group, name="request", help="Answer erasure requests: new, run, status, close.", epilog=EPILOG)
    _register_new(group)
    _register_run(group)
    _register_status(group)
    _register_close(group)


def _register_new(app: typer.Typer) -> None:
    @app.command(
        "new", epilog="Example: srmu request new erasures --subject - --texts jane.txt --ground 'GDPR Art. 17(1)(b)'"
    )
    def new(
        folder: Path = FOLDER,
        subject: str = typer.Option(
            ..., "--subject", help="Who asks; only a keyed hash is stored. '-' = read it here."
        ),
        texts: list[str] = typer.Option(..., "--texts", metavar="FILE", help="Texts to forget; repeatable."),
        ground: str = typer.Option(..., "--ground", help="Legal ground."),
        id_: str | None = typer.Option(None, "--id", help="Name of the request; none = year and number."),
        received: str | None = typer.Option(None, "--received", metavar="DATE", help="As 2026-11-26; none = today."),
        due: str | None = typer.Option(None, "--due", metavar="DATE", help="None = a month after it was received."),
        approved_by: str = typer.Option(
            "", "--approved-by", metavar="NAME", help="Who approved it; without, it waits."
        ),
        questions: str | None = typer.Option(None, "--questions", metavar="FILE", help="Questions on what must go."),
        retain: list[str] = typer.Option([], "--retain", help="Texts to keep beside it, as for srmu unlearn."),
        at_most: float | None = typer.Option(
            None, "--at-most", metavar="SHARE", help="Of right answers that may remain; none = what guessing gives."
        ),
        copy: bool = typer.Option(
            False, "--copy", help="Copy the files into the folder, under names that say nothing."
        ),
        json_output: bool = JSON,
    ) -> int:
        """Write down a request: who (as a hash), on what ground, until when, which texts (by hash)."""
        from srmu.cli.console import notes, output, print_json
        from srmu.job.erasure.new import new_request
        from srmu.results.schema import to_json

        if subject == "-":
            subject = _read_subject()
        made = new_request(
            folder, subject=subject, texts=texts, ground=ground, id=id_, received=received, due=due,
            approved_by=approved_by, questions=questions, retain=retain, at_most=at_most, copy=copy,
        )  # fmt: skip
        if json_output:
            print_json(to_json(made.request) | {"file": str(made.file), "same_subject": list(made.same_subject)})
            return 0
        output.print(str(made.file), soft_wrap=True)
        if made.same_subject:
            notes.print(f"The same subject asked before: {', '.join(made.same_subject)}.", soft_wrap=True)
        if not made.request.approved_by:
            notes.print("It waits for approval: write 'approved_by' in that file.", soft_wrap=True)
        return 0


def _read_subject() -> str:
    """Who asks, from the terminal or a pipe, so that no shell keeps the name in its history."""
    import sys

    if sys.stdin.isatty():
        return str(typer.prompt("Subject", hide_input=True, err=True))
    return sys.stdin.readline()


def _register_run(app: typer.Typer) -> None:
    @app.command("run", epilog=EPILOG)
    def run(
        folder: Path = FOLDER,
        again: bool = typer.Option(False, "--again", help="Carry out again requests whose last check failed."),
        from_base: bool = typer.Option(
            False, "--from-base", help="Carry out all requests, the earlier ones too, on the original model."
        ),
        json_output: bool = JSON,
    ) -> int:
        """Carry out all requests that wait, check all earlier ones on the result, and write the page to sign.

        Exit code 1 if a request or a requirement of the settings failed its check.
        """
        from srmu.cli.console import TerminalReporter, notes, print_json
        from srmu.errors import Interrupted
        from srmu.job.erasure.run import run_requests
        from srmu.results.schema import to_json

        try:
            done = run_requests(folder, again=again, from_base=from_base, reporter=TerminalReporter())
        except Interrupted as interruption:
            notes.print(str(interruption), soft_wrap=True)
            return interruption.exit_code
        if json_output:
            print_json(
                to_json(done.checked)
                | {"passed": done.checked.passed, "run_dir": str(done.run_dir), "pages": list(map(str, done.pages))}
                | {"head": done.head, "waiting": list(done.waiting)}
            )
        else:
            show_run(done)
        return 0 if done.checked.passed else 1


def _register_status(app: typer.Typer) -> None:
    @app.command("status", epilog="Example: srmu request status erasures")
    def status(
        folder: Path = FOLDER,
        contains: str | None = typer.Option(
            None, "--contains", metavar="HASH", help="A hash of the log that was kept elsewhere, or its first digits."
        ),
        json_output: bool = JSON,
    ) -> int:
        """Show where every request stands, and verify log, records, pages and results. Exit code 1 if one changed."""
        from srmu.cli.console import print_json
        from srmu.job.erasure.status import request_status
        from srmu.results.schema import to_json

        found = request_status(folder, contains=contains)
        if json_output:
            print_json(to_json(found) | {"late": found.late})
        else:
            show_status(found)
        return 1 if found.problems else 0


def _register_close(app: typer.Typer) -> None:
    @app.command("close", epilog="Example: srmu request close erasures 2026-001 --by 'J. Doe, data protection officer'")
    def close(
        folder: Path = FOLDER,
        ids: list[str] = typer.Argument(..., metavar="ID...", help="Requests that were carried out."),
        by: str = typer.Option(..., "--by", metavar="NAME", help="Who signs."),
        note: str = typer.Option("", "--note", help="What who signs has to say."),
        anyway: bool = typer.Option(False, "--anyway", help="Sign although the last check failed; needs --note."),
        json_output: bool = JSON,
    ) -> int:
        """Sign requests off: who, when, on which check; their page then says so."""
        from srmu.cli.console import output, print_json
        from srmu.job.erasure.close import close_requests
        from srmu.results.schema import to_json

        done = close_requests(folder, ids, by=by, note=note, anyway=anyway)
        if json_output:
            print_json({"closed": to_json(done.closed), "pages": list(map(str, done.pages)), "head": done.head})
            return 0
        for record in done.closed:
            output.print(f"{record.request}: closed by {record.by} on the check of {record.run} ({record.outcome})")
        _show_places(done.pages, done.head)
        return 0


def show_run(done: "RequestRun") -> None:
    """Each request with its verdict, what must stay, and where the page is."""
    from srmu.cli.console import notes, output, show_number, table

    rows = []
    for check in done.checked.checks:
        asked = check.questions
        rows.append(
            [
                check.request, check.role, _verdict(check.outcome), "" if asked is None else str(asked.n),
                show_number(asked.before if asked else None), show_number(asked.after if asked else None),
                show_number(check.texts.before if check.texts else None),
                show_number(check.texts.after if check.texts else None),
            ]
        )  # fmt: skip
    columns = ["request", "", "outcome", "n", "right before", "right after", "loss before", "loss after"]
    output.print(table(f"Requests on the result of {done.checked.run}", columns, rows, num_texts=3))
    if done.checked.kept:
        kept = [
            [
                each.group,
                "lost" if each.lost else each.side,
                str(each.n),
                show_number(each.before),
                show_number(each.after),
            ]
            for each in done.checked.kept
        ]
        output.print(table("What must stay", ["group", "", "n", "right before", "right after"], kept, num_texts=2))
    for requirement in done.checked.requirements:
        output.print(f"{requirement.requirement}: {requirement.status} ({requirement.detail})")
    if done.waiting:
        notes.print(f"Waiting for approval: {', '.join(done.waiting)}.", soft_wrap=True)
    _show_places(done.pages, done.head)


def show_status(found: "FolderStatus") -> None:
    """The table, and what the verification found."""
    from srmu.cli.console import notes, output, table

    rows = [
        [line.id, line.received, line.due, _days(line), line.state, _last_check(line), line.closed_by or ""]
        for line in found.requests
    ]
    columns = ["request", "received", "due", "", "state", "last check", "signed by"]
    output.print(table("Erasure requests", columns, rows, num_texts=7))
    if found.unfinished:
        notes.print(f"{found.unfinished} was interrupted; srmu request run continues it.", soft_wrap=True)
    for problem in found.problems:
        notes.print(f"NOT AS IT WAS WRITTEN: {problem}", style="red", soft_wrap=True)
    verdict = "verified" if not found.problems else f"{len(found.problems)} places are not as they were written"
    output.print(f"log: {found.entries} entries, {verdict}; last hash {found.head}", soft_wrap=True)


def _verdict(outcome: str) -> Any:
    from rich.text import Text

    from srmu.results.erasure.records import PASSED

    return Text(outcome, "green" if outcome in PASSED else "red")


def _last_check(line: "RequestLine") -> str:
    if line.outcome is None:
        return ""
    return f"{line.outcome} ({line.run})" + (", came back" if line.came_back else "")


def _days(line: "RequestLine") -> Any:
    """Days until it is due; of a closed one, whether it was late."""
    from rich.text import Text

    days = abs(line.days_left)
    words = f"{days} day{'' if days == 1 else 's'}"
    if line.state == "closed":
        return Text("in time" if line.days_left >= 0 else f"{words} late")
    return Text(f"{words} left") if line.days_left >= 0 else Text(f"{words} late", "red")


def _show_places(pages: Any, head: str) -> None:
    from srmu.cli.console import notes, output

    for page in pages:
        output.print(str(page), soft_wrap=True)
    notes.print(f"Keep this hash of the log elsewhere: {head}", soft_wrap=True)
