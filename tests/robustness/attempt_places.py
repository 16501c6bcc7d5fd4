"""Attempts on places: what is not ours must stay, and what is no file must not become one."""

import os
import random
import shutil
from pathlib import Path

from robustness.attempt_records import HOSTILE, copy_of
from robustness.attempts import Attempt, SoundRun, attempts
from robustness.generated_inputs import unlearn

FOREIGN = {
    "config.json": b'{"model_type": "llama"}', "model.safetensors": b"weights", "thesis.txt": b"kept",
    "results.json": b"{}",
    "manifest.json": b'{"name": "app"}', "metrics.jsonl": b'{"epoch": 1}\n', ".git/HEAD": b"ref",
    "src/main.py": b"print()",
    "SHA256SUMS": b"", "model/config.json": b"{}", "trials.json": b"{}x", "comparison.json": b"x",
    "report.html": b"mine",
}  # fmt: skip


def foreign_folder(source: random.Random, place: Path) -> Path:
    """A folder of somebody's, with at least one file that no unfinished run has."""
    names = {
        *source.sample(sorted(FOREIGN), source.randint(1, 4)),
        source.choice(["thesis.txt", "src/main.py", ".git/HEAD"]),
    }
    for name in names:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(FOREIGN[name])
    return place


def training(sound: SoundRun, *more: str, model: str | None = None) -> list[str]:
    """A run of two steps."""
    return [*unlearn(sound, Path(model) if model else None), *more]


@attempts(share=3)
def folder_that_is_not_ours(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """Whatever a command is asked to make there, and however insistently."""
    foreign_folder(source, folder / "theirs")
    (folder / "link").symlink_to("theirs")
    place = source.choice(["theirs", "theirs", "link", "theirs/.", "./theirs", "theirs/../theirs"])
    made = {
        "unlearn": training(sound, "--out", place), "overwrite": training(sound, "--out", place, "--overwrite"),
        "apply": ["apply", str(sound.run), "--base", str(sound.single), "--out", place],
        "delta": ["export", str(sound.run), "--as", "delta", "--out", place],
        "lora": ["export", str(sound.run), "--as", "lora", "--rank", "4", "--out", place],
        "tune": ["tune", *training(sound, "--out", place, "--trials", "1", "--questions",
                                   f"forget={sound.texts / 'questions.jsonl'}")[1:]],
        "demo": ["demo", "--model", str(sound.single), "--out", place],
        "resume": ["unlearn", "--resume", place],
    }  # fmt: skip
    return Attempt(made[source.choice(sorted(made))], (2,))


@attempts(share=2)
def run_that_reads_what_it_would_replace(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    run = copy_of(sound, folder)
    kind = source.choice(["model", "forget", "questions", "link", "above"])
    (run / "mine.txt").write_bytes((sound.texts / "forget.txt").read_bytes())
    (folder / "link.txt").symlink_to("run/mine.txt")
    changes = {
        "model": ["--model", "run/model"], "forget": ["--forget", "run/mine.txt"], "link": ["--forget", "link.txt"],
        "questions": ["--questions", "a=run/questions/forget.jsonl"], "above": ["--forget", "run"],
    }  # fmt: skip
    more = changes[kind]
    arguments = training(sound, model="run/model") if kind == "model" else [*training(sound), *more]
    return Attempt([*arguments, "--out", "run", "--overwrite"], (2,))


@attempts()
def run_that_replaces_another(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """The control: a run of ours is replaced, and nothing else."""
    copy_of(sound, folder)
    (folder / "run.txt").write_text("beside it")
    (folder / ".run.replaced.txt").write_text("beside it")
    return Attempt(training(sound, "--out", "run", "--overwrite", "--no-eval"), (0,), ("run",))


SPECIAL = ("pipe", "folder", "device", "missing/folder/file.html", "loop", "file/below")


def special(folder: Path, name: str, suffix: str) -> str:
    """A place that no file may take."""
    (folder / "file").write_text("a file")
    if name == "pipe":
        os.mkfifo(folder / f"pipe{suffix}")
    elif name == "folder":
        (folder / f"folder{suffix}").mkdir()
        (folder / f"folder{suffix}" / "kept").write_text("kept")
    elif name == "loop":
        (folder / f"loop{suffix}").symlink_to(f"loop{suffix}")
    elif name == "device":
        (folder / f"device{suffix}").symlink_to("/dev/full")
    return name + ("" if name == SPECIAL[3] or name == SPECIAL[5] else suffix)


@attempts(share=4)
def output_that_is_no_file(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    copy_of(sound, folder)
    commands = {
        ".html": ["report", "run", "--out"], ".xml": ["gate", "run", "--require", "forget<=1", "--junit"],
        ".svg": ["compare", "run", "--plot"], ".safetensors": ["export", "run", "--as", "delta", "--out"],
    }  # fmt: skip
    suffix = source.choice(sorted(commands))
    name = source.choice(SPECIAL)
    # A plot makes its folder; a link to nothing may become a file.
    made = ("missing", "loop.html", "loop.xml", "loop.svg", "loop.safetensors")
    return Attempt([*commands[suffix], special(folder, name, suffix)], (0, 2) if name in SPECIAL[3:5] else (2,), made)


@attempts(share=2)
def input_that_is_no_file(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """Where a file is asked for, there is a pipe that nobody writes to, a device, a folder or a link to itself."""
    place = source.choice([special(folder, name,
    source.choice([".jsonl", ".txt", ".yaml", ""])) for name in SPECIAL[:1]]
                          + ["/dev/zero", "nowhere.jsonl"])  # fmt: skip
    commands = [
        training(sound, "--forget", place), training(sound, "--questions", f"a={place}"), ["unlearn", place],
        ["evaluate", str(sound.single), "--questions", f"a={place}"], ["ask", str(sound.single), "--prompts", place],
        ["evaluate", str(sound.single), "--completions", f"a={place}"], ["report", str(sound.run), "--answers", place],
        ["overlap", "--forget", place, "--retain", place], ["apply", place, "--base", str(sound.single), "--out", "x"],
        ["verify", place], ["gate", place], ["compare", place], ["doctor", place], ["ask", place, "--prompt", "a"],
    ]  # fmt: skip
    return Attempt(source.choice(commands), (1, 2))


@attempts(share=2)
def model_whose_files_lead_elsewhere(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    model = Path(shutil.copytree(sound.single, folder / "model"))
    name = source.choice(["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md"])
    (model / name).unlink(missing_ok=True)
    kind = source.choice(["loop", "nowhere", "pipe", "folder", "zero"])
    if kind == "pipe":
        os.mkfifo(model / name)
    elif kind == "folder":
        (model / name).mkdir()
    else:
        (model / name).symlink_to({"loop": name, "nowhere": "nowhere", "zero": "/dev/zero"}[kind])
    return Attempt([*training(sound, model="model"), "--out", "out"], (2,))


@attempts(share=2)
def run_of_a_hostile_name(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    name = source.choice(
        [text for text in HOSTILE if text and "\0" not in text and "/" not in text and len(text) < 200]
    )
    name = name if not name.startswith("-") else f"x{name}"
    name = name.encode("utf-8", "replace").decode()
    shutil.copytree(sound.run, folder / name)
    command = source.choice(
        [["verify"], ["compare"], ["compare", "--format", "markdown"], ["compare", "--format", "csv"], ["report"],
         ["gate", "--require", "forget<=1"]]
    )  # fmt: skip
    return Attempt([command[0], name, *command[1:]], (0,), (f"{name}/report.html", f"{name}/SHA256SUMS"))
