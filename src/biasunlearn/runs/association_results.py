"""The types of what is stored about the association itself: replaced target terms, and its change by debiasing."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Self

from biasunlearn.runs.schema import Count, Number, Record, Whole
from biasunlearn.runs.scores import Interval

if TYPE_CHECKING:  # only named here
    from biasunlearn.stats.association import PartChange


class ReplacedFacts(Record):
    """How target terms were replaced, for the group part and the wording part of each pair's margin."""

    count: Count
    """Versions of each pair, at most."""
    seed: Whole = 0
    pairs: Count = 0
    """Pairs that have at least one version."""
    sentences: Count = 0
    """Sentences that were scored for this, beside those of the data."""
    left_out: Sequence[str] = ()
    """Pairs without a version, by their ids, and why."""


class MeanChange(Record):
    """A mean over the same pairs before and after."""

    n: Count
    before: Interval
    after: Interval
    difference: Interval
    p: Number
    """From flipping the signs of the differences of whole target terms."""
    remaining: Interval | None = None
    """After over before, as a share; only where the interval before excludes 0."""

    @classmethod
    def of(cls, found: "PartChange") -> Self:
        """From a change of the statistics."""
        means = {name: Interval.of(getattr(found, name)) for name in ("before", "after", "difference")}
        share = {} if found.remaining is None else {"remaining": Interval.of(found.remaining)}
        return cls(n=found.n, p=found.p, **means, **share)


class WordingChange(Record):
    """Pairs whose attribute words were equally often in training, before and after."""

    ss: MeanChange
    margin_group: MeanChange | None = None


class AssociationChange(Record):
    """What debiasing changed, pair by pair. New in schema 2."""

    overall: MeanChange | None = None
    """The mean group part, in nats a token."""
    bias_types: Mapping[str, MeanChange] = {}
    wording: Mapping[str, WordingChange] = {}
    """By how many of a pair's attribute words were in the training pairs: both, one, neither."""
