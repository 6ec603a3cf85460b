"""How far the answer to one prompt differs between base model and debiased model, and when the playground flags it.

The thresholds below are conventions of this package and no tests of significance: they mark single prompts that a
person should read. One prompt is no evidence about a model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

DISTANCE = 0.5
"""Total variation distance from which a prompt is flagged: half of the probability lies on other words."""
FACTOR = 10.0
"""Ratio of two probabilities of a word from which the word is flagged."""
LIKELY = 0.01
"""A word is flagged only if one of the two models gives it at least this probability."""
SURPRISE = 2.0
"""Nats per token by which the base model may find the debiased continuation less likely than its own."""
REPEATED = 1 / 3
"""A continuation with at most this share of different words repeats itself."""
FEWEST_WORDS = 6
"""Shorter continuations are not said to repeat themselves."""

WordRow = tuple[str, float, float]
"""A word, its probability by the base model and by the debiased model."""


@dataclass(frozen=True, slots=True)
class PromptChange:
    """The differences between base and debiased model on one prompt."""

    distance: float
    """Total variation distance of the two distributions of the next token, or of the words in a BLANK: 0 to 1."""
    words: tuple[WordRow, ...] = ()
    """The words whose probability changed by `FACTOR` or more."""
    surprise: float | None = None
    """Mean log-probability per token, by the base model, of its own continuation minus that of the debiased one, in
    nats; None where there is no continuation."""
    repeats: bool = False
    """Whether the debiased continuation repeats itself and that of the base model does not."""

    @property
    def reasons(self) -> list[str]:
        """Why the prompt is flagged, as sentences without a period; empty if it is not."""
        found = []
        if self.distance >= DISTANCE:
            found.append(f"{100 * self.distance:.0f} % of the probability lies on other words than before")
        found += [f"“{word}” went from {_percent(base)} to {_percent(debiased)}" for word, base, debiased in self.words]
        if self.surprise is not None and self.surprise >= SURPRISE:
            found.append(
                f"the base model finds the debiased continuation less likely than its own, by {self.surprise:.1f} nats "
                "per token"
            )
        if self.repeats:
            found.append("the debiased continuation repeats itself")
        return found


def prompt_change(
    words: Sequence[WordRow], distance: float, texts: tuple[str, str] = ("", ""), surprise: float | None = None
) -> PromptChange:
    """The differences on one prompt.

    Args:
        texts: the continuations by the base model and by the debiased model.
        surprise: see PromptChange.
    """
    repeats = repeats_itself(texts[1]) and not repeats_itself(texts[0])
    return PromptChange(distance, tuple(row for row in words if changed_strongly(*row[1:])), surprise, repeats)


def total_variation(first: Sequence[float], second: Sequence[float]) -> float:
    """Half of the sum of absolute differences of two distributions over the same outcomes.

    By hand: (0.5, 0.5) and (0.9, 0.1) -> 0.4.
    """
    return sum(abs(one - other) for one, other in zip(first, second, strict=True)) / 2


def changed_strongly(first: float, second: float) -> bool:
    """Whether two probabilities differ by `FACTOR` or more, and one of them is at least `LIKELY`."""
    small, large = sorted((first, second))
    return large >= LIKELY and large >= FACTOR * small


def repeats_itself(text: str) -> bool:
    """By hand: "no no no no no no" has 1 different word of 6 -> True."""
    words = text.casefold().split()
    return len(words) >= FEWEST_WORDS and len(set(words)) <= REPEATED * len(words)


def _percent(value: float) -> str:
    return f"{100 * value:.1f} %" if value >= 0.001 else "below 0.1 %"
