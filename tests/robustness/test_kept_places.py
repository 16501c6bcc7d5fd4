"""A hundred folders that are no runs, made from seeds: `--overwrite` deletes nothing in any of them."""

import random
from pathlib import Path

import pytest

from checkpoint_files import all_bytes
from srmu.config.settings import make_config
from srmu.errors import InputError
from srmu.export.run_directory import RunDirectory

NAMES = (
    "config.json", "manifest.json", "metrics.jsonl", "results.json", "state.safetensors", "auto.json",
    "model/config.json", "delta.safetensors", "thesis.txt", "src/main.py", ".git/HEAD", "texts/a.jsonl", "report.html",
)  # fmt: skip
CONTENTS = (
    b"", b"{}", b"[]", b"null", b'{"format": 1}', b'{"format": 1, "config": {}, "base": {}}', b'{"model": "x"}',
    b'{"model_type": "llama"}', b'{"step": 1, "loss": 0.5}\n', b"\xff\xfe", b"[" * 5000, b"text",
)  # fmt: skip


@pytest.mark.parametrize("numbers", [range(100), pytest.param(range(1000), marks=pytest.mark.slow)], ids=len)
def test_overwrite_deletes_nothing_that_is_not_ours(numbers: range, tmp_path: Path) -> None:
    for number in numbers:
        source = random.Random(number)
        place = tmp_path / str(number)
        # Always one file that no unfinished run has, so that the right answer is known.
        for name in {*source.sample(NAMES, source.randint(0, 6)), source.choice(NAMES[8:])}:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_bytes(source.choice(CONTENTS))
        before = all_bytes(place)
        config = make_config({"model": "m", "forget": ["text:a b"], "out": str(place), "overwrite": True})
        with pytest.raises(InputError, match="other than a run"):
            RunDirectory.create(config)
        assert all_bytes(place) == before, number
