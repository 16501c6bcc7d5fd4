"""`srmu doctor`: what this machine, this checkpoint and these texts allow."""

import importlib.metadata
import os
import platform
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer
from rich.text import Text

from srmu.errors import InputError
from srmu.runtime.progress import Reporter, in_words

if TYPE_CHECKING:
    from srmu.job.texts_check import Verdict

EPILOG = "Example: srmu doctor ./my-model --forget secrets.txt --retain notes.jsonl"
EXTRAS = {"hub": "datasets", "eval": "lm_eval", "tune": "optuna", "attack": "peft", "demo": "gguf"}


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        name: What it is, in plain words; the key of `--json`.
        value: A number, a text, or one number per topic.
    """

    name: str
    value: int | str | list[int]


def register(app: typer.Typer) -> None:
    """Add the command to the application."""

    @app.command("doctor", epilog=EPILOG)
    def doctor(
        model: str | None = typer.Argument(None, metavar="[MODEL]", help="Checkpoint directory or hub id."),
        forget: list[str] = typer.Option([], "--forget", help="Texts to forget."),
        retain: list[str] = typer.Option([], "--retain", help="Texts to retain."),
        text_field: str = typer.Option(
            "auto",
            "--text-field",
            help="Field with the text in records, or a template: '{question} {answer}'; auto = recognised.",
        ),
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Say what this machine, this checkpoint and these texts allow.

        Of texts to forget it says in ten lines whether they will do: ok, warn or bad, and what to do. Exit code 1 if a
        line is bad, 2 if a run could not start.
        """
        from dataclasses import asdict

        from srmu.cli.console import TerminalReporter, facts, output, print_json

        if forget and model is None:
            raise InputError("Texts were given without a model, whose knowledge they are about. Name one first.")
        findings, verdicts = machine(), []
        if model is not None:
            findings += checkpoint(model)
        if model is not None and forget:
            verdicts = texts(model, forget, retain, text_field, TerminalReporter())
        if json_output:
            found: dict[str, object] = {finding.name: finding.value for finding in findings}
            print_json(found | ({"texts": [asdict(verdict) for verdict in verdicts]} if verdicts else {}))
        else:
            output.print(facts("srmu doctor", [(finding.name, str(finding.value)) for finding in findings]))
            if verdicts:
                output.print(verdict_table(verdicts))
        return int(any(verdict.state == "bad" for verdict in verdicts))


def machine() -> list[Finding]:
    """Versions, processors, memory, accelerators, disk, optional parts."""
    import torch

    from srmu import __version__
    from srmu.runtime.devices import choose_device, device_name

    found = {name: _installed(package) for name, package in EXTRAS.items()}
    return [
        Finding("python", platform.python_version()),
        Finding("srmu", __version__),
        *(Finding(name, importlib.metadata.version(name)) for name in ("torch", "transformers")),
        Finding("threads", torch.get_num_threads()),
        Finding("memory", f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.1f} GB"),
        Finding("device", device_name(choose_device("auto"))),
        Finding("disk free here", f"{shutil.disk_usage('.').free / 1e9:.0f} GB"),
        Finding("extras installed", ", ".join(name for name, there in found.items() if there) or "none"),
        Finding("extras missing", ", ".join(name for name, there in found.items() if not there) or "none"),
    ]


def checkpoint(model: str) -> list[Finding]:
    """What a run on this checkpoint would train."""
    from srmu.surgery.checkpoint import open_checkpoint, resolve_model
    from srmu.surgery.layers import ROLES, auto_layer
    from srmu.surgery.truncate import build_skeleton, text_config

    opened = open_checkpoint(resolve_model(model, None))
    depth = text_config(opened).num_hidden_layers
    skeleton = build_skeleton(opened, auto_layer(depth) + 1)
    there = dict(skeleton.layers[-1].named_parameters())
    roles = [role for role, names in ROLES.items() if any(name in there for name in names)]
    return [
        Finding(
            "checkpoint",
            f"{skeleton.family}, {depth} layers, {len(opened.tensors)} tensors in {len(opened.shards)} files",
        ),
        Finding("stored dtypes", ", ".join(sorted({tensor.dtype for tensor in opened.tensors.values()}))),
        Finding("layer by default", f"{auto_layer(depth)} of 0 to {depth - 1}"),
        Finding("roles in that layer", ", ".join(roles) or "none known; name matrices with --target-modules"),
    ]


def texts(model: str, forget: list[str], retain: list[str], text_field: str, reporter: Reporter) -> list["Verdict"]:
    """Whether these texts will do, and how long a run on them will take."""
    from srmu.config.settings import make_config
    from srmu.export.run_directory import check_output
    from srmu.job.estimate import estimate
    from srmu.job.forecast import forecast
    from srmu.job.plan import make_plan
    from srmu.job.texts_check import Verdict, check_texts

    config = make_config({"model": model, "forget": forget, "retain": retain, "text_field": text_field})
    verdicts = check_texts(config, reporter=reporter)
    if any(verdict.name == "in both" and verdict.state == "bad" for verdict in verdicts):
        # No run would start on them.
        return verdicts
    with warnings.catch_warnings():
        # What is in both was said.
        warnings.simplefilter("ignore")
        plan = make_plan(config, out=check_output(config))
    time, cost = forecast(plan, reporter), estimate(plan)
    parts = ", ".join(f"{stage} {in_words(seconds)}" for stage, seconds in time.stages.items())
    needs = f"{cost['training_mb'] / 1e3:.1f} GB of memory, {cost['disk_mb'] / 1e3:.1f} GB of disk"
    return [*verdicts, Verdict("time", "ok", f"about {in_words(time.seconds)} ({parts}); {needs}")]


def verdict_table(verdicts: Sequence["Verdict"]) -> Any:
    """A line for each verdict."""
    from srmu.cli.console import table

    colours = {"ok": "green", "warn": "yellow", "bad": "bold red"}
    rows: list[list[str | Text]] = []
    for verdict in verdicts:
        said = f"{verdict.found}. {verdict.remedy}".strip()
        rows.append([verdict.name, Text(verdict.state, colours[verdict.state]), said])
    return table("Will these texts do?", ["", "", ""], rows, num_texts=3)


def _installed(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None
