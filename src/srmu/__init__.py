"""Make a Hugging Face language model forget texts, selectively (SRMU, arXiv 2512.16297).

    from srmu import UnlearnConfig

    from srmu import unlearn

The names are loaded when first used, so that `import srmu` and `srmu --help` are instant.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srmu.config.settings import UnlearnConfig
    from srmu.job.unlearn import RunResult, unlearn

__version__ = "0.1.0"
__all__ = ["RunResult", "UnlearnConfig", "__version__", "unlearn"]

_HOMES = {"UnlearnConfig": "srmu.config.settings", "RunResult": "srmu.job.unlearn", "unlearn": "srmu.job.unlearn"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'srmu' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)
