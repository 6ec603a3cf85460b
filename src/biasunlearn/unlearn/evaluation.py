"""An evaluation of the stop split: SS of each bias type with its error, and LMS. Typed values, no model, no torch."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from biasunlearn.stats.bootstrap import Sample, resample
from biasunlearn.stats.normal import Z_95
from biasunlearn.stats.stereoset import Comparison, official_lms

INTERVAL_WIDTH = 2 * round(Z_95, 2)
"""Standard errors in a 95 % interval: 3.92. Rounded, since the swap weights of a seed depend on its last digit."""


@dataclass(frozen=True, slots=True)
class BiasTypeScore:
    """SS of one bias type on the stop split, in percent, with its 95 % interval and standard error."""

    ss: float
    low: float
    high: float
    standard_error: float


@dataclass(frozen=True, slots=True)
class StopScores:
    """The scores of one model on the stop split."""

    bias_types: Mapping[str, BiasTypeScore]
    lms: float | None
    """None where no item of the stop split has an unrelated sentence."""

    @property
    def ss(self) -> dict[str, float]:
        """SS of each bias type, in percent."""
        return {name: score.ss for name, score in self.bias_types.items()}

    def to_dict(self) -> dict[str, Any]:
        """What metrics.jsonl stores of an evaluation."""
        return {"ss": self.ss, "lms": self.lms}


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The scores at one step of training, with what the swap and stop rules compare them with."""

    step: int
    scores: StopScores
    lms_before: float | None
    """LMS of the base model."""
    log_ratio: float = 0.0
    """Mean log p_theta - log p_ref of the forget sentences since the last evaluation, in nats."""
    finite: bool = True
    """Whether all losses since the last evaluation were finite."""

    @property
    def lms_fall(self) -> float:
        """Points of LMS lost since training began; 0 where LMS is not measured."""
        lms = self.scores.lms
        return 0.0 if lms is None or self.lms_before is None else self.lms_before - lms


def stop_scores(comparisons: Sequence[Comparison], *, seed: int) -> StopScores:
    """Scores the comparisons of the stop split.

    SS is the mean over items. Target terms of training pairs are partly inferred and of very uneven size, and in the
    official mean over terms a term of one pair would have the weight of a term of thirty.
    """
    by_type: dict[str, list[Comparison]] = defaultdict(list)
    for one in comparisons:
        by_type[one.bias_type].append(one)
    return StopScores({name: _score(by_type[name], seed) for name in sorted(by_type)}, official_lms(comparisons))


def _score(comparisons: Sequence[Comparison], seed: int) -> BiasTypeScore:
    stereotyped = np.array([[one.stereotyped] for one in comparisons])
    terms = [one.target for one in comparisons]
    sample = resample(stereotyped, terms, ["" for _ in terms], seed=[seed, 1])
    found = sample.estimate(lambda means: 100 * means[..., 0])
    return BiasTypeScore(found.value, found.low, found.high, _standard_error(sample))


def _standard_error(sample: Sample) -> float:
    """Of SS, in points: the central 95 % of the draws over 3.92, which a few extreme draws do not change."""
    low, high = (float(np.percentile(100 * sample.clustered[:, 0], end)) for end in (2.5, 97.5))
    return (high - low) / INTERVAL_WIDTH
