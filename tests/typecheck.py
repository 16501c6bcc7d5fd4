"""The type checker that tests apply to the package's functions (`--jaxtyping-packages` in pyproject.toml)."""

from beartype import BeartypeConf, beartype

# PEP 484: an int is a float. Beartype's own default refuses `strength=3`.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
