"""Attempts by names and texts: orders in what is printed and written, and texts without measure."""

import csv
import gzip
import io
import json
import random
import shutil
from pathlib import Path
from xml.etree import ElementTree

from robustness.attempt_places import training
from robustness.attempt_records import HOSTILE, RESULTS, copy_of, rewrite
from robustness.attempts import Attempt, Found, SoundRun, attempts, is_order
from robustness.generated_inputs import jsonl
from sealed import seal

FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_is_safe(found: Found) -> str:
    """No cell begins a formula; numbers may begin with a minus."""
    for row in csv.reader(io.StringIO(found.out)):
        for cell in row:
            if cell.startswith(FORMULA) and not cell[1:].replace(".", "").replace("e-", "").isdecimal():
                return f"the cell {cell[:80]!r} begins a formula"
    return ""


def markdown_is_safe(found: Found) -> str:
    """Every line of the table has as many cells, and nothing of a name is HTML."""
    lines = [line.replace("\\\\", "").replace("\\|", "") for line in found.out.splitlines() if line.startswith("|")]
    if len({line.count("|") for line in lines}) != 1:
        return f"the table broke: {found.out[:300]}"
    return "a name is HTML" if "<" in found.out else ""


def junit_is_xml(found: Found) -> str:
    """It can be parsed, and says what was asked."""
    root = ElementTree.fromstring((found.folder / "gate.xml").read_text())
    return "" if root.find("testsuite/testcase") is not None else "there is no test case"


def page_is_safe(found: Found) -> str:
    """No name is a tag or an order."""
    page = (found.folder / "run/report.html").read_text()
    if "<script>alert" in page or any(map(is_order, page)):
        return "a name is a tag or an order"
    return ""


@attempts(share=4)
def names_that_are_orders(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """Groups of a run have names that terminals, spreadsheets, browsers or parsers would obey."""
    run = copy_of(sound, folder)
    results = json.loads((run / RESULTS).read_text())
    names = source.sample([text for text in HOSTILE if text and len(text) < 1000], 3)
    for part in (results["questions"], results["texts"], results["evaluate"]["texts"], results["attacks"]):
        for number, old in enumerate(list(part)):
            part[names[number % 3]] = part.pop(old)
            results["sides"][names[number % 3]] = "kept"
    rewrite(run / RESULTS, results)
    seal(run)
    return source.choice(
        [Attempt(["compare", "run", "--format", "csv"], (0,), judge=csv_is_safe), Attempt(["compare", "run"], (0,)),
         Attempt(["compare", "run", "--format", "markdown"], (0,), judge=markdown_is_safe),
         Attempt(["compare", "run", "--format", "json"], (0,),
         judge=lambda found: "" if json.loads(found.out) else "none"),
         Attempt(["gate", "run", "--require", "none<=1", "--junit", "gate.xml"], (1,), ("gate.xml",), junit_is_xml),
         Attempt(["report", "run"], (0,), ("run/report.html", "run/SHA256SUMS"), page_is_safe),
         Attempt(["verify", "run"], (0,))]
    )  # fmt: skip


@attempts(share=3)
def text_without_measure(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """One text of 30 MB, or a packed file that would fill the memory, wherever texts are read."""
    long = "river " * 5_000_000
    form = source.choice(["questions", "completions", "prompts", "texts", "forget", "bomb", "overlap"])
    question = {"question": long, "choices": ["stone", "cloud"], "answer": 0}
    content = {
        "questions": jsonl([question]), "completions": jsonl([{"prompt": long, "answer": "stone"}]),
        "prompts": jsonl([{"prompt": long}]),
    }.get(form, jsonl([{"text": long}]))  # fmt: skip
    file = folder / ("f.jsonl.gz" if form == "bomb" else "f.jsonl")
    file.write_bytes(gzip.compress(b" " * (1 << 27)) if form == "bomb" else content.encode())
    model = str(sound.single)
    commands = {
        "questions": ["evaluate", model, "--questions", f"a={file}"], "prompts": ["ask", model, "--prompts", str(file)],
        "completions": ["evaluate", model, "--completions", f"a={file}"],
        "forget": training(sound, "--forget", str(file)),
        "texts": ["evaluate", model, "--texts", f"a={file}"],
        "bomb": ["evaluate", model, source.choice(["--questions", "--completions", "--texts"]), f"a={file}"],
        "overlap": ["overlap", "--forget", str(file), "--retain", str(sound.texts / "retain.jsonl")],
    }  # fmt: skip
    return Attempt(commands[form], (2,))


@attempts(share=2)
def chat_template_without_end(source: random.Random, folder: Path, sound: SoundRun) -> Attempt:
    """A template comes with the checkpoint, and may loop."""
    model = Path(shutil.copytree(sound.single, folder / "model"))
    template = source.choice(
        ["{% for a in range(99999) %}{% for b in range(99999) %}x{% endfor %}{% endfor %}",
         "{% for a in range(99999) %}{{ 'x' * 100000 }}{% endfor %}", "{{ 'x' * 10000000000 }}", "{{ 9 ** 9 ** 9 }}",
         "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "{{ '%1000000000s' % 'x' }}", "{{ raise_exception('no') }}"]
    )  # fmt: skip
    (model / "chat_template.jinja").write_text(template)
    questions = f"a={sound.texts / 'questions.jsonl'}"
    command = source.choice(
        [["ask", "model", "--prompt", "river of stone", "--chat"],
         ["evaluate", "model", "--questions", questions, "--chat"],
         training(sound, "--chat", "--out", "out", model="model")]
    )  # fmt: skip
    return Attempt(command, (2,), ("out",))
