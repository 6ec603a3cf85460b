"""How much of a debiasing arrives on another model: a pure function of item values, no model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .records import Outcome
from .stats import Sample, percentile, resample

Floats = NDArray[np.float64]

STATES = ("base before", "base after", "target before", "target after")


def effect_kept(states: Sequence[Sequence[Outcome]], *, ideal: float = 50.0, seed: int = 0) -> dict[str, Any]:
    """The share of the base's improvement that the target shows, with a paired interval.

    An improvement is the fall of the mean |SS - 50| over bias types. All four states are drawn together, whole target
    terms within each bias type, so what the two models share does not widen the interval. By hand: base 60 -> 52,
    target 58 -> 54: (8 - 4) / (10 - 2) = 0.5.

    Args:
        states: SS outcomes, in percent, of `STATES`; units that one of them lacks do not count.
    Returns:
        {"n", "base", "target": {"value", "low", "high"} (points), "kept": the same (a share) or None, "reason",
        "most": the share that a fall to 50 would be, since a target less biased than the base cannot show all of it}
    """
    rows = _rows(states)
    if not rows:
        return {"n": 0, "kept": None, "reason": "the run and the transfer have no report items in common"}
    samples = [_sample(chosen, seed + place) for place, chosen in enumerate(rows.values())]
    means = np.abs(np.array([sample.means for sample in samples]) - ideal).mean(0)  # [4]
    drawn = np.abs(np.stack([_wider(sample) for sample in samples], axis=1) - ideal).mean(1)  # [draws, 4]
    clusters = sum(sample.clusters for sample in samples)
    free = clusters - len(samples), clusters
    base = percentile(float(means[0] - means[1]), drawn[:, 0] - drawn[:, 1], *free)
    target = percentile(float(means[2] - means[3]), drawn[:, 2] - drawn[:, 3], *free)
    found: dict[str, Any] = {
        "n": sum(len(chosen) for chosen in rows.values()), "base": base.to_dict(), "target": target.to_dict(),
    }  # fmt: skip
    if base.value <= 0 or base.low <= 0:
        reason = "the base run's own improvement is not told from none on these items"
        return {**found, "kept": None, "reason": reason}
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = (drawn[:, 2] - drawn[:, 3]) / (drawn[:, 0] - drawn[:, 1])
    shares[drawn[:, 0] <= drawn[:, 1]] = np.nan
    kept = percentile(target.value / base.value, shares, *free).to_dict()
    return {**found, "kept": kept, "most": float(means[2]) / base.value}


def _rows(states: Sequence[Sequence[Outcome]]) -> dict[str, list[tuple[str, list[float]]]]:
    """Bias type -> (cluster, the four values) of every unit that all four states have."""
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
    """[draws, 4], of the clusters or, where those are few and agree more than items would, of the items."""
    parts = [part for part in (sample.clustered, sample.items) if part is not None]
    return max(parts, key=lambda part: float(np.std(part, axis=0).sum()))


def ss_change(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, float | None]:
    """SS and LMS of two StereoSet entries, in points after less before: what a table shows in one line."""
    first, last = before["overall"], after["overall"]
    lms = last["lms"]["value"] - first["lms"]["value"] if first["lms"] and last["lms"] else None
    return {"ss": last["ss"]["value"] - first["ss"]["value"], "lms": lms}
