"""The ways in which a run can fail that are the caller's to mend, and nothing else.

Anything that is not one of these is a bug of ours: the command line lets it through as exit code 3.
"""


class RequestError(ValueError):
    """The request is wrong: bad file, bad option, bad combination. One line; exit code 2.

    The message says what is wrong, where (file and line of the user's data) and the mend.
    """


class DataError(RequestError):
    """Rows of a data file are wrong. `problems` holds every one of them, not only the first."""

    def __init__(self, problems: "list[str]"):
        self.problems = problems
        more = f" (and {len(problems) - 1} more such rows; --skip-invalid drops them)"
        super().__init__(problems[0] + (more if len(problems) > 1 else " (--skip-invalid drops it)"))


class WriteError(OSError):
    """The disk is full, or a folder cannot be written any more. One line; exit code 3, since the request was right."""
