"""README's Python example, as it stands there, on a tiny model."""

import re
from pathlib import Path

import pytest
import torch

README = Path(__file__).parents[1] / "README.md"
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture
def example():
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert blocks, "README.md has no Python example"
    return blocks[0]


def test_the_example_is_short(example):
    assert len(example.strip().splitlines()) <= 12


def test_the_example_runs_on_a_model_object_and_leaves_no_file(example, saved_family, tmp_path, monkeypatch):
    assert example.count(MODEL) == 2
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(compile(example.replace(MODEL, str(saved_family("llama_tied"))), "README.md", "exec"), names)
    assert list(tmp_path.iterdir()) == []
    before, after = (dict(names[name].named_parameters()) for name in ("model", "patched"))
    changed = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert changed == set(names["result"].matrices)
    assert changed
