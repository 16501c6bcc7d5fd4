"""Every flipped byte of a result is caught by `srmu verify`: in weights that changed, in others, in any file."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from main_job import call, flags, write_texts


@pytest.fixture(scope="module")
def run(saved_family: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of a checkpoint in shards."""
    folder = tmp_path_factory.mktemp("flipped")
    texts = write_texts(folder / "texts")
    sources = ["--forget", str(texts / "forget.txt"), "--retain", str(texts / "retain.jsonl")]
    command = ["unlearn", str(saved_family("llama", sharded=True)), *sources, *flags(steps=2), "--no-eval"]
    from srmu.cli.app import main

    assert main([*command, "--out", str(folder / "run")]) == 0
    return folder / "run"


@pytest.mark.parametrize("number", [*range(6), *(pytest.param(n, marks=pytest.mark.slow) for n in range(6, 100))])
def test_a_flipped_bit_is_found(number: int, run: Path, tmp_path: Path, capsys: Any) -> None:
    source = random.Random(number)
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    assert number > 0 or call(capsys, "verify", str(copy))[0] == 0
    shard = source.choice(sorted((copy / "model").glob("*.safetensors")))
    content = bytearray(shard.read_bytes())
    header = 8 + int.from_bytes(content[:8], "little")
    content[source.randrange(header, len(content))] ^= 1 << source.randrange(8)
    shard.write_bytes(bytes(content))
    code, output, errors = call(capsys, "verify", str(copy))
    assert code == 1, errors
    assert shard.name in output + errors
