import re
import shutil
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


def test_the_python_example_of_the_readme_runs_as_it_stands(saved_family, tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    if not blocks:
        pytest.fail("README.md has no Python example")
    shutil.copytree(saved_family("llama_tied"), tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SRMU_CACHE", str(tmp_path / "cache"))
    names: dict = {}
    exec(compile(blocks[0], "README.md", "exec"), names)
    assert names["result"].model_dir.is_dir()
    assert next(names["model"].parameters()).isfinite().all()
