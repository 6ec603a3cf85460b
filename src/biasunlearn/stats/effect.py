"""The share of the debiasing effect that is kept on another model: a pure function of item values."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from biasunlearn.stats.bootstrap import Estimate, Floats, Sample, percentile, resample
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.paired import LEVEL, holm


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectKept:
    """How much of the base's improvement the target shows. Improvements are in points, `kept` is a share."""

    n: int
    """Units that all states have."""
    base: Estimate | None = None
    target: Estimate | None = None
    kept: Estimate | None = None
    """None where it is not defined, and `reason` says why."""
    most: float | None = None
    """The share that a fall to 50 would be, since a target less biased than the base cannot show all of it."""
    reason: str = ""


STATES = ("base before", "base after", "target before", "target after")


def effect_kept(
    states: Sequence[Sequence[Outcome]], *, ideal: float = 50.0, signed: bool = False, seed: int = 0
) -> EffectKept:
    """The share of the improvement of the base model that the target model has, with a paired interval.

    An improvement is the fall of the mean |SS - 50| over bias types. All states are drawn together, whole target
    terms within each bias type, so variation that the two models share does not widen the interval. By hand: base 60 ->
    52, target 58 -> 54: (8 - 4) / (10 - 2) = 0.5.

    Args:
        states: SS outcomes, in percent, of `STATES`; units that one of them lacks do not count. There may be further
            pairs of target before and after (other seeds): the target's improvement is the mean of theirs.
        signed: instead of |SS - 50| use SS - 50, with the sign for each bias type that makes it positive for the base
            before. A step past 50 is then no loss, and noise, which only adds to a distance near 0, cancels.
    """
    found = _distances(states, ideal, seed, signed)
    if found is None:
        return EffectKept(n=0, reason="the run and the transfer have no report items in common")
    base = found.fall(lambda far: far[..., 0] - far[..., 1])
    target = found.fall(_target_fall)
    if base.value <= 0 or base.low <= 0:
        reason = "the improvement of the base run cannot be distinguished from zero on these items"
        return EffectKept(n=found.units, base=base, target=target, reason=reason)
    kept = found.fall(lambda far: _target_fall(far) / _positive(far[..., 0] - far[..., 1]))
    most = float(found.means[2::2].mean()) / base.value
    return EffectKept(n=found.units, base=base, target=target, kept=kept, most=most)


def distance_change(first: Sequence[Outcome], last: Sequence[Sequence[Outcome]], *, seed: int = 0) -> Estimate:
    """The change of the mean |SS - 50| over bias types, in points, from one state to the mean of others, paired.

    Raises:
        ValueError: the states have no unit in common.
    """
    found = _distances([first, *last], 50.0, seed)
    if found is None:
        raise ValueError("no unit in common")
    return found.fall(lambda far: far[..., 1:].mean(-1) - far[..., 0])


@dataclass(frozen=True, slots=True)
class NearerTest:
    """One of two is nearer to 50: the mean |SS - 50| over bias types differs significantly."""

    nearer: str
    farther: str
    p_holm: float


def nearer_to_50(states: Mapping[str, Sequence[Sequence[Outcome]]], *, seed: int = 0) -> list[NearerTest]:
    """Every two runs whose mean |SS - 50| over bias types differ significantly, on the same items.

    The change is divided by its bootstrap standard error (whole target terms, drawn for all runs together) and tested
    by Student's t with the degrees of freedom of the clusters; p-values are adjusted by Holm over all pairs.

    Args:
        states: {name: SS outcomes of the run, or of each of its seeds, whose distances are averaged}.
    """
    from scipy.stats import t

    found = _distances([state for of_seeds in states.values() for state in of_seeds], 50.0, seed) if states else None
    if found is None:
        return []
    ends = np.cumsum([len(of_seeds) for of_seeds in states.values()])
    columns = [slice(end - len(of_seeds), end) for of_seeds, end in zip(states.values(), ends, strict=True)]
    means = np.array([found.means[own].mean() for own in columns])
    drawn = np.array([found.drawn[:, own].mean(1) for own in columns])  # [runs, draws]
    both = list(combinations(range(len(columns)), 2))
    changes = np.array([means[one] - means[other] for one, other in both])
    errors = np.array([np.std(drawn[one] - drawn[other], ddof=1) for one, other in both])
    p = (changes == 0).astype(float)
    known = errors > 0
    p[known] = 2 * t.sf(np.abs(changes[known]) / errors[known], max(found.clusters - found.strata, 1))
    names = list(states)
    return [
        NearerTest(*((names[one], names[other]) if change < 0 else (names[other], names[one])), p_holm=adjusted)
        for (one, other), change, adjusted in zip(both, changes, holm(p.tolist()), strict=True) if adjusted <= LEVEL
    ]  # fmt: skip


