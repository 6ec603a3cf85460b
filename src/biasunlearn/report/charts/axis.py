"""Numbers to positions on an axis. Nothing is drawn here."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from biasunlearn.runs.scores import Interval
from biasunlearn.stats.bootstrap import Estimate

Span = Interval | Estimate
"""A value with its interval: what is drawn."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of numbers, laid out from `start` to `end`."""

    low: float
    high: float
    start: float = 0.0
    end: float = 100.0

    def at(self, value: float) -> float:
        """The position of a value. A value outside the range is put on the edge.

        By hand: Axis(40, 60).at(45) -> 25.0
        """
        share = (min(max(value, self.low), self.high) - self.low) / ((self.high - self.low) or 1.0)
        return round(self.start + share * (self.end - self.start), 2)

    def ticks(self, count: int = 6) -> list[float]:
        """Round numbers inside, about as many as asked for. By hand: Axis(38, 62).ticks(5) -> [40, 45, 50, 55, 60]"""
        step = _round_step((self.high - self.low) / max(1, count))
        first = math.ceil(round(self.low / step, 9))
        last = math.floor(round(self.high / step, 9))
        return [round(number * step, 10) for number in range(first, last + 1)]


@dataclass(frozen=True, slots=True)
class Scale:
    """What all intervals in one column of a table are drawn on."""

    axis: Axis
    ideal: float | None = None
    margin: float = 0.0
    """Half the width of the band around the ideal that counts as reached."""


def around(middle: float, values: Iterable[float], least: float) -> Axis:
    """An axis centred on `middle`, wide enough for every value and for at least `least` to either side."""
    reach = max([least, *(abs(value - middle) for value in values)]) * 1.08
    return Axis(middle - reach, middle + reach)


def covering(values: Iterable[float], *, start: float = 0.0, end: float = 100.0) -> Axis:
    """An axis from the smallest to the largest value, with a small margin at both ends."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    margin = 0.06 * (high - low) or max(abs(high), 1.0) * 0.05
    return Axis(low - margin, high + margin, start, end)


def tick_label(value: float) -> str:
    """A tick's label, without trailing zeros."""
    return f"{value:g}".replace("-", "\u2212")


def _round_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least as large as asked."""
    if not rough > 0 or not math.isfinite(rough):
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
