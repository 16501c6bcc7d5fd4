"""`srmu attack`: does the forgetting hold? Attacks on a result, and the same on its base."""

from typing import Any

import typer

EPILOG = "Example: srmu attack runs/first --questions forget=q.jsonl --questions kept=k.jsonl --only relearn,int4"
LEGEND = """forget: accuracy on forgotten facts that the attack does not tell, before and after it;
base after: the untouched base under the same attack; recovery: how much of that came back
(0 none, 1 all); utility: the kept group that fares worst, result over base, before and after."""
_KEYS = ("forget_before", "forget_after", "base_after", "recovery", "utility", "utility_after")


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
            [], "--texts", metavar="NAME=PATH", help="relearn=, kept=, forget= or unseen=: see the documentation."
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
        device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, ..."),
        dtype: str = typer.Option("auto", "--dtype", help="auto, float32, bfloat16, float16; relearning: float32."),
        trust_remote_code: bool = typer.Option(False, "--trust-remote-code", help="Run code of the checkpoint."),
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Try to bring back what was forgotten: relearning, prompts, quantisation, a look inside, sampling.

        The base goes through the same attacks. Exit code 3 if an attack could not be carried out.
        """
        from srmu.cli.console import TerminalReporter, print_json
        from srmu.cli.unlearn import parse_pairs
        from srmu.evaluation.attacks.runner import attack, has_error

        record = attack(
            model, base=base, questions=parse_pairs(questions, "--questions"), texts=parse_pairs(texts, "--texts"),
            only=[part.strip() for item in only for part in item.split(",") if part.strip()], full=full,
            learning_rates=parse_rates(learning_rates), text_field=text_field, seed=seed, device=device, dtype=dtype,
            trust_remote_code=trust_remote_code, reporter=TerminalReporter(),
        )  # fmt: skip
        if json_output:
            print_json(record)
        else:
            show(record)
        return 3 if has_error(record) else 0


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


def show(record: dict[str, Any]) -> None:
    """One row an attack; what has no result says why below."""
    from srmu.cli.console import output, table

    columns = [
        "attack",
        "status",
        "forget before",
        "forget after",
        "base after",
        "recovery",
        "utility before",
        "utility after",
    ]
    rows = [
        [name.replace("_", " "), entry["status"], *(_number(entry.get(key)) for key in _KEYS)]
        for name, entry in record["attacks"].items()
    ]
    seeds = record["seed"]
    shown = f"seeds {', '.join(map(str, seeds))}" if isinstance(seeds, list) else f"seed {seeds}"
    output.print(table(f"Attacks, {record['budget']} budget, {shown}", columns, rows, num_texts=2))
    output.print(LEGEND)
    for name, entry in record["attacks"].items():
        if found := entry.get("recovery_by_seed"):
            by_seed = ", ".join(_number(value) or "none" for value in found.values())
            output.print(f"{name.replace('_', ' ')}: recovery by seed {by_seed}")
        if entry["detail"]:
            output.print(f"{name.replace('_', ' ')}: {entry['detail']}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
