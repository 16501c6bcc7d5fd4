"""`srmu overlap`: how entangled forget and retain texts are, before any training."""

import typer

from srmu.cli.compute_flags import DEVICE, DTYPE, TRUST_REMOTE_CODE
from srmu.results.overlap_records import LayerSummary, ModelOverlap, NearDuplicates, OverlapReport

EPILOG = "Example: srmu overlap --forget secrets.txt --retain notes.jsonl --model ./my-model"


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("overlap", epilog=EPILOG)
    def overlap(
        forget: list[str] = typer.Option(..., "--forget", help="Texts to forget; may be repeated."),
        retain: list[str] = typer.Option(..., "--retain", help="Texts to retain; may be repeated."),
        text_field: str = typer.Option(
            "auto",
            "--text-field",
            help="Field with the text in records, or a template: '{question} {answer}'; auto = recognised.",
        ),
        model: str | None = typer.Option(
            None, "--model", help="Checkpoint directory or hub id: adds each layer's separability and importance maps."
        ),
        device: str = DEVICE,
        dtype: str = DTYPE,
        trust_remote_code: bool = TRUST_REMOTE_CODE,
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Say how entangled these forget and retain texts are: words, documents, and a model's activations."""
        from srmu.cli.console import TerminalReporter, print_json
        from srmu.job.overlap import measure_overlap
        from srmu.results.schema import to_json

        report = measure_overlap(
            forget, retain, text_field=text_field, model=model, device=device, dtype=dtype,
            trust_remote_code=trust_remote_code, reporter=TerminalReporter(),
        )  # fmt: skip
        if json_output:
            print_json(to_json(report))
        else:
            show(report)
        return 0


def show(report: OverlapReport) -> None:
    """Tables, warnings and the verdict."""
    from srmu.cli.console import output, table
    from srmu.job.overlap import shared_rows

    rows = [
        [
            label,
            f"{entry.num_forget:,}",
            f"{entry.num_retain:,}",
            _percent(entry.jaccard),
            _percent(entry.containment),
            _percent(entry.token_containment),
        ]
        for label, entry in shared_rows(report)
    ]
    columns = ["sequences of", "forget types", "retain types", "Jaccard", "forget types in retain", "forget tokens in"]
    output.print(table("Shared words", columns, rows))
    output.print(report.paper.note, style="dim")
    if report.model is not None:
        show_layers(report.model)
    near = report.near_duplicates
    for pair in near.pairs[:10] if isinstance(near, NearDuplicates) else ():
        output.print(
            f"near-duplicate: forget document {pair.forget} and retain document {pair.retain} ({pair.similarity:.2f})"
        )
    for warning in report.warnings:
        output.print(f"warning: {warning}", style="yellow", markup=False)
    output.print(report.verdict, style="bold", markup=False)


def show_layers(model: ModelOverlap) -> None:
    """One row a layer; histogram and heaviest features of the default layer."""
    from srmu.cli.console import output, table

    names = list(model.layers[0].maps)
    rows = [
        [
            f"{layer.layer}{' (default)' if layer.layer == model.default_layer else ''}",
            f"{layer.auc:.3f}",
            f"{layer.auc_rows:.3f}",
            f"{layer.fisher:.2f}",
            *(f"{layer.maps[name].effective_dimension:.0f}" for name in names),
            _massive(layer),
        ]
        for layer in model.layers
    ]
    columns = ["layer", "AUC", "AUC rows", "Fisher", *(f"dim. {name}" for name in names), "massive (magnitude)"]
    output.print(table(f"Separability, and effective dimension of the maps of {model.hidden_size}", columns, rows))
    tapped = model.layers[model.default_layer].maps
    rows = [
        [
            name,
            " ".join(map(str, tapped[name].histogram)),
            " ".join(f"{feature}:{weight:.2f}" for feature, weight in tapped[name].top_features),
        ]
        for name in names
    ]
    columns = ["map", "features by weight, 0 to 1 in tenths", "heaviest features"]
    output.print(table(f"Importance maps at layer {model.default_layer}", columns, rows))


def _massive(layer: LayerSummary) -> str:
    features = [
        f"{entry.feature} ({entry.magnitude:.0f}){'' if entry.counted else ' sinks only'}"
        for entry in layer.massive[:3]
    ]
    return ", ".join(features) or f"none (ratio {layer.largest_ratio:.0f})"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
