"""`srmu export`: a finished run in other forms."""

from typing import TYPE_CHECKING, Literal

import typer

from srmu.cli.compute_flags import DEVICE, DTYPE, TRUST_REMOTE_CODE

if TYPE_CHECKING:
    from srmu.job.export import AdapterExport

EPILOG = "Example: srmu export runs/first --as lora --out first-lora --questions forget=q.jsonl,kept=k.jsonl"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("export", epilog=EPILOG)
    def export_command(
        run: str = typer.Argument(..., metavar="RUN", help="A finished run directory."),
        form: str = typer.Option(..., "--as", metavar="FORM", help="lora, delta, gguf or hub."),
        out: str = typer.Option(..., "--out", help="Directory (lora), file (delta, gguf) or repository (hub) to make."),
        rank: str = typer.Option("auto", "--rank", help="Of lora; auto = the smallest that gives the same answers."),
        questions: list[str] = typer.Option([], "--questions", metavar="NAME=PATH", help="To choose the rank by."),
        base: str | None = typer.Option(None, "--base", help="The base, where it is not at its recorded place."),
        outtype: str = typer.Option("auto", "--outtype", help="Of gguf, as llama.cpp's converter names it."),
        public: bool = typer.Option(False, "--public", help="Of hub: a repository that everybody can read."),
        device: str = DEVICE,
        dtype: str = DTYPE,
        trust_remote_code: bool = TRUST_REMOTE_CODE,
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Give a result away: as a LoRA adapter for PEFT, as its changed tensors, as GGUF, or on the hub."""
        from srmu.cli.console import TerminalReporter, output, print_json
        from srmu.cli.settings_command import parse_pairs
        from srmu.errors import InputError, nearest_hint
        from srmu.inputs.questions import read_questions
        from srmu.job import export

        forms = ("lora", "delta", "gguf", "hub")
        if form not in forms:
            raise InputError(f"--as {form!r} is unknown.{nearest_hint(form, forms)} Choose one of {', '.join(forms)}.")
        if form == "lora":
            asked = {name: read_questions(path) for name, path in parse_pairs(questions, "--questions").items()}
            made = export.export_adapter(
                run, out, base=base, rank=_rank(rank), questions=asked, device=device, dtype=dtype,
                trust_remote_code=trust_remote_code, reporter=TerminalReporter(),
            )  # fmt: skip
            _show_adapter(made, json_output=json_output)
            return 0
        if form == "delta":
            place = str(export.export_delta(run, out))
        elif form == "gguf":
            place = str(export.export_gguf(run, out, outtype=outtype))
        else:
            place = export.export_hub(run, out, private=not public)
        if json_output:
            print_json({"form": form, "out": place})
        else:
            output.print(f"{form}: {place}", soft_wrap=True)
        return 0


def _rank(text: str) -> int | Literal["auto"]:
    from srmu.errors import InputError

    if text == "auto":
        return "auto"
    if not text.isdecimal():
        raise InputError(f"--rank {text!r} is no whole number. Give one above 0, or auto.")
    return int(text)


def _show_adapter(made: "AdapterExport", *, json_output: bool) -> None:
    from srmu.cli.console import output, print_json, table
    from srmu.results.schema import to_json

    if json_output:
        scores = {"chosen": made.chosen, "full": made.full, "tried": made.tried}
        print_json({"form": "lora", "out": str(made.path), **to_json(scores)})
        return
    groups = list(made.full.accuracy)
    rows = [
        [str(score.rank), f"{score.error:.3f}", *(f"{score.accuracy[group]:.3f}" for group in groups)]
        for score in (*(one for one in made.tried if one.rank != made.full.rank), made.full)
    ]
    output.print(table("Adapter by rank; the last row is the full result", ["rank", "left out", *groups], rows))
    output.print(f"lora, rank {made.chosen.rank}: {made.path}", soft_wrap=True)
