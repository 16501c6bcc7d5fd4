"""`srmu convert`: a checkpoint with pickled or quantised weights as one that can be trained."""

import typer

EPILOG = "Example: srmu convert ./old-model ./old-model-safetensors"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("convert", epilog=EPILOG)
    def convert(
        source: str = typer.Argument(..., metavar="MODEL", help="Checkpoint directory."),
        out: str = typer.Argument(..., metavar="OUT", help="Directory to make."),
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Turn pickled weights into safetensors without running them, or quantised ones into bfloat16."""
        from srmu.cli.console import output, print_json
        from srmu.job.convert import convert as run
        from srmu.results.schema import to_json
        from srmu.surgery.checkpoint import resolve_model

        done = run(resolve_model(source, None), out)
        if json_output:
            print_json(to_json(done))
        else:
            output.print(f"checkpoint: {out} ({done.num_tensors} tensors, were {done.kind})", soft_wrap=True)
        return 0
