"""The value of one unit of a benchmark under one score: what is averaged, resampled and compared."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    """The value of one unit of a benchmark under one score.

    Every benchmark converts its items to outcomes with a pure function, so that intervals, paired tests and gates do
    not depend on the benchmark.
    """

    unit: str
    """Identifies the unit; the same for every model that is measured on this data."""
    cluster: str
    """What the bootstrap draws as a whole: a target term, a template, a prompt."""
    bias_type: str
    score: str
    """ss, accuracy, gap, ..."""
    value: float
