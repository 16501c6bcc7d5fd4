"""Errors that a user can meet; the command line turns each into one sentence and an exit code."""


class SrmuError(Exception):
    """Base of all errors that srmu raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 1


class InputError(SrmuError):
    """The request or a file it names is wrong: what was asked, what was found, what to do."""

    exit_code = 2


class RunError(SrmuError):
    """A run that started could not end well (a loss that is not finite, nothing changed, a check failed)."""

    exit_code = 3


class Interrupted(KeyboardInterrupt):
    """A run ended between two steps because it was asked to; the message says how to go on.

    Attributes:
        exit_code: 128 plus the signal's number, as shells count: 130 for Ctrl-C, 143 for SIGTERM.
    """

    def __init__(self, message: str, signal_number: int):
        super().__init__(message)
        self.exit_code = 128 + signal_number


def nearest_hint(name: str, known: list[str] | tuple[str, ...]) -> str:
    """Return ` Did you mean 'x'?` for the known name nearest to `name`, or an empty string."""
    import difflib

    matches = difflib.get_close_matches(name, known, n=1, cutoff=0.55)
    return f" Did you mean {matches[0]!r}?" if matches else ""
