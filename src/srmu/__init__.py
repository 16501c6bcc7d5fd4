"""Make a Hugging Face language model forget texts, selectively (SRMU, arXiv 2512.16297).

    from srmu import UnlearnConfig, unlearn

Both names are loaded when first used, so that `import srmu` and `srmu --help` are instant.
"""

import sys
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from srmu.config import UnlearnConfig
    from srmu.unlearn import unlearn

__version__ = "0.1.0"
__all__ = ["UnlearnConfig", "__version__", "unlearn"]


class _LazyPackage(types.ModuleType):
    """This package, with its public names loaded when first used.

    A plain module `__getattr__` would not do for `unlearn`: once anything has imported the module
    `srmu.unlearn`, the import system binds it here, under the name that belongs to the function.
    """

    @property
    def UnlearnConfig(self) -> Any:
        from srmu.config import UnlearnConfig

        return UnlearnConfig

    @property
    def unlearn(self) -> Any:
        from srmu.unlearn import unlearn

        return unlearn

    @unlearn.setter
    def unlearn(self, module: types.ModuleType) -> None:
        """Let the import system's binding of the submodule pass; `sys.modules` holds it."""


sys.modules[__name__].__class__ = _LazyPackage
