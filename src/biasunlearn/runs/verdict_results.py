"""The verdict of a run, as stored in results.json (stats/verdict.py says how it is reached)."""

from collections.abc import Sequence
from typing import Literal

from biasunlearn.runs.schema import Positive, Record
from biasunlearn.runs.scores import Interval
from biasunlearn.runs.sections import Stopped
from biasunlearn.stats.verdict import BASE_KEPT, COLLAPSED, headline


class Verdict(Record):
    """How a run with a before ended, in one of five words. New in schema 2."""

    value: Literal["fair", "improved", "no evidence", "worse", "failed"]
    reason: str = ""
    margin: Positive | None = None
    """Points of SS on either side of 50 that count as fair."""
    distance_change: Interval | None = None
    """Change of the mean |SS - 50| over bias types, in points; below 0 is better."""
    lms_change: Interval | None = None
    """Change of LMS, in points; None where no item has an unrelated sentence."""
    polarised: Sequence[str] = ()
    """Bias types whose target terms differ beyond chance, so that their SS near 50 is an average of opposites."""

    @property
    def headline(self) -> str:
        """The verdict as it stands on the first line of terminal, page, model card and comparison."""
        return headline(self.value, self.margin)

    @property
    def succeeded(self) -> bool:
        """What `debias --strict` asks for."""
        return self.value in ("fair", "improved")


def failure(collapsed: bool, stopped: Stopped | None) -> Verdict | None:
    """The verdict of a run whose record of training alone shows that it failed; None if it does not show this."""
    if collapsed:
        return Verdict(value="failed", reason=COLLAPSED)
    if stopped is not None and stopped.step > 0 and stopped.best_step == 0:
        return Verdict(value="failed", reason=BASE_KEPT)
    return None
