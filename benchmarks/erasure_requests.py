"""Ten erasure requests in one command, an eleventh, then what was still known again: docs/how-to/erasure-requests.md.

    python benchmarks/erasure_requests.py

A request names three or four African countries, whose capitals the demo's model is to forget; texts and questions are
the demo's. Every step is a command of `srmu request`, as a user types it. A second call goes on where the first one
stopped.
"""

import argparse
import json
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from srmu.cli.app import main as srmu
from srmu.demo.facts import countries
from srmu.demo.model import demo_model
from srmu.demo.questions import NUM_CHOICES
from srmu.demo.requests import MIN_POPULATION, Request, capitals_request
from srmu.errors import RunError
from srmu.inputs.questions import Question, question_line
from srmu.job.erasure.status import request_status
from srmu.results.erasure.log import entries_of, read_log
from srmu.results.erasure.records import Checked
from srmu.results.schema import to_json
from srmu.runtime.files import write_json_atomic
from srmu.runtime.progress import Reporter

NUM_REQUESTS, COUNTRIES_A_REQUEST = 11, 4
KEPT = ("entangled", "neighbours", "other")
MOST_QUESTIONS = 40
"""Of a group that must stay; with more, measuring takes longer than training."""


def groups() -> list[list[str]]:
    """The countries of each request, in the order of their names."""
    names = [c.name for c in countries() if c.continent == "Africa" and c.population >= MIN_POPULATION]
    return [names[i * COUNTRIES_A_REQUEST : (i + 1) * COUNTRIES_A_REQUEST] for i in range(NUM_REQUESTS)]


def write_questions(file: Path, questions: Sequence[Question]) -> str:
    """A file of questions; its path."""
    return write_lines(file, [question_line(question) for question in questions])


def write_texts(file: Path, texts: Sequence[str]) -> str:
    """A file of texts; its path."""
    return write_lines(file, [json.dumps({"text": text}) + "\n" for text in texts])


def write_lines(file: Path, lines: Sequence[str]) -> str:
    """A file of lines; its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(lines), encoding="utf-8")
    return str(file)


def write_settings(folder: Path, whole: Request, settings: dict[str, Any]) -> None:
    """What every run keeps and asks: the capitals of all countries that nobody asked to forget, ordinary paragraphs."""
    material = folder.parent / "texts"
    content = {
        "model": str(demo_model(Reporter())),
        "retain": [
            write_texts(material / "entangled.jsonl", whole.retain_entangled),
            write_texts(material / "ordinary.jsonl", whole.retain_ordinary),
        ],
        "questions": {
            name: write_questions(material / f"questions-{name}.jsonl", whole.questions[name][:MOST_QUESTIONS])
            for name in KEPT
        },
        "sides": {"neighbours": "reported", "entangled": "kept", "other": "kept"},
        "require": ["entangled>=0.95*base", "other>=0.95*base"],
        **settings,
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def new(folder: Path, number: int, names: list[str]) -> None:
    """Write down one request, unless it is there."""
    name = f"request-{number:02}"
    if (folder / "requests" / f"{name}.yaml").exists():
        return
    request, material = capitals_request(names), folder.parent / "texts"
    command(
        "new", str(folder), "--id", name, "--subject", f"the holder of request {number}",
        "--texts", write_texts(material / f"{name}.jsonl", request.forget),
        "--questions", write_questions(material / f"{name}-questions.jsonl", request.questions["forget"]),
        "--ground", "GDPR Art. 17(1)(b), consent withdrawn", "--approved-by", "R. Roe", "--copy",
    )  # fmt: skip


def command(*arguments: str, expected: Sequence[int] = (0,)) -> int:
    """One command of `srmu request`, shown as a user types it."""
    print("srmu request", *arguments, flush=True)
    if (code := srmu(["request", *arguments])) not in expected:
        raise RunError(f"srmu request {arguments[0]} ended with {code}")
    return code


def change_a_byte(folder: Path) -> dict[str, Any]:
    """Change the byte in the middle of the log, look, and put it back."""
    file = folder / "log.jsonl"
    content = file.read_bytes()
    place = len(content) // 2
    file.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    code = command("status", str(folder), expected=(1,))
    found = request_status(folder).problems
    file.write_bytes(content)
    return {"byte": place, "of": len(content), "exit_code": code, "found": list(found)}


def main() -> None:
    """Make the requests, run and close them, and write one JSON file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings over the tool's defaults")
    parser.add_argument("--runs", type=Path, default=Path("runs/erasure_requests"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/erasure_requests.json"))
    arguments = parser.parse_args()
    settings = {key: yaml.safe_load(value) for key, value in (text.split("=", 1) for text in arguments.set)}
    folder = arguments.runs / "erasures"
    asked, done = groups(), len(entries_of(read_log(folder / "log.jsonl"), "checked"))
    for number_of_requests in (NUM_REQUESTS - 1, NUM_REQUESTS):
        if done > number_of_requests - (NUM_REQUESTS - 1):
            continue
        for number in range(number_of_requests):
            new(folder, number + 1, asked[number])
        whole = capitals_request([name for names in asked[:number_of_requests] for name in names])
        write_settings(folder, whole, settings)
        command("run", str(folder), expected=(0, 1))
    if any(line.state == "failed" for line in request_status(folder).requests):
        command("run", str(folder), "--again", expected=(0, 1))
    open_ones = [line.id for line in request_status(folder).requests if line.state == "carried out"]
    if open_ones:
        command("close", str(folder), *open_ones, "--by", "R. Roe, data protection officer")
    command("status", str(folder))
    runs: Sequence[Checked] = entries_of(read_log(folder / "log.jsonl"), "checked")
    status = request_status(folder)
    record = {
        "command": "python benchmarks/erasure_requests.py",
        "settings_over_defaults": settings,
        "chance": 1 / NUM_CHOICES,
        "machine": {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "system": platform.system()},
        "versions": {"python": platform.python_version(), "torch": torch.__version__},
        "runs": [to_json(run) for run in runs],
        "status": to_json(status),
        "one_byte_changed": change_a_byte(folder),
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_json_atomic(arguments.out, record)


if __name__ == "__main__":
    main()
