"""What a run says about the base model before training: what its own pairs can tell, and where the report disagrees.

Only for reading: no figure of the report split has an effect on training.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from biasunlearn.config import DebiasConfig
from biasunlearn.stats.normal import Z_95
from biasunlearn.unlearn.decision import first_decision
from biasunlearn.unlearn.evaluation import BiasTypeScore, Evaluation, StopScores
from biasunlearn.unlearn.swap import IDEAL


@dataclass(frozen=True, slots=True)
class ReportedScore:
    """SS of the base model on the report split, the pairs pooled as on the stop split, with its 95 % interval."""

    ss: float
    low: float
    high: float
    pairs: int


FEWEST_PAIRS = 20
"""Of a bias type in the report file, at least: the interval of fewer pairs can have no width at all (--limit 20)."""


def base_findings(stop: StopScores, report: Mapping[str, ReportedScore], config: DebiasConfig) -> list[str]:
    """One line for each bias type that is held (or subgroup, if these have the swap weights), and one for each bias
    type where the two splits disagree about the base model.

    They disagree where the difference of their SS is larger than its 95 % interval, or where one of the two intervals
    excludes 50 and the other does not, or both do, on different sides. Bias types with fewer than `FEWEST_PAIRS` pairs
    in the report file are left out.
    """
    held = first_decision(Evaluation(0, stop, stop.lms), config).held
    lines = []
    for name, score in stop.controlled.items():
        if name in held:
            lines.append(
                f"{name}: held, not trained, as its SS cannot be told from 50 ({_in_words(score)}, "
                f"{score.pairs} pairs); it is trained if that changes"
            )
    for name, score in stop.bias_types.items():
        reported = report.get(name)
        if reported is not None and reported.pairs >= FEWEST_PAIRS and (why := _disagreement(score, reported)):
            lines.append(
                f"{name}: the training file and the report file disagree about the base model: {_in_words(score)} and "
                f"{_in_words(reported)}; {why}"
            )
    return lines


def _disagreement(stop: BiasTypeScore, report: ReportedScore) -> str:
    """How they disagree, in words; empty if they do not."""
    here, there = _side(stop), _side(report)
    if here != there and not here:
        return "only the second excludes 50, and training follows the first"
    if here != there and not there:
        return "only the first excludes 50, and training follows it"
    error = ((report.high - report.low) / (2 * Z_95)) ** 2 + stop.standard_error**2
    if here != there or abs(stop.ss - report.ss) > Z_95 * error**0.5:
        return "they differ by more than chance, and training follows the first"
    return ""


def _side(score: BiasTypeScore | ReportedScore) -> int:
    """1 if the interval lies above 50, -1 if below, 0 if it contains 50."""
    return int(score.low > IDEAL) - int(score.high < IDEAL)


def _in_words(score: BiasTypeScore | ReportedScore) -> str:
    return f"SS {score.ss:.1f} ({score.low:.1f} to {score.high:.1f})"
