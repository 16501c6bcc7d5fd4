"""Commands whose flags are the settings of a run, made from the fields of the config.

Typer reads flags from a signature. Such a command is a dataclass, whose signature is that of its fields: a command line
becomes an object that holds the flags as they were given, and `srmu.cli.app.main` calls its `run`.
"""

import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, make_dataclass
from typing import Any, Literal

import typer

from srmu.config.coerce import coerce, is_text
from srmu.config.groups import GROUPS, Side
from srmu.config.renamed import RENAMED
from srmu.config.settings import (
    FIELDS,
    GROUP_OF,
    PRESET_HELP,
    TYPES,
    UnlearnConfig,
    load_yaml,
    make_config,
)
from srmu.errors import InputError

PANELS = {
    "model": "Model", "data": "Texts", "search": "Method", "target": "Method", "training": "Training",
    "output": "Output",
}  # fmt: skip
"""Panel of `--help` by group of settings."""
# In the YAML file only, or the argument: nested values make no good flags.
NO_FLAG = ("model", "topics")
LISTS = ("trained_layers", "target_roles", "target_modules")
# In a terminal of 80 columns a longer one would be broken in the middle of a word.
LONGEST_METAVAR = 12

Flag = tuple[str, Any, Any]
"""Name, type, and the `typer.Option` or `typer.Argument` that is the default of a dataclass field."""


@dataclass(kw_only=True)
class SettingsCommand(ABC):
    """A command line with settings in it; a command's own dataclass is made from this one."""

    @abstractmethod
    def run(self) -> int:
        """Do the work; returns the exit code."""

    def settings(self) -> dict[str, Any]:
        """The settings that were given as flags, in the form of `make_config`.

        Raises:
            InputError: If a NAME=PATH pair has no `=`, or a name is there twice.
        """
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        given = {name: own[name] for name in ("preset", *FIELDS) if name in own and name not in NO_FLAG}
        given = {name: value for name, value in given.items() if value not in (None, [], ())}
        given |= {name: False for name in FIELDS if getattr(self, f"no_{name}", False)}
        for name in LISTS:
            if name in given:
                given[name] = [part.strip() for item in given[name] for part in item.split(",") if part.strip()]
        for name in ("questions", "sides"):
            if name in given:
                given[name] = parse_pairs(given[name], f"--{name}")
        return given

    def config(self) -> UnlearnConfig:
        """The config of a model, or of a YAML file, with flags over it.

        Raises:
            InputError: If no model is named, or something is wrong with the settings.
        """
        return read_config(self.model, self.settings())  # type: ignore[attr-defined]


def settings_command(
    name: str, run: Callable[[Any], int], own: Sequence[Flag], *, leave_out: Collection[str] = ()
) -> type[SettingsCommand]:
    """A command's dataclass: its own flags, and one for each setting.

    Args:
        name: Of the command.
        run: Its work; it gets the object and returns the exit code.
        own: Flags that are no settings.
        leave_out: Settings without a flag here.
    """
    shown = [setting for setting in ("preset", *FIELDS) if setting not in (*NO_FLAG, *leave_out)]
    flags = [*own, *(flag for setting in shown for flag in _flags(setting)), *(_old_flag(old) for old in RENAMED)]
    # Panels of the help come in the order in which their first flags come.
    panels = [None, *PANELS.values()]
    flags.sort(key=lambda flag: panels.index(flag[2].rich_help_panel))
    return make_dataclass(name, flags, bases=(SettingsCommand,), namespace={"run": run}, kw_only=True)


def read_config(model: str, settings: Mapping[str, Any]) -> UnlearnConfig:
    """The config of a model, or of a YAML file, with settings over it.

    Raises:
        InputError: If no model is named, or something is wrong with the settings.
    """
    if model.endswith((".yaml", ".yml")):
        file_settings = load_yaml(model)
        if not file_settings.get("model"):
            raise InputError(f"{model!r} names no model. Add a line 'model: PATH' to it.")
        return make_config(settings, file_settings=file_settings)
    if not model:
        raise InputError("A model was not given. Name a checkpoint directory, a hub id, or a .yaml file.")
    return make_config({**settings, "model": model})


