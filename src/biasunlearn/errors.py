"""The errors of a run that the caller can fix, and nothing else.

Any other exception is a bug of this package: the command line reports it with exit code 3.
"""

from typing import Any


class RequestError(ValueError):
    """The request is wrong: bad file, bad option, bad combination. One line; exit code 2.

    The message says what is wrong, where (file and line of the user's data) and the fix.
    """


class DataError(RequestError):
    """Rows of a data file are wrong. `problems` lists all of them, not only the first."""

    def __init__(self, problems: "list[str]"):
        self.problems = problems
        more = f" (and {len(problems) - 1} more such rows; --skip-invalid drops them)"
        super().__init__(problems[0] + (more if len(problems) > 1 else " (--skip-invalid drops it)"))


class UnscorableError(RequestError):
    """Passages that a model cannot score: longer than it takes, or without a token of their own.

    `reasons` holds every one of them: {passage: why}. Where the passages were made of rows of a data file, the caller
    catches this, and names or drops the rows.
    """

    def __init__(self, reasons: "dict[Any, str]"):
        self.reasons = reasons
        passage, reason = next(iter(reasons.items()))
        text = f"{passage.prefix}{passage.text}"
        super().__init__(f"{reason}: {text[:80]!r}{'...' if len(text) > 80 else ''}")


class WriteError(OSError):
    """The disk is full, or a folder can no longer be written to. One line; exit code 3, since the request was right."""
