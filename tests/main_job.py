"""What the tests of the main job share: texts in the tiny vocabulary, and the command as a user calls it."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srmu.cli.app import main
from tiny_tokenizers import WORDS

FORGET_WORDS, RETAIN_WORDS = WORDS[16:36], WORDS[40:68]
# Few and long steps that move a tiny random model far.
SETTINGS: dict[str, Any] = {
    "layer": 3, "steps": 24, "learning_rate": 2e-2, "retain_weight": 0.5, "steering_coefficient": 1.0,
    "forget_batch_size": 4, "audit": False, "retain_batch_size": 4, "num_self_written": 12, "max_length": 32,
}  # fmt: skip


def flags(**changes: Any) -> list[str]:
    """The settings, with changes, as flags; None leaves one out."""
    given = {name.replace("_", "-"): value for name, value in {**SETTINGS, **changes}.items() if value is not None}
    switches = [f"--{'' if value else 'no-'}{name}" for name, value in given.items() if isinstance(value, bool)]
    pairs = [(f"--{name}", str(value)) for name, value in given.items() if not isinstance(value, bool)]
    return [*switches, *(part for pair in pairs for part in pair)]


def sentences(words: Sequence[str], number: int, seed: int, length: int = 12) -> list[str]:
    """Random sentences of these words."""
    source = random.Random(seed)
    return [" ".join(source.choices(words, k=length)) for _ in range(number)]


FORGET, RETAIN = sentences(FORGET_WORDS, 16, seed=1), sentences(RETAIN_WORDS, 16, seed=2)


def inline(texts: Sequence[str]) -> tuple[str, ...]:
    """Texts as a config holds them."""
    return tuple(f"text:{text}" for text in texts)


def write_texts(folder: Path) -> Path:
    """`forget.txt`, `retain.jsonl` and `questions.jsonl` in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "forget.txt").write_text("\n\n".join(FORGET))
    (folder / "retain.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in RETAIN))
    questions = [
        {"prompt": text.rsplit(" ", 1)[0], "choices": ["stone", "cloud", "harbour", "violet"], "answer": number % 4}
        for number, text in enumerate(FORGET[:4])
    ]
    (folder / "questions.jsonl").write_text("".join(json.dumps(question) + "\n" for question in questions))
    return folder


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The records of `metrics.jsonl`, without their times."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key != "seconds"} for line in lines]


def phrases(texts: Sequence[str]) -> list[bytes]:
    """All runs of three words: what must not be found where texts do not belong."""
    words = [text.split() for text in texts]
    return [" ".join(part[start : start + 3]).encode() for part in words for start in range(len(part) - 2)]


def files_with(folder: Path, texts: Sequence[str]) -> list[str]:
    """Files below the folder that hold three words in a row of one of the texts.

    The user's own questions, which a run keeps so that it can be moved, are left out.
    """
    files = [path for path in folder.rglob("*") if path.is_file() and path.parent.name != "questions"]
    contents = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    wanted = phrases(texts)
    return sorted(name for name, content in contents.items() if any(phrase in content for phrase in wanted))


def call(capsys: Any, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command."""
    capsys.readouterr()
    code = main(arguments)
    captured = capsys.readouterr()
    return code, captured.out, captured.err
