"""What the site shows of the code, made while it is built: commands, settings, the Python API, schemas, rooms, tables.

A page names a part as `{{ name }}`; `on_page_markdown` puts it in. MkDocs calls this file as a hook (mkdocs.yml).
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path[:0] = [str(ROOT / "src"), str(HERE)]

import rooms as drawing  # noqa: E402, which lies beside this file
import tables  # noqa: E402


def commands() -> str:
    """Every command with its usage, flags and example."""
    import typer.main

    from srmu.cli.app import app

    group = typer.main.get_command(app)
    parts = []
    for name, command in sorted(with_subcommands(group.commands).items()):  # type: ignore[attr-defined]
        context = command.make_context(name, [], resilient_parsing=True)
        parts += [f"## srmu {name}", first_paragraph(command.help)]
        if command.epilog:
            parts.append("    " + command.epilog.removeprefix("Example: "))
        rows = [row(parameter, context) for parameter in command.get_params(context) if not is_help(parameter)]
        parts.append("\n".join(["| argument or flag | |", "|---|---|", *rows]))
    return "\n\n".join(parts)


def with_subcommands(commands: dict[str, Any]) -> dict[str, Any]:
    """Commands by their whole names; a group's are its own."""
    found = {}
    for name, command in commands.items():
        inner = getattr(command, "commands", None)
        found |= {f"{name} {part}": one for part, one in inner.items()} if inner else {name: command}
    return found


def is_help(parameter: Any) -> bool:
    """Whether this is `--help` itself."""
    return "--help" in parameter.opts


def row(parameter: Any, context: Any) -> str:
    """One flag as a line of a table."""
    names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
    if parameter.param_type_name == "argument":
        names = f"`{parameter.metavar or parameter.name.upper()}`"
    return f"| {names} | {cell(getattr(parameter, 'help', '') or '')} |"


def cell(text: str) -> str:
    """A text in a cell, without the command line's own markup."""
    text = text.replace("[dim]", "").replace("[/dim]", "").replace("\\[", "[").replace("|", "\\|")
    return " ".join(text.split())


def first_paragraph(text: str | None) -> str:
    """What a command's help says first."""
    return " ".join((text or "").split("\n\n")[0].split())


def settings() -> str:
    """Every setting by group, with its default."""
    import dataclasses

    from srmu.config.groups import GROUPS
    from srmu.config.presets import PRESETS

    parts = []
    for name, group in GROUPS.items():
        about = first_paragraph(group.__doc__)
        rows = [
            f"| `{field.name}` | {cell(default_of(field))} | {cell(field.metadata['help'])} |"
            for field in dataclasses.fields(group)
        ]
        parts += [f"## {name.capitalize()}", about, "\n".join(["| setting | default | |", "|---|---|---|", *rows])]
    presets = [
        f"| `{name}` | {cell(', '.join(f'{key}={value!r}' for key, value in values.items())) or 'the defaults'} |"
        for name, values in PRESETS.items()
    ]
    parts += ["## Presets", "\n".join(["| preset | settings |", "|---|---|", *presets])]
    return "\n\n".join(parts)


def default_of(field: Any) -> str:
    """The default as a user would write it."""
    import dataclasses

    if field.default is dataclasses.MISSING:
        return "none"
    value = field.default
    if value in (None, (), ""):
        return "none"
    return f"`{','.join(map(str, value)) if isinstance(value, tuple) else value}`"


def python_api() -> str:
    """A directive of mkdocstrings for every public name, by its home."""
    import srmu

    names = [name for name in srmu.__all__ if not name.startswith("__")]
    homes = {name: getattr(srmu, name) for name in names}
    functions = [name for name in names if not isinstance(homes[name], type)]
    classes = [name for name in names if isinstance(homes[name], type)]
    parts = []
    for title, group in (("Functions", functions), ("Settings and results", classes)):
        parts.append(f"## {title}")
        parts += [f"::: {homes[name].__module__}.{homes[name].__qualname__}" for name in group]
    return "\n\n".join(parts)


def schemas() -> str:
    """The JSON Schemas of the records in a run directory."""
    from srmu.results.schemas import SCHEMAS

    parts = []
    for name, record in SCHEMAS.items():
        from srmu.results.schema import json_schema

        text = json.dumps(json_schema(record), indent=1)
        parts.append(f'??? note "Schema of `{name}`"\n\n    ```json\n' + indented(text) + "\n    ```")
    return "\n\n".join(parts)


def indented(text: str) -> str:
    """Four spaces before each line."""
    return "\n".join("    " + line for line in text.splitlines())


def rooms() -> str:
    """The table and the picture of the package's rooms."""
    return f"{drawing.table()}\n\n{drawing.picture()}"


def results_table() -> str:
    """The rows of the real model with retain texts of both sorts, best first, at most eight per page."""
    return tables.results_summary()


def appendix_results() -> str:
    """All rows of the protocol."""
    return tables.protocol_rows()


def appendix_attacks() -> str:
    """All rows of the attacks."""
    return tables.attack_rows()


def selective_rows() -> str:
    """All rows of the selective protocol."""
    return tables.selective_rows()


def tofu_rows() -> str:
    """All rows of the TOFU protocol."""
    return tables.tofu_rows()


def wmdp_parity() -> str:
    """WMDP's questions here and through the harness."""
    return tables.wmdp_parity()


def appendix_worst() -> str:
    """The worst attacks by what they need."""
    return tables.attack_worst()


def attack_needs() -> str:
    """Every attack by what an attacker needs, with the first line of what its file says."""
    import inspect

    from srmu.evaluation.attacks.registry import ATTACKS

    lines = ["| an attacker needs | attack | |", "|---|---|---|"]
    for need in tables.NEEDS:
        for name, attack in ATTACKS.items():
            if attack.needs == need:
                about = first_paragraph(inspect.getmodule(attack.run).__doc__)  # type: ignore[union-attr]
                lines.append(f"| {need} | `{name}` | {cell(about)} |")
    return "\n".join(lines)


def families() -> str:
    """What became of every model type."""
    return tables.families()


def changelog() -> str:
    """The changelog without its own title."""
    return (ROOT / "CHANGELOG.md").read_text(encoding="utf-8").split("\n", 1)[1]


PARTS: dict[str, Callable[[], str]] = {
    part.__name__: part
    for part in (
        commands, settings, python_api, schemas, rooms, results_table, appendix_results, appendix_attacks,
        appendix_worst, attack_needs, wmdp_parity, selective_rows, tofu_rows, families,
        changelog,
    )
}  # fmt: skip


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the parts in; MkDocs calls this for every page."""
    for name, part in PARTS.items():
        mark = "{{ " + name + " }}"
        if mark in markdown:
            markdown = markdown.replace(mark, part())
    return markdown
