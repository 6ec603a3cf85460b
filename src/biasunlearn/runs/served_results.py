"""The result of `verify`: whether a server answers as the debiased model."""

from collections.abc import Sequence
from typing import Literal

from biasunlearn.runs.schema import Count, Number, Record, Text

ServedVerdict = Literal["applied", "not applied", "partly", "another model"]


class ServedItem(Record):
    """A text that the server was asked about."""

    text: str
    control: bool = False
    """Whether base and debiased model agree on it, so that both must be met."""
    base: Number | None = None
    debiased: Number | None = None
    """Log-probabilities of the text here, in nats, with the adapter off and on."""
    served: Number | None = None
    served_base: Number | None = None
    base_text: Text = None
    debiased_text: Text = None
    served_text: Text = None
    """Greedy continuations, where the server gives no log-probabilities."""
    ratio: Number | None = None
    """Of a seeded continuation by the server: its log-probability by the debiased model less that by the base."""


class ServedResult(Record):
    """What `verify` returns."""

    run: str
    endpoint: str
    model: str
    base: Text = None
    how: Literal["log-probabilities", "continuations"]
    verdict: ServedVerdict
    reason: str
    p: Number
    """Of the hypothesis that the answers are no nearer to the debiased model than to the base (one-sided)."""
    n: Count
    """Texts on which the two models differ most."""
    controls: Count
    nearer: Count
    """Texts whose answer is nearer to the debiased model than to the base."""
    slope: Number | None = None
    correlation: Number | None = None
    """Of the differences at the server and here. 1 and 1: the adapter is on in full."""
    noise: Number | None = None
    """Nats by which the same request differs when it is made twice."""
    control_difference: Number | None = None
    """Largest difference of a control text from its value here, in nats per token."""
    as_base: Count | None = None
    controls_met: Count | None = None
    ratio: Number | None = None
    """Sum of the log-likelihood ratios of seeded continuations, in nats; above 0 speaks for the debiased model. It
    does not decide: how a text is divided into tokens is not known."""
    items: Sequence[ServedItem] = ()

    @property
    def applied(self) -> bool:
        return self.verdict == "applied"
