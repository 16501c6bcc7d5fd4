"""`srmu unlearn`: the main command. Its flags are the fields of `UnlearnConfig`."""

import inspect
import typing
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, Literal

import typer

from srmu.config.settings import UnlearnConfig, load_yaml, make_config
from srmu.errors import InputError

# The field that opens each panel of `--help`.
PANELS = {
    "model": "Model",
    "forget": "Texts",
    "preset": "Method",
    "layer": "Trained matrices",
    "learning_rate": "Training",
    "out": "Output",
}
# In the YAML file only: nested values make no good flags.
FILE_ONLY = ("model", "topics")

EPILOG = (
    "Example: srmu unlearn ./my-model --forget secrets.txt --retain notes.jsonl --retain self "
    "--questions forget=q.jsonl --out runs/first"
)


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command("unlearn", epilog=EPILOG, help="Make a checkpoint forget texts.")(_command())


def _command() -> Any:
    """The command function, with one keyword parameter for each field of the config."""

    def unlearn_command(model: str, *, dry_run: bool, resume: str | None, json_output: bool, **flags: Any) -> int:
        from srmu.cli.unlearn_output import run_and_show

        if resume:
            if model or parse_flags(flags) or dry_run:
                raise InputError(
                    "--resume takes no other settings: the interrupted run's own are used. Leave them out."
                )
            return run_and_show(None, dry_run=False, json_output=json_output, resume=Path(resume))
        return run_and_show(read_config(model, flags), dry_run=dry_run, json_output=json_output)

    parameters = [
        parameter("model", str, typer.Argument("", metavar="MODEL|RUN.yaml", help="Directory, hub id, or YAML file.")),
        *config_flags(),
        parameter("dry_run", bool, typer.Option(False, "--dry-run", help="Say what would be done, and its cost.")),
        parameter("resume", str | None, typer.Option(None, "--resume", help="Continue an interrupted run directory.")),
        parameter("json_output", bool, typer.Option(False, "--json", help="Print the results as JSON.")),
    ]  # fmt: skip
    unlearn_command.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    unlearn_command.__annotations__ = {p.name: p.annotation for p in parameters}
    return unlearn_command


def read_config(model: str, flags: Mapping[str, Any]) -> UnlearnConfig:
    """The config of a model, or of a YAML file, with flags over it.

    Raises:
        InputError: If no model is named, or something is wrong with the settings.
    """
    settings = parse_flags(flags)
    if model.endswith((".yaml", ".yml")):
        file_settings = load_yaml(model)
        if not file_settings.get("model"):
            raise InputError(f"{model!r} names no model. Add a line 'model: PATH' to it.")
        return make_config(settings, file_settings=file_settings)
    if not model:
        raise InputError("A model was not given. Name a checkpoint directory, a hub id, or a .yaml file.")
    return make_config({**settings, "model": model})


def config_flags(leave_out: Collection[str] = ()) -> list[inspect.Parameter]:
    """One flag for each field of the config, apart from those of the YAML file alone."""
    return [_flag(field.name) for field in fields(UnlearnConfig) if field.name not in (*FILE_ONLY, *leave_out)]


def parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    """A keyword parameter of a command's function."""
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _flag(name: str) -> inspect.Parameter:
    """The flag of one field. Values stay text: the config checks them, so that all problems are named at once."""
    field = next(f for f in fields(UnlearnConfig) if f.name == name)
    hint = typing.get_type_hints(UnlearnConfig)[name]
    default = field.default if field.default is not MISSING else None
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    text = field.metadata["help"]
    if typing.get_origin(hint) is Literal and _metavar(hint) == "NAME":
        text += f" One of {', '.join(typing.get_args(hint))}."
    if shown not in (None, "", {}):
        text += f" [dim]\\[default: {shown}][/dim]"
    flag = "--" + name.replace("_", "-")
    panel = _panel(name)
    if hint is bool:
        option = typer.Option(None, f"{flag}/--no-{flag[2:]}", help=text, rich_help_panel=panel, show_default=False)
        return parameter(name, bool | None, option)
    repeatable = typing.get_origin(hint) in (tuple, dict)
    option = typer.Option(None, flag, help=text, rich_help_panel=panel, metavar=_metavar(hint), show_default=False)
    return parameter(name, list[str] | None if repeatable else str | None, option)


# In a terminal of 80 columns a longer one would be broken in the middle of a word.
LONGEST_METAVAR = 12


def _panel(name: str) -> str:
    panel = ""
    for field in fields(UnlearnConfig):
        panel = PANELS.get(field.name, panel)
        if field.name == name:
            return panel
    raise KeyError(name)


def _metavar(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        choices = "|".join(typing.get_args(hint))
        return choices if len(choices) <= LONGEST_METAVAR else "NAME"
    if typing.get_origin(hint) is dict:
        return "NAME=PATH"
    return {int: "N", float: "X"}.get(hint, "TEXT")


def parse_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Keep the flags that were given; split NAME=PATH pairs and comma-separated lists.

    Raises:
        InputError: If a NAME=PATH pair has no `=`, or a name stands twice.
    """
    given = {name: value for name, value in flags.items() if value not in (None, [], ())}
    for name in ("trained_layers", "target_roles", "target_modules"):
        if name in given:
            given[name] = [part.strip() for item in given[name] for part in item.split(",") if part.strip()]
    if "questions" in given:
        given["questions"] = parse_pairs(given["questions"], "--questions")
    return given


def parse_pairs(items: list[str], flag: str) -> dict[str, str]:
    """`NAME=PATH` items, each possibly several with commas between."""
    pairs: dict[str, str] = {}
    for part in (part for item in items for part in item.split(",")):
        name, equals, path = part.partition("=")
        if not equals or not name.strip() or not path.strip():
            raise InputError(f"{flag} {part!r} is no NAME=PATH. Write, for example, {flag} forget=questions.jsonl.")
        if name.strip() in pairs:
            raise InputError(f"{flag} names {name.strip()!r} twice. Give each file a name of its own.")
        pairs[name.strip()] = path.strip()
    return pairs
