"""`srmu questions`: questions made of the forget texts, for those who have none."""

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from srmu.cli.compute_flags import DEVICE_OR_ALL, DTYPE, MEMORY_GB, TRUST_REMOTE_CODE
from srmu.errors import InputError

if TYPE_CHECKING:
    from srmu.evaluation.made_questions import MadeItem, MadeQuestions

EPILOG = "Example: srmu questions ./my-model --forget secrets.txt --out forget-questions.jsonl"
PAGE = 10
NOTHING_KNOWN = 1


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("questions", epilog=EPILOG)
    def questions(
        model: str = typer.Argument(..., metavar="MODEL", help="The base: checkpoint directory or hub id."),
        forget: list[str] = typer.Option(..., "--forget", help="Texts to forget; may be repeated."),
        out: Path = typer.Option(..., "--out", help="File to write, .jsonl."),
        yes: bool = typer.Option(False, "--yes", help="Accept all; needed where there is no terminal."),
        limit: int = typer.Option(100, "--limit", help="Most facts; each is asked in two forms."),
        text_field: str = typer.Option(
            "auto",
            "--text-field",
            help="Field with the text in records, or a template: '{question} {answer}'; auto = recognised.",
        ),
        chat: bool = typer.Option(False, "--chat", help="Ask in the tokenizer's chat template."),
        seed: int = typer.Option(0, "--seed", help="Of what the base writes."),
        overwrite: bool = typer.Option(False, "--overwrite", help="Replace the file if it is there."),
        device: str = DEVICE_OR_ALL,
        dtype: str = DTYPE,
        memory_gb: str = MEMORY_GB,
        trust_remote_code: bool = TRUST_REMOTE_CODE,
        json_output: bool = typer.Option(False, "--json", help="Print the counts as JSON; needs --yes."),
    ) -> int:
        """Make four-choice questions of the forget texts, show each for approval, and keep what the model knows.

        Exit code 1 if it knows none: then there is nothing to forget that could be measured, and nothing is written.
        """
        from srmu.cli.console import TerminalReporter
        from srmu.config.settings import parse_memory
        from srmu.job.questions import check_questions_file, make_questions, save_questions

        if not yes and (json_output or not (sys.stdin.isatty() and sys.stdout.isatty())):
            raise InputError(
                "Each question is shown for approval, and there is no terminal to answer at. Add --yes to accept all, "
                "and read the file before you rely on it."
            )
        check_questions_file(out, overwrite=overwrite)
        made = make_questions(
            model, [Path(source) if not source.startswith("hub:") else source for source in forget],
            text_field=text_field, limit=limit, seed=seed, chat=chat, device=device, dtype=dtype,
            memory_gb=parse_memory(memory_gb), trust_remote_code=trust_remote_code, reporter=TerminalReporter(),
        )  # fmt: skip
        kept = list(made.known) if yes else approve(made.known)
        written = save_questions(kept, out) if kept else 0
        report(made, len(kept), written, out, shown=not yes, json_output=json_output)
        return 0 if kept else NOTHING_KNOWN


def report(made: "MadeQuestions", kept: int, written: int, out: Path, *, shown: bool, json_output: bool) -> None:
    """Say what was made and where it is; show the questions, unless that was done."""
    from srmu.cli.console import notes, output, print_json

    if json_output:
        counts = {
            "found": made.found, "made": len(made.items), "without_choices": made.without_choices,
            "known": len(made.known), "beyond_chance": made.beyond_chance, "kept": kept, "questions": written,
        }  # fmt: skip
        print_json(counts | {"out": str(out) if kept else None})
    else:
        if not shown:
            show(made.known)
        output.print(summary(made, kept))
        if kept:
            output.print(
                f"{written} questions, marked as machine-made, are in {out}. Measure with: srmu unlearn ... "
                f"--questions forget={out}",
                soft_wrap=True,
            )
    if not made.beyond_chance:
        notes.print(
            "The base does not know clearly more of this than one who guesses, so these questions cannot show that it "
            "forgot. srmu doctor says more of the texts.",
            soft_wrap=True,
        )


def summary(made: "MadeQuestions", kept: int) -> str:
    """The counts in one sentence."""
    from srmu.evaluation.made_questions import CHANCE

    limited = "" if made.found == len(made.items) + made.without_choices else f" of {made.found} that can be asked"
    left_out = f" ({made.without_choices} left out, for want of wrong answers)" if made.without_choices else ""
    return (
        f"{len(made.items)} facts{limited} were made into questions{left_out}; the base answers "
        f"{len(made.known)} right in both forms (by guessing {CHANCE * len(made.items):.0f} at most); {kept} were kept."
    )


def show(items: Sequence["MadeItem"], first: int = 1) -> None:
    """A row per fact: both ways of asking, the answer, the wrong choices."""
    from srmu.cli.console import output, table

    rows = []
    for number, item in enumerate(items, first):
        question = item.questions[0]
        right = question.choices[question.answer]
        wrong = ", ".join(choice for choice in question.choices if choice != right)
        asked = "\n".join(" ".join(one.prompt.split()) for one in item.questions)
        rows.append([str(number), asked, right, wrong])
    output.print(table("Machine-made questions", ["", "asked in two forms", "answer", "wrong"], rows, num_texts=4))


def approve(items: Sequence["MadeItem"]) -> list["MadeItem"]:
    """Show the items page by page, and leave out what the user names."""
    kept: list[MadeItem] = []
    for start in range(0, len(items), PAGE):
        page = items[start : start + PAGE]
        show(page, start + 1)
        while True:
            said = typer.prompt("Leave out (such as 3,7-9, or all; Enter keeps these)", default="", show_default=False)
            if (left := parse_numbers(said, start + 1, start + len(page))) is not None:
                break
            typer.echo(f"That is no list of numbers from {start + 1} to {start + len(page)}.", err=True)
        kept += [item for number, item in enumerate(page, start + 1) if number not in left]
    return kept


def parse_numbers(said: str, first: int, last: int) -> set[int] | None:
    """The numbers that `3,7-9` names, `all` or none; None where it names something else, or a number out of range."""
    if said.strip().lower() == "all":
        return set(range(first, last + 1))
    named: set[int] = set()
    for part in filter(None, re.split(r"[,\s]+", said.strip())):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part)
        if match is None:
            return None
        start, end = int(match.group(1)), int(match.group(2) or match.group(1))
        if not first <= start <= end <= last:
            return None
        named |= set(range(start, end + 1))
    return named
