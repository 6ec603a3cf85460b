"""What one unit of a benchmark gives under one score: the value that is averaged, resampled and compared."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one unit of a benchmark came to under one score: what is averaged, drawn again and compared.

    Every benchmark turns its items into outcomes by a pure function, so that intervals, paired tests and gates need
    not know which benchmark it was.
    """

    unit: str
    """The same for every model that was measured on this data."""
    cluster: str
    """What the bootstrap draws as one: a target term, a template, a prompt."""
    bias_type: str
    score: str
    """ss, accuracy, gap, ..."""
    value: float
