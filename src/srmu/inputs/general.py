"""Ordinary paragraphs that come with the package: `--retain general`, and the demo's ordinary text.

All were written for srmu, about everyday subjects, without the names that the demo asks for.
"""

import json
from functools import cache
from importlib.resources import files


@cache
def general_paragraphs() -> tuple[str, ...]:
    """The paragraphs, in file order."""
    lines = files("srmu.inputs").joinpath("general.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line)["text"] for line in lines)
