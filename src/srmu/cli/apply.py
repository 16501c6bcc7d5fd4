"""`srmu apply`: rebuild a run's checkpoint from its delta and the base."""

import typer

EPILOG = "Example: srmu apply runs/first/delta.safetensors --base ./my-model --out ./my-model-forgot"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("apply", epilog=EPILOG)
    def apply(
        delta: str = typer.Argument(..., metavar="RUN|DELTA", help="A run directory, or its delta.safetensors."),
        base: str = typer.Option(..., "--base", help="The checkpoint that the run began with: directory or hub id."),
        out: str = typer.Option(..., "--out", help="Directory to make."),
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Rebuild the unlearned checkpoint, bit for bit, from the changed tensors and the base."""
        from srmu.cli.console import output, print_json
        from srmu.export.delta import apply_delta
        from srmu.surgery.checkpoint import resolve_model

        apply_delta(resolve_model(base, None), delta, out)
        if json_output:
            print_json({"model_dir": out})
        else:
            output.print(f"checkpoint: {out}", soft_wrap=True)
        return 0
