"""An evaluation of the stop split: SS of each bias type with its error, and LMS. Typed values, no model, no torch.

With `swap_by: subgroup` SS is also estimated for the subgroups of each bias type (data/subgroups.py), for which the
swap rule then has a weight each. A subgroup has few pairs, so that its SS is shrunk towards that of its bias type.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.special import stdtrit

from biasunlearn.data.records import Triplet
from biasunlearn.stats.bootstrap import FEW_CLUSTERS, Sample, resample
from biasunlearn.stats.normal import Z_95
from biasunlearn.stats.stereoset import Comparison, official_lms
from biasunlearn.unlearn.swap_parts import SwapParts

INTERVAL_WIDTH = 2 * round(Z_95, 2)
"""Standard errors in a 95 % interval: 3.92. Rounded, since the swap weights of a seed depend on its last digit."""

SUBGROUP_SPREAD = 5.0
"""Points of SS by which subgroups are expected to lie around their bias type: the margin of the verdicts."""


@dataclass(frozen=True, slots=True)
class BiasTypeScore:
    """SS of one bias type on the stop split, in percent, with its 95 % interval and standard error."""

    ss: float
    low: float
    high: float
    standard_error: float
    pairs: int = 0


def ss_of(scores: Mapping[str, BiasTypeScore]) -> dict[str, float]:
    """SS of each bias type or part of one, in percent."""
    return {name: score.ss for name, score in scores.items()}


@dataclass(frozen=True, slots=True)
class StopScores:
    """The scores of one model on the stop split."""

    bias_types: Mapping[str, BiasTypeScore]
    lms: float | None
    """None where no item of the stop split has an unrelated sentence."""
    meaningful: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """What LMS is the mean of: for each target term the values of its items (0, 0.5 or 1), in a fixed order."""
    stop_split: Mapping[str, float] = field(default_factory=dict)
    """SS on the stop split alone, where `bias_types` also uses the training pairs (`stop_scores`)."""
    subgroups: Mapping[str, BiasTypeScore] = field(default_factory=dict)
    """Shrunk SS of each part of a bias type that has a swap weight of its own; empty with `swap_by: bias_type`."""
    evaluated: int | None = None
    """Items that a sequential evaluation scored; None: all of them."""

    @property
    def ss(self) -> dict[str, float]:
        """SS of each bias type, in percent."""
        return ss_of(self.bias_types)

    @property
    def controlled(self) -> Mapping[str, BiasTypeScore]:
        """The scores that the swap and stop rules act on: of the subgroups where there are any, else of bias types."""
        return self.subgroups or self.bias_types

    def to_dict(self) -> dict[str, Any]:
        """What metrics.jsonl stores of an evaluation."""
        only: dict[str, Any] = {"subgroups": ss_of(self.subgroups)} if self.subgroups else {}
        if self.evaluated is not None:
            only["evaluated_items"] = self.evaluated
        return {"ss": dict(self.stop_split) or self.ss, "lms": self.lms, **only}


@dataclass(frozen=True, slots=True)
class BaseAnswers:
    """The base model's comparisons of the stop pairs and of the training pairs, neither of which it has seen."""

    stop: Sequence[Comparison]
    train: Sequence[Comparison]


def base_pairs(train: Sequence[Triplet], stop: Sequence[Triplet], items: int | None) -> list[Triplet]:
    """The training pairs that the base model answers for `BaseAnswers`, without their unrelated sentences.

    Args:
        items: the largest number of pairs of a bias type (`stop_items`); None: all of them.
    """
    kinds, count = {c.kind for c in stop}, Counter[str]()
    pairs = []
    for pair in train:
        count[pair.bias_type] += pair.kind in kinds
        if pair.kind in kinds and (items is None or count[pair.bias_type] <= items):
            pairs.append(replace(pair, unrelated=None))
    return pairs


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
    fall_error: float = 0.0
    """Points of LMS that a fall may be due to chance (`lms_fall_error`)."""

    @property
    def lms_fall(self) -> float:
        """Points of LMS lost since training began; 0 where LMS is not measured."""
        lms = self.scores.lms
        return 0.0 if lms is None or self.lms_before is None else self.lms_before - lms


