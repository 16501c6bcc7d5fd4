"""The type checker that tests apply to the package's functions (`--jaxtyping-packages` in pyproject.toml)."""

from typing import Any

from beartype import BeartypeConf, beartype

# PEP 484: an int is a float. Beartype's own default refuses `steering_coefficient=3`.
_beartype: Any = beartype(conf=BeartypeConf(is_pep484_tower=True))


def checked(function: Any) -> Any:
    """Check what a function takes and returns, unless it is made anew with each call of the function around it.

    Making its checks takes milliseconds, and hooks on layers are made thousands of times. Nothing is lost: such
    functions have no shapes (`test_functions_inside_functions_have_no_shapes`).
    """
    return function if "<locals>" in function.__qualname__ else _beartype(function)
