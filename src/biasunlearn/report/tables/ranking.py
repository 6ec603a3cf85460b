"""Which runs or methods are nearest to 50, as far as tests show it: no order where no test distinguishes them."""

from collections.abc import Mapping, Sequence

from biasunlearn.report.formatting import listed, number

MOST_NAMES = 8
"""Names that a sentence lists; the table beside it has them all."""

Nearer = tuple[str, str]
"""Two runs or methods: the first is nearer to 50 than the second, by a test."""


def nearest_sentence(distances: Mapping[str, float], nearer: Sequence[Nearer]) -> str:
    """The runs that no other run is shown to be nearer than, and those that are shown to be farther away.

    Args:
        distances: name of a run -> its mean |SS - 50| over bias types.
        nearer: pairs of these names.
    """
    behind = {farther for better, farther in nearer if better in distances}
    first = [name for name in distances if name not in behind]
    rest = [name for name in distances if name in behind]
    values = [distances[name] for name in first]
    if len(first) == 1:
        found = f"{first[0]} is nearest to 50, on average {number(values[0])} points away over bias types"
        return f"{found}; tests distinguish it from {_named(rest)}." if rest else f"{found}."
    low, high = number(min(values)), number(max(values))
    span = f"{low if low == high else f'{low} to {high}'} points on average over bias types"
    found = f"No test distinguishes the distances from 50 of {_named(first)} ({span})"
    return f"{found}; farther away: {_named(rest)}." if rest else f"{found}."


def _named(names: Sequence[str]) -> str:
    """Their names, or how many there are."""
    return listed(names) if len(names) <= MOST_NAMES else f"{len(names)} rows of the table"