def lms_fall_error(before: Mapping[str, tuple[float, ...]], after: Mapping[str, tuple[float, ...]]) -> float:
    """How far a fall of LMS on the stop split can lie from the fall on all items of its kind, in points.

    The half-width of a one-sided 95 % interval of the paired difference: t(0.95, units - 1) times its standard error,
    with target terms as the units or with items, whichever is larger, since two terms may agree by chance. On 5,000
    items it is a fraction of a point, on 18 items 5 to 15 points.

    By hand: three terms of one item each, of which one fell from 1 to 0. The mean fall is 33.3 points; the standard
    deviation of 0, 0, 1 is 0.577, the standard error 33.3, t(0.95, 2) = 2.92, the result 97.3.

    Args:
        before, after: `StopScores.meaningful` of the base model and of another one, on the same items.
    """
    changes = [np.subtract(before[term], after[term]) for term in before if term in after]
    if not changes:
        return 0.0
    terms = np.array([change.mean() for change in changes])
    # Each item with its weight in the mean over terms, times the number of items: their mean is the fall as well.
    items = np.concatenate([change / len(change) for change in changes])
    items = items * len(items) / len(changes)
    return 100 * max(_half_width(terms), _half_width(items))


def _half_width(values: np.ndarray) -> float:
    freedom = len(values) - 1
    return float(stdtrit(freedom, 0.95) * values.std(ddof=1) / np.sqrt(len(values))) if freedom else 0.0


def stop_scores(
    comparisons: Sequence[Comparison],
    *,
    seed: int,
    base: BaseAnswers | None = None,
    parts: SwapParts | None = None,
) -> StopScores:
    """Scores the comparisons of the stop split.

    SS is the mean over items. Target terms of training pairs are partly inferred and of very uneven size, and in the
    official mean over terms a term of one pair would have the weight of a term of thirty.

    Args:
        base: with it SS is the base model's SS on all pairs, the training pairs too, plus the change since then on the
            stop split (a difference estimator). The model that is trained is still judged by held-out pairs only, but
            where it began is known from two to three times as many, which matters most in a small file.
        parts: the parts of bias types that have a swap weight of their own; None: `StopScores.subgroups` is empty.
    """
    by_type = _by_type(comparisons)
    meaningful = _meaningful(comparisons)
    best, measured = _type_scores(by_type, seed, base)
    subgroups = {} if parts is None else _subgroup_scores(best, comparisons, base, parts, seed)
    return StopScores(best, official_lms(comparisons), meaningful, measured, subgroups)


def _type_scores(
    by_type: Mapping[str, Sequence[Comparison]], seed: int, base: BaseAnswers | None
) -> tuple[dict[str, BiasTypeScore], dict[str, float]]:
    """The score of each bias type, and with `base` also its SS on the stop split alone."""
    if base is None:
        return {name: _score(by_type[name], seed) for name in sorted(by_type)}, {}
    began, others = _by_type(base.stop), _by_type(base.train)
    best = {
        name: _from_base(by_type[name], began[name], others[name]) if others.get(name) else _score(by_type[name], seed)
        for name in sorted(by_type)
    }
    return best, {name: 100 * float(np.mean([one.stereotyped for one in by_type[name]])) for name in best}


def _subgroup_scores(
    types: Mapping[str, BiasTypeScore],
    comparisons: Sequence[Comparison],
    base: BaseAnswers | None,
    parts: SwapParts,
    seed: int,
) -> dict[str, BiasTypeScore]:
    """The shrunk score of each part; a part without stop pairs has the score of its bias type."""
    now = _by_type(comparisons, parts.of)
    own = {name: _score(of_part, seed) for name, of_part in now.items()}
    if base is not None:
        own = _known_from_base(own, now, _by_type(base.stop, parts.of), _by_type(base.train, parts.of))
    return {
        name: shrunk(own[name], types[bias_type]) if name in own else types[bias_type]
        for name, bias_type in parts.bias_types.items()
        if bias_type in types
    }


def shrunk(own: BiasTypeScore, whole: BiasTypeScore) -> BiasTypeScore:
    """The score of a part of a bias type, moved towards that of the whole by as much as it is uncertain.

    The posterior mean of a normal model: the parts lie around the SS of the bias type with a standard deviation of
    `SUBGROUP_SPREAD` points. With w = spread^2 / (spread^2 + standard error^2) it is w own + (1 - w) whole, with the
    variance w * standard error^2 + (1 - w)^2 * (standard error of the whole)^2.

    By hand: own 34 +- 5, whole 50 +- 3, spread 5: w = 25 / 50, SS 42, variance 0.5 * 25 + 0.25 * 9 = 14.75.
    """
    weight = SUBGROUP_SPREAD**2 / (SUBGROUP_SPREAD**2 + own.standard_error**2)
    value = weight * own.ss + (1 - weight) * whole.ss
    error = float(np.sqrt(weight * own.standard_error**2 + (1 - weight) ** 2 * whole.standard_error**2))
    return BiasTypeScore(value, value - Z_95 * error, value + Z_95 * error, error, own.pairs)