def mean_change(first: Sequence[Outcome], last: Sequence[Outcome], *, seed: int = 0) -> Estimate | None:
    """The change of a score that is a mean over target terms (LMS), paired, over all bias types; None without units."""
    rows = _rows([first, last])
    units = [(bias_type, cluster, values) for bias_type, chosen in rows.items() for cluster, values in chosen]
    if not units:
        return None
    changes = np.array([[values[1] - values[0]] for _, _, values in units])
    clusters, types = [cluster for _, cluster, _ in units], [bias_type for bias_type, _, _ in units]
    return resample(changes, clusters, types, average="clusters", seed=seed).estimate(lambda means: means[..., 0])


@dataclass(frozen=True, slots=True)
class _Distances:
    """Mean |SS - 50| (signed: with the sign of the first state) over bias types of k states, and in bootstrap draws."""

    means: Floats  # [k]
    drawn: Floats  # [draws, k]
    units: int
    clusters: int
    strata: int

    def fall(self, function: Callable[[Floats], Floats]) -> Estimate:
        """A function of the states, [..., k] -> [...], with its interval."""
        value = float(function(self.means))
        return percentile(value, function(self.drawn), self.clusters - self.strata, self.clusters)


def _distances(
    states: Sequence[Sequence[Outcome]], ideal: float, seed: int, signed: bool = False
) -> _Distances | None:
    rows = _rows(states)
    if not rows:
        return None
    samples = [_sample(chosen, seed + place) for place, chosen in enumerate(rows.values())]
    means = np.array([sample.means for sample in samples]) - ideal  # [types, k]
    drawn = np.stack([_wider(sample) for sample in samples], axis=1) - ideal  # [draws, types, k]
    sides = np.sign(means[:, :1])
    return _Distances(
        means=(means * sides if signed else np.abs(means)).mean(0),
        drawn=(drawn * sides if signed else np.abs(drawn)).mean(1),
        units=sum(len(chosen) for chosen in rows.values()),
        clusters=sum(sample.clusters for sample in samples),
        strata=len(samples),
    )


def _target_fall(far: Floats) -> Floats:
    fall: Floats = (far[..., 2::2] - far[..., 3::2]).mean(-1)
    return fall


def _positive(fall: Floats) -> Floats:
    """Nan where there is no fall, of which there is no share; the interval leaves such draws out."""
    return np.where(fall > 0, fall, np.nan)


def _rows(states: Sequence[Sequence[Outcome]]) -> dict[str, list[tuple[str, list[float]]]]:
    """Bias type -> (cluster, values) of every unit that is in all states."""
    values: list[dict[tuple[str, str], Outcome]] = [{(o.bias_type, o.unit): o for o in state} for state in states]
    shared = sorted(set.intersection(*(set(state) for state in values)))
    found: dict[str, list[tuple[str, list[float]]]] = {}
    for key in shared:
        found.setdefault(key[0], []).append((values[0][key].cluster, [state[key].value for state in values]))
    return found


def _sample(rows: Sequence[tuple[str, Sequence[float]]], seed: int) -> Sample:
    clusters = [cluster for cluster, _ in rows]
    table = np.array([values for _, values in rows])
    return resample(table, clusters, ["" for _ in rows], average="clusters", seed=seed)


def _wider(sample: Sample) -> Floats:
    """[draws, k], from drawing clusters or, with few clusters, items: whichever spreads more."""
    parts = [part for part in (sample.clustered, sample.items) if part is not None]
    return max(parts, key=lambda part: float(np.std(part, axis=0).sum()))
