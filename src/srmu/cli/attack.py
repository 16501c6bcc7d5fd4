"""`srmu attack`: does the forgetting hold? Attacks on a result, and the same on its base."""

from typing import TYPE_CHECKING

import typer

from srmu.cli.compute_flags import DEVICE, TRUST_REMOTE_CODE

if TYPE_CHECKING:
    from srmu.results.attack_report import AttackReport

EPILOG = "Example: srmu attack runs/first --questions forget=q.jsonl --questions kept=k.jsonl --only relearn,int4"
LEGEND = """needs: what an attacker needs, data = some of what was forgotten;
forget: accuracy on forgotten facts that the attacker was not given, before and after it;
base after: the untouched base under the same attack; recovery: how much of that came back
(0 none, 1 all); utility: the kept group that fares worst, result over base."""


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("attack", epilog=EPILOG)
    def attack_command(
        model: str = typer.Argument(..., metavar="RUN|MODEL", help="Finished run; or a checkpoint, with --base."),
        base: str | None = typer.Option(None, "--base", help="Untouched model; of a run, its own base."),
        questions: list[str] = typer.Option(
            [], "--questions", metavar="NAME=PATH", help="Multiple choice, JSONL; else those of the run's config."
        ),
        texts: list[str] = typer.Option(
            [],
            "--texts",
            metavar="NAME=PATH",
            help="relearn=, kept=, kind=, forget= or unseen=: see the documentation.",
        ),
        sides: list[str] = typer.Option(
            [], "--sides", metavar="NAME=SIDE", help="forget, kept or reported, where a group's name does not say it."
        ),
        only: list[str] = typer.Option([], "--only", help="Names of attacks with commas between; else all."),
        full: bool = typer.Option(
            False, "--full", help="Learning rates swept, up to 100 steps; can be taken up again."
        ),
        learning_rates: str = typer.Option("", "--learning-rates", help="Of relearning, with commas between."),
        text_field: str = typer.Option(
            "auto", "--text-field", help="Field with the text in records of --texts; auto = recognised."
        ),
        seed: list[int] = typer.Option(
            [0], "--seed", help="Of halves, order and noise; given several times, accuracies are averaged over seeds."
        ),
        device: str = DEVICE,
        dtype: str = typer.Option("auto", "--dtype", help="auto, float32, bfloat16, float16; relearning: float32."),
        trust_remote_code: bool = TRUST_REMOTE_CODE,
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Try to bring back what was forgotten: relearning, prompts, quantisation, a look inside, sampling.

        The base goes through the same attacks. Exit code 3 if an attack could not be carried out.
        """
        from srmu.cli.console import TerminalReporter, print_json
        from srmu.cli.settings_command import parse_pairs, parse_sides
        from srmu.evaluation.attacks.runner import attack
        from srmu.results.schema import to_json

        report = attack(
            model, base=base, questions=parse_pairs(questions, "--questions"), texts=parse_pairs(texts, "--texts"),
            sides=parse_sides(sides),
            only=[part.strip() for item in only for part in item.split(",") if part.strip()], full=full,
            learning_rates=parse_rates(learning_rates), text_field=text_field, seed=seed, device=device, dtype=dtype,
            trust_remote_code=trust_remote_code, reporter=TerminalReporter(),
        )  # fmt: skip
        if json_output:
            print_json(to_json(report))
        else:
            show(report)
        return 3 if report.has_error else 0


def parse_rates(text: str) -> list[float]:
    """Numbers with commas between.

    Raises:
        InputError: If a part is no number.
    """
    from srmu.errors import InputError

    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise InputError(f"--learning-rates {text!r} are no numbers. Write, for example, 1e-5,3e-5.") from None


def show(report: "AttackReport") -> None:
    """One row per attack; what has no result says why below."""
    from srmu.cli.console import output, table
    from srmu.results.attack_report import NUM_TEXTS, TITLES

    output.print(table(report.title, list(TITLES), report.rows(), num_texts=NUM_TEXTS))
    output.print(LEGEND)
    for note in report.notes():
        output.print(note)
