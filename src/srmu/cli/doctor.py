"""`srmu doctor`: what this machine, this checkpoint and these texts allow."""

import importlib.metadata
import os
import platform
import shutil
from dataclasses import dataclass

import typer

EPILOG = "Example: srmu doctor ./my-model --forget secrets.txt"
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
        json_output: bool = typer.Option(False, "--json", help="Print as JSON."),
    ) -> int:
        """Say what this machine, this checkpoint and these texts allow. Exit code 2 if a run could not start."""
        from srmu.cli.console import facts, output, print_json

        findings = machine()
        if model is not None:
            findings += checkpoint(model, forget, retain)
        if json_output:
            print_json({finding.name: finding.value for finding in findings})
        else:
            output.print(facts("srmu doctor", [(finding.name, str(finding.value)) for finding in findings]))
        return 0


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


def checkpoint(model: str, forget: list[str], retain: list[str]) -> list[Finding]:
    """What a run on this checkpoint would train, and on these texts what it would cost."""
    from srmu.config.settings import make_config
    from srmu.export.run_directory import check_output
    from srmu.job.estimate import estimate
    from srmu.job.plan import make_plan
    from srmu.surgery.checkpoint import open_checkpoint, resolve_model
    from srmu.surgery.layers import ROLES, auto_layer
    from srmu.surgery.truncate import build_skeleton, text_config

    opened = open_checkpoint(resolve_model(model, None))
    depth = text_config(opened).num_hidden_layers
    skeleton = build_skeleton(opened, auto_layer(depth) + 1)
    there = dict(skeleton.layers[-1].named_parameters())
    roles = [role for role, names in ROLES.items() if any(name in there for name in names)]
    findings = [
        Finding(
            "checkpoint",
            f"{skeleton.family}, {depth} layers, {len(opened.tensors)} tensors in {len(opened.shards)} files",
        ),
        Finding("stored dtypes", ", ".join(sorted({tensor.dtype for tensor in opened.tensors.values()}))),
        Finding("layer by default", f"{auto_layer(depth)} of 0 to {depth - 1}"),
        Finding("roles in that layer", ", ".join(roles) or "none known; name matrices with --target-modules"),
    ]
    if forget:
        config = make_config({"model": model, "forget": forget, "retain": retain})
        plan = make_plan(config, out=check_output(config))
        cost = estimate(plan)
        findings += [
            Finding("forget documents", sum(len(topic.forget.documents) for topic in plan.topics)),
            Finding(
                "retain documents",
                [len(corpus.documents) for topic in plan.topics for corpus in topic.retain] or "self",
            ),
            Finding("training", f"about {cost['training_seconds']:.0f} s, {cost['training_mb']:,.0f} MB"),
            Finding("disk needed", f"{cost['disk_mb']:,.0f} MB"),
        ]
    return findings


def _installed(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None
