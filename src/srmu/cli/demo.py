"""`srmu demo`: a real language model forgets, offline, in minutes."""

from pathlib import Path
from typing import Any

import typer

LEGEND = """Good is low in forget, and as high as the base elsewhere: entangled (told in the
retain texts), other (told nowhere); neighbours are other facts about what is
forgotten. nats: loss a token of ordinary text. s, MB: training and its memory."""
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
        out: Path = typer.Option(Path("runs/demo"), "--out", help="Directory for runs, plot and results."),
        seed: int = typer.Option(0, "--seed", help="Seed of every run."),
        device: str = typer.Option("auto", "--device", help="auto, cpu, cuda, ..."),
        json_output: bool = typer.Option(False, "--json", help="Print results.json."),
    ) -> int:
        """Make a real pretrained model forget: one request, several methods, one table, answers before and after."""
        from srmu.cli.console import TerminalReporter, output, print_json
        from srmu.demo.plot import plot_demo
        from srmu.demo.run import PLOT_FILE, run_demo

        names = [name.strip() for name in methods.split(",") if name.strip()]
        results, answers = run_demo(
            request, methods=names, model=model, out=out, seed=seed, device=device, reporter=TerminalReporter()
        )
        plot_demo(results, out / PLOT_FILE)
        if json_output:
            print_json(results)
            return 0
        output.print(results_table(results))
        output.print(LEGEND)
        show_answers(answers)
        output.print(f"Runs, {PLOT_FILE} and results.json: {out}", soft_wrap=True)
        return 0


def results_table(results: dict[str, Any]) -> Any:
    """One row for the base and each run; it fits 80 columns."""
    from srmu.cli.console import table

    columns = ["", "forget", "entangled", "neighbours", "other", "nats", "s", "MB"]
    rows = []
    for run in (results["base"], *results["runs"]):
        groups = run["groups"]
        accuracies = [f"{groups[name]['accuracy']:.2f}" for name in ("forget", "entangled", "neighbours", "other")]
        seconds = f"{run['seconds']:.0f}" if run["layers"] else ""
        rows.append([run["name"], *accuracies, f"{groups['text']['nll']:.3f}", seconds, f"{run['peak_mb']:,.0f}"])
    title = f"Request {results['request']!r}: four-choice accuracy, chance {results['chance']:.2f}"
    return table(title, columns, rows)


def show_answers(answers: list[dict[str, Any]]) -> None:
    """Greedy completions of the base and of the default's result."""
    from srmu.cli.console import output

    for entry in answers:
        output.print(f"({entry['group']}) {' '.join(entry['prompt'].split())}", style="bold", markup=False)
        for name in ("base", "default"):
            output.print(f"  {name:<8} {' '.join(entry[name].split())}", markup=False)