def parse_list(items: list[str]) -> list[str]:
    """Items, each possibly several with commas between."""
    return [part.strip() for item in items for part in item.split(",") if part.strip()]


def parse_pairs(items: list[str], flag: str) -> dict[str, str]:
    """`NAME=PATH` items, each possibly several with commas between.

    Raises:
        InputError: If a pair has no `=`, or a name is there twice.
    """
    pairs: dict[str, str] = {}
    for part in (part for item in items for part in item.split(",")):
        name, equals, path = part.partition("=")
        if not equals or not name.strip() or not path.strip():
            form, example = (
                ("NAME=SIDE", "wmdp_bio=forget") if flag == "--sides" else ("NAME=PATH", "forget=questions.jsonl")
            )
            raise InputError(f"{flag} {part!r} is no {form}. Write, for example, {flag} {example}.")
        if not is_text(name):
            raise InputError(f"{flag} {part!r} has a name with bytes that are no text. Give it another name.")
        if name.strip() in pairs:
            raise InputError(f"{flag} names {name.strip()!r} twice. Give each file a name of its own.")
        pairs[name.strip()] = path.strip()
    return pairs


def parse_sides(items: list[str]) -> dict[str, Side]:
    """`NAME=SIDE` items, each possibly several with commas between.

    Raises:
        InputError: If a pair has no `=`, a name is there twice, or a side is none.
    """
    try:
        sides: dict[str, Side] = coerce(parse_pairs(items, "--sides"), TYPES["sides"])
    except ValueError as error:
        raise InputError(f"--sides {','.join(items)}: {error}") from None
    return sides


def _flags(name: str) -> list[Flag]:
    """The flags of one setting. Values stay text: the config checks them, so that all problems are named at once."""
    hint: Any = str
    default: Any = "default"
    text = PRESET_HELP
    if name != "preset":
        hint, field = TYPES[name], FIELDS[name]
        default, text = None if field.default is MISSING else field.default, field.metadata["help"]
    shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
    if typing.get_origin(hint) is Literal and _metavar(hint) == "NAME":
        text += f" One of {', '.join(typing.get_args(hint))}."
    if shown not in (None, "", {}):
        text += f" [dim]\\[default: {shown}][/dim]"
    flag, panel = "--" + name.replace("_", "-"), PANELS[GROUP_OF.get(name, "search")]
    if hint is bool:
        # Of the two, the one that changes something is shown: in 80 columns both would leave no room for long names.
        off = f"Turn this off: {text[0].lower()}{text[1:]}".replace(": True]", ": on]")
        yes = typer.Option(None, flag, help=text, rich_help_panel=panel, hidden=default, show_default=False)
        no = typer.Option(
            None, f"--no-{flag[2:]}", help=off, rich_help_panel=panel, hidden=not default, show_default=False
        )
        return [(name, bool | None, yes), (f"no_{name}", bool | None, no)]
    repeatable = typing.get_origin(hint) in (tuple, dict)
    option = typer.Option(None, flag, help=text, rich_help_panel=panel, metavar=_metavar(hint), show_default=False)
    return [(name, list[str] | None if repeatable else str | None, option)]


def _old_flag(old: str) -> Flag:
    """A flag that once was: it is not shown, and its use is answered with the new name."""
    flag, new = "--" + old.replace("_", "-"), "--" + RENAMED[old].replace("_", "-")

    def refuse(value: Any) -> Any:
        if value not in (None, [], ()):
            raise InputError(f"{flag} was renamed to {new}. Write {new}.")
        return value

    option = typer.Option(None, flag, hidden=True, callback=refuse)
    return f"old_{old}", bool | None if TYPES[RENAMED[old]] is bool else str | None, option


def _metavar(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        choices = "|".join(typing.get_args(hint))
        return choices if len(choices) <= LONGEST_METAVAR else "NAME"
    if typing.get_origin(hint) is dict:
        return "NAME=PATH" if typing.get_args(hint)[1] is str else "NAME=SIDE"
    return {int: "N", float: "X"}.get(hint, "TEXT")


assert set(PANELS) == set(GROUPS)
