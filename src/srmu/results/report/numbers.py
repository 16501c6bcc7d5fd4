"""How the page writes numbers: each carries its exact value, so that anyone can find it in the run's files."""

import math
from collections.abc import Callable

from markupsafe import Markup

FORMATS: dict[str, Callable[[float], str]] = {
    "plain": lambda value: f"{value:.3f}",
    "signed": lambda value: f"{value:+.3f}".replace("-", "\N{MINUS SIGN}"),
    "count": lambda value: f"{value:,.0f}",
    "percent": lambda value: f"{100 * value:.1f} %",
    "short": lambda value: f"{value:.3g}",
    "seconds": lambda value: f"{value:,.1f} s",
    "megabytes": lambda value: f"{value:,.0f} MB",
}


def number(value: float | None, form: str = "plain") -> Markup:
    """A number from the run's files, as a `<data>` element.

    Args:
        value: As read; none or not finite = a dash.
        form: Key of `FORMATS`.
    """
    if value is None or not math.isfinite(value):
        return Markup('<span title="not known">\N{EN DASH}</span>')
    # Grouping digits breaks nowhere, and neither does a number from its unit.
    text = FORMATS[form](value).replace(" ", "\N{NO-BREAK SPACE}")
    return Markup('<data value="{}">{}</data>').format(repr(value), text)


def with_error(value: float | None, stderr: float | None, form: str = "plain") -> Markup:
    """A number and its standard error, where that is known."""
    if stderr is None or not math.isfinite(stderr):
        return number(value, form)
    return Markup('{} <span class="error">± {}</span>').format(number(value, form), number(stderr))
