"""`srmu demo`: a real language model forgets, offline, in minutes."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from srmu.cli.compute_flags import DEVICE

if TYPE_CHECKING:
    from srmu.demo.run import GroupAnswer

LEGEND = """Good is low in forget, and as high as the base elsewhere: entangled (stated in the
retain texts), other (stated nowhere); neighbours are other facts about what is
forgotten. text, nll: nats per token of ordinary text. seconds: training; peak MB:
the most memory of the whole run, measuring included."""
EPILOG = "Example: srmu demo elements --methods rmu,paper"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("demo", epilog=EPILOG)
    def demo(
        request: str = typer.Argument(
            "africa", help="africa (forget its capitals) or elements (forget their symbols)."
        ),
        methods: str = typer.Option(
            "rmu,paper", "--methods", help="Methods beside the default: rmu, adaptive-rmu, paper, robust."
        ),
        model: str | None = typer.Option(None, "--model", help="Another checkpoint than SmolLM2-135M-Instruct."),
        out: Path = typer.Option(Path("runs/demo"), "--out", help="Directory for runs, plot and comparison."),
        seed: int = typer.Option(0, "--seed", help="Seed of every run."),
        device: str = DEVICE,
        json_output: bool = typer.Option(False, "--json", help="Print the comparison as JSON."),
    ) -> int:
        """Make a real pretrained model forget: one request, several methods, one table, answers before and after."""
        from srmu.cli.compare import show_comparison
        from srmu.cli.console import TerminalReporter, output
        from srmu.demo.plot import plot_demo
        from srmu.demo.run import COMPARISON_FILE, PLOT_FILE, run_demo
        from srmu.results.compare_formats import to_json

        names = [name.strip() for name in methods.split(",") if name.strip()]
        found = run_demo(
            request, methods=names, model=model, out=out, seed=seed, device=device, reporter=TerminalReporter()
        )
        plot_demo(found.comparison, out / PLOT_FILE)
        if json_output:
            print(to_json(found.comparison), end="")
            return 0
        show_comparison(found.comparison)
        output.print(LEGEND)
        show_answers(found.answers)
        output.print(f"Runs, {PLOT_FILE} and {COMPARISON_FILE}: {out}", soft_wrap=True)
        return 0


def show_answers(answers: Sequence["GroupAnswer"]) -> None:
    """Greedy completions of the base and of the default's result."""
    from srmu.cli.console import output

    for found in answers:
        output.print(f"({found.group}) {' '.join(found.answer.prompt.split())}", style="bold", markup=False)
        for name, text in (("base", found.answer.base or ""), ("default", found.answer.result)):
            output.print(f"  {name:<8} {' '.join(text.split())}", markup=False)
