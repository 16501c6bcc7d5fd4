import re
import subprocess
import sys

import pytest
import typer

from main_job import call
from srmu import __version__
from srmu.cli.app import app, main
from srmu.cli.settings_command import settings_command
from srmu.config.renamed import RENAMED
from srmu.config.settings import FIELDS

GROUP = typer.main.get_command(app).commands
COMMANDS = sorted(GROUP)
INNER = [(name, inner) for name, command in GROUP.items() for inner in getattr(command, "commands", ())]


def test_the_commands_of_the_main_job_are_there():
    assert {"apply", "demo", "doctor", "unlearn", "verify"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_each_command_shows_an_example(command, capsys):
    code, out, err = call(capsys, command, "--help")
    assert (code, err) == (0, "")
    assert f"Example: srmu {command}" in " ".join(out.split())


@pytest.mark.parametrize(("group", "command"), INNER)
def test_the_help_of_each_command_of_a_group_shows_an_example(group, command, capsys):
    code, out, err = call(capsys, group, command, "--help")
    assert (code, err) == (0, "")
    assert f"Example: srmu {group} {command}" in " ".join(out.split())


def test_the_help_names_every_command_and_no_command_is_an_error_code(capsys):
    code, out, err = call(capsys, "--help")
    assert (code, err) == (0, "")
    assert all(command in out for command in COMMANDS)
    code, out, err = call(capsys)
    assert code == 2
    assert "unlearn" in out + err
    assert "error" not in err


def test_the_version_is_shown(capsys):
    assert call(capsys, "--version") == (0, f"srmu {__version__}\n", "")


def test_an_unknown_command_is_one_sentence(capsys):
    code, out, err = call(capsys, "unlern")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: No such command 'unlern'.")


def test_an_interruption_is_no_traceback(monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("srmu.export.verify.verify_run", interrupted)
    code, _, err = call(capsys, "verify", ".")
    assert code == 130
    assert err.strip() == "interrupted"


def test_a_bug_is_not_hidden_behind_a_sentence(monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("srmu.export.verify.verify_run", broken)
    with pytest.raises(ZeroDivisionError):
        main(["verify", "."])


def test_help_loads_neither_torch_nor_transformers():
    code = (
        "import sys, srmu\nfrom srmu.cli.app import main\n"
        "assert main(['unlearn', '--help']) == 0\n"
        "sys.exit(' '.join(name for name in ('torch', 'transformers', 'numpy') if name in sys.modules) or 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_a_flag_that_was_renamed_names_the_new_one(old, new, capsys):
    old, new = (f"--{name.replace('_', '-')}" for name in (old, new))
    value = [] if new == "--search" else ["3"]
    assert call(capsys, "unlearn", "base", "--forget", "x.txt", old, *value) == (
        2, "", f"error: {old} was renamed to {new}. Write {new}.\n",
    )  # fmt: skip


def test_the_help_shows_every_setting_once_and_no_old_name(capsys):
    code, shown, _ = call(capsys, "unlearn", "--help")
    assert code == 0
    flags = re.findall(r"--(?:no-)?([a-z][a-z-]+)", shown)
    assert {name.replace("_", "-") for name in FIELDS} - set(flags) == {"model", "topics"}
    assert not {name.replace("_", "-") for name in RENAMED} & set(flags)


def test_a_switch_can_be_set_back_by_the_flag_that_the_help_does_not_show(tmp_path):
    (tmp_path / "run.yaml").write_text("model: base\nskip_sinks: false\nshard: true\neval: true\n")
    seen = []
    command = settings_command(
        "Probe", lambda command: seen.append(command.config()) or 0, [("model", str, typer.Argument(""))]
    )
    probe = typer.Typer()
    probe.command()(command)
    for arguments in ([], ["--skip-sinks", "--no-shard", "--no-eval"]):
        probe([str(tmp_path / "run.yaml"), *arguments], standalone_mode=False).run()
    assert [(config.target.skip_sinks, config.model.shard, config.output.eval) for config in seen] == [
        (False, True, True),
        (True, False, False),
    ]
