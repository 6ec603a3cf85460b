"""What every evidence file is made from: whose results they are, and the scores of a stage as a flat list."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from biasunlearn.runs.results import BenchmarkResult, Interval, Metric

OVERALL = "overall"

PERCENT = (0.0, 100.0)

RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(
        ("ss", "lms", "icat", "stereotype_share", "pro_likelier", "accuracy_ambig", "accuracy_disambig", "accuracy_pro",
         "accuracy_anti", "accuracy_neutral", "ss_negated", "ss_swapped", "ss_plain", "ss_stable", "meaningful",
         "in_order", "scored"),
        PERCENT,
    ),
    **dict.fromkeys(("different", "refused_some"), PERCENT),
    "fairness": (0.0, 1.0),
    **dict.fromkeys(("s_amb", "s_dis"), (-1.0, 1.0)),
    "per_token": (1.0, math.inf),
    "per_byte": (1.0, math.inf),
}  # fmt: skip
"""Smallest and largest possible value of a score. One that is not listed is taken as unbounded."""

LOWER_IS_BETTER = ("per_token", "per_byte")
"""Scores without an ideal value that are better the smaller they are: perplexities."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose results the evidence is."""

    name: str
    """OWNER/NAME of the model at its last stage."""
    base: str
    """OWNER/NAME of the base model."""
    organization: str
    """Who provides the evidence."""
    recorded: int
    """When results.json was written, in seconds since 1970."""
    digest: str
    """SHA-256 of results.json. Identifiers are made from it, so that the same run always has the same ones."""
    adapter_sha256: str | None = None
    partial: str = ""
    """That a sample of the items was measured only, and how many; empty where all were."""

    def named(self, stage: str) -> str:
        """The model of a stage: before, after, or "" where there is only one."""
        return self.base if stage == "before" else self.name


@dataclass(frozen=True, slots=True)
class Measurement:
    """One score of one bias type, or of all together."""

    benchmark: str
    part: str
    """The bias type, or "overall"."""
    score: str
    value: float
    low: float | None
    high: float | None
    n: int
    """Items that the score is about; 0 where a benchmark has none (perplexity)."""
    ideal: float | None
    sha256: str | None
    """Of the data file."""

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest possible value."""
        return RANGES.get(self.score, (-math.inf, math.inf))

    @property
    def is_target(self) -> bool:
        """Whether the ideal is a value to be met rather than an end of the range, as 50 is for SS."""
        return self.ideal is not None and self.ideal not in self.range

    @property
    def lower_is_better(self) -> bool:
        return self.score in LOWER_IS_BETTER or (self.ideal is not None and self.ideal == self.range[0])

    @property
    def distance(self) -> "Measurement":
        """The distance from the ideal, for readers that know higher and lower only. Its interval follows from ours.

        By hand: SS 52 (48 to 57) -> 2 (0 to 7); SS 40 (35 to 45) -> 10 (5 to 15).
        """
        assert self.ideal is not None
        low = high = None
        if self.low is not None and self.high is not None:
            ends = sorted(abs(end - self.ideal) for end in (self.low, self.high))
            low, high = (0.0 if self.low <= self.ideal <= self.high else ends[0]), ends[1]
        value = abs(self.value - self.ideal)
        return Measurement(self.benchmark, self.part, f"{self.score}_distance", value, low, high, self.n, 0.0,
                           self.sha256)  # fmt: skip

    def in_words(self) -> str:
        """The value with its interval: 57.2 (54.9 to 59.4)."""
        places = 1 if max(abs(self.value), abs(self.low or 0), abs(self.high or 0)) >= 10 else 3
        ends = "" if self.low is None else f" ({self.low:.{places}f} to {self.high:.{places}f})"
        return f"{self.value:.{places}f}{ends}"


def measurements(entries: Mapping[str, BenchmarkResult]) -> Iterator[Measurement]:
    """The scores that each benchmark is known by, of every bias type and overall, except those without a value."""
    for benchmark, entry in entries.items():
        for part, scored in {**entry.parts, OVERALL: entry.whole}.items():
            for score in entry.shown_scores or scored.scores:
                found = scored.scores.get(score)
                if found is None:
                    continue
                ends = found if isinstance(found, Interval | Metric) else Metric(value=found)
                n = found.n if isinstance(found, Interval) and found.n is not None else scored.n
                ideal = entry.ideals.get(score)
                yield Measurement(
                    benchmark, part, score, ends.value, ends.low, ends.high, n, ideal, entry.sha256
                )


def undefined(entries: Mapping[str, BenchmarkResult]) -> list[str]:
    """The scores that have no value, as "benchmark, bias type: score". They are in no evidence file."""
    return [
        f"{benchmark}, {part}: {score}"
        for benchmark, entry in entries.items()
        for part, scored in {**entry.parts, OVERALL: entry.whole}.items()
        for score in entry.shown_scores
        if scored.scores.get(score) is None
    ]
