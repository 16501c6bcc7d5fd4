"""`srmu ask`: prompts answered by base and result side by side."""

from collections.abc import Sequence

import typer

from srmu.cli.compute_flags import DEVICE_OR_ALL, DTYPE, MEMORY_GB, TRUST_REMOTE_CODE
from srmu.results.records import Answer

EPILOG = "Example: srmu ask runs/first --prompt 'The capital of Ghana is' --prompt 'The capital of Chile is'"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("ask", epilog=EPILOG)
    def ask_command(
        model: str = typer.Argument(..., metavar="RUN|MODEL", help="Run directory, checkpoint directory or hub id."),
        prompt: list[str] = typer.Option([], "--prompt", help="A prompt; may be repeated."),
        prompts: list[str] = typer.Option(
            [], "--prompts", metavar="FILE", help="One prompt per line, or JSONL with 'prompt'; may be repeated."
        ),
        base: str | None = typer.Option(None, "--base", help="Model to compare with; of a run, its own base."),
        chat: bool = typer.Option(False, "--chat", help="Ask in the tokenizer's chat template."),
        max_new_tokens: int = typer.Option(64, "--max-new-tokens", help="Most tokens of an answer."),
        device: str = DEVICE_OR_ALL,
        dtype: str = DTYPE,
        memory_gb: str = MEMORY_GB,
        trust_remote_code: bool = TRUST_REMOTE_CODE,
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Answer prompts with the base and the result, side by side. Nothing is stored."""
        from srmu.cli.console import TerminalReporter, print_json
        from srmu.config.settings import parse_memory
        from srmu.job.ask import ask, read_prompts
        from srmu.results.schema import to_json

        asked = [*prompt, *(line for file in prompts for line in read_prompts(file))]
        answers = ask(
            model, asked, base=base, chat=chat, max_new_tokens=max_new_tokens, device=device, dtype=dtype,
            memory_gb=parse_memory(memory_gb), trust_remote_code=trust_remote_code, reporter=TerminalReporter(),
        )  # fmt: skip
        if json_output:
            print_json(to_json(answers))
        else:
            show(answers)
        return 0


def show(answers: Sequence[Answer]) -> None:
    """A row per prompt, with what each model answered."""
    from rich.table import Table
    from rich.text import Text

    from srmu.cli.console import output
    from srmu.runtime.escaping import visible

    names = ["result"] if answers[0].base is None else ["base", "result"]
    result = Table(show_lines=True, header_style="bold")
    for name in ("prompt", *names):
        result.add_column(name, ratio=1, overflow="fold")
    for entry in answers:
        # As text, so that brackets in an answer are no markup.
        result.add_row(*(Text(visible(getattr(entry, name).strip())) for name in ("prompt", *names)))
    output.print(result)