def _known_from_base(
    scores: Mapping[str, BiasTypeScore],
    now: Mapping[str, Sequence[Comparison]],
    began: Mapping[str, Sequence[Comparison]],
    others: Mapping[str, Sequence[Comparison]],
) -> dict[str, BiasTypeScore]:
    """`_from_base` for each name that the base model also answered training pairs of."""
    return {
        name: _from_base(now[name], began[name], others[name]) if others.get(name) else score
        for name, score in scores.items()
    }


def _by_type(
    comparisons: Sequence[Comparison], key: Callable[[str, str], str] = lambda bias_type, target: bias_type
) -> dict[str, list[Comparison]]:
    """The comparisons by bias type, or by what `key` makes of bias type and target term."""
    found: dict[str, list[Comparison]] = defaultdict(list)
    for one in comparisons:
        found[key(one.bias_type, one.target)].append(one)
    return dict(found)


def _from_base(
    now: Sequence[Comparison], before: Sequence[Comparison], others: Sequence[Comparison]
) -> BiasTypeScore:
    """SS of the base model on all pairs plus the change of SS on the stop pairs; its error by target term.

    The error is that of a sum over target terms (linearisation): a pair contributes its change, over the number of stop
    pairs, and the base model's answer, over the number of all pairs, both from their means.
    """
    by_item = {one.cluster: one.stereotyped for one in before}
    changes = np.array([one.stereotyped - by_item[one.cluster] for one in now])
    answers = np.array([by_item[one.cluster] for one in now] + [one.stereotyped for one in others])
    parts = (answers - answers.mean()) / len(answers)
    parts[: len(changes)] += (changes - changes.mean()) / len(changes)
    terms: dict[str, float] = defaultdict(float)
    for one, part in zip((*now, *others), parts, strict=True):
        terms[one.target] += float(part)
    sums = np.array(list(terms.values()))
    count, few = len(sums), len(sums) < FEW_CLUSTERS
    error = 100 * max(_error_of_sum(sums), _error_of_sum(parts) if few else 0.0)
    value = 100 * float(answers.mean() + changes.mean())
    half = float(stdtrit(max(1, count - 1), 0.975)) * error
    return BiasTypeScore(min(100.0, max(0.0, value)), value - half, value + half, error, len(answers))


def _error_of_sum(parts: np.ndarray) -> float:
    count = len(parts)
    return float(np.sqrt(count / (count - 1) * (parts**2).sum())) if count > 1 else 0.0


def _meaningful(comparisons: Sequence[Comparison]) -> dict[str, tuple[float, ...]]:
    found: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for one in comparisons:
        if one.meaningful is not None:
            found[f"{one.bias_type}/{one.target}"].append((one.cluster, one.meaningful))
    return {term: tuple(value for _, value in sorted(found[term])) for term in sorted(found)}


def _score(comparisons: Sequence[Comparison], seed: int) -> BiasTypeScore:
    comparisons = sorted(comparisons, key=lambda one: (one.target, one.stereotyped))  # the order has no effect
    stereotyped = np.array([[one.stereotyped] for one in comparisons])
    terms = [one.target for one in comparisons]
    sample = resample(stereotyped, terms, ["" for _ in terms], seed=[seed, 1])
    found = sample.estimate(lambda means: 100 * means[..., 0])
    return BiasTypeScore(found.value, found.low, found.high, _standard_error(sample), len(terms))


def _standard_error(sample: Sample) -> float:
    """Of SS, in points: the central 95 % of the draws over 3.92, which a few extreme draws do not change.

    With few target terms, which may agree by chance, the larger one of drawing terms and of drawing pairs.
    """
    parts = [sample.clustered] if sample.items is None else [sample.clustered, sample.items]
    ends = [np.percentile(100 * drawn[:, 0], (2.5, 97.5)) for drawn in parts]
    return max(float(high - low) for low, high in ends) / INTERVAL_WIDTH
