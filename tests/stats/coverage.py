"""How often the 95 % intervals of SS, LMS and ICAT contain the truth, by simulation; the table of docs/statistics.md.

    python -m tests.stats.coverage --worlds 2000

A world has target terms whose chances differ (beta-binomial, intraclass correlation 0.1): true SS 60, LMS 90, ICAT 72.
The control is the plain percentile interval of the same bootstrap draws, without the widening for few clusters.
"""

import argparse
from collections.abc import Sequence

import numpy as np

from biasunlearn.stats.bootstrap import resample
from biasunlearn.stats.stereoset import Comparison, stereoset_scores

TRUTH = {"ss": 60.0, "lms": 90.0, "icat": 72.0}
SHAPES = ((30, 10), (10, 25), (5, 20), (3, 26))
"""Target terms and items of each; (10, 25) and (3, 26) resemble gender and religion of StereoSet's development set."""

CORRELATION = 0.1


def world(rng: np.random.Generator, terms: int, items: int) -> list[Comparison]:
    """One simulated bias type."""
    strength = (1 - CORRELATION) / CORRELATION
    chances = {key: rng.beta(p * strength, (1 - p) * strength, terms) for key, p in (("ss", 0.6), ("lms", 0.9))}
    return [
        Comparison("x", f"t{term}", float(rng.random() < ss), float((rng.random(2) < lms).mean()), 0.0)
        for term, (ss, lms) in enumerate(zip(chances["ss"], chances["lms"], strict=True))
        for _ in range(items)
    ]


def plain_interval(rows: Sequence[Comparison]) -> dict[str, tuple[float, float]]:
    """The control: 2.5 % and 97.5 % of the draws."""
    table = np.array([[100 * row.stereotyped, 100 * (row.meaningful or 0.0)] for row in rows])
    means = resample(table, [row.target for row in rows], ["x"] * len(rows), average="clusters").clustered
    ss, lms = means.T
    drawn = {"ss": ss, "lms": lms, "icat": lms * np.minimum(ss, 100 - ss) / 50}
    return {score: (float(np.quantile(d, 0.025)), float(np.quantile(d, 0.975))) for score, d in drawn.items()}


def coverage(worlds: int, terms: int, items: int, *, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Score -> the share of worlds, in percent, whose reported and whose plain interval contains the truth."""
    rng = np.random.default_rng([seed, terms, items])
    hits = {score: np.zeros(2) for score in TRUTH}
    for _ in range(worlds):
        rows = world(rng, terms, items)
        reported, plain = stereoset_scores(rows).bias_types["x"], plain_interval(rows)
        for score, truth in TRUTH.items():
            low, high = getattr(reported, score).low, getattr(reported, score).high
            hits[score] += low <= truth <= high, plain[score][0] <= truth <= plain[score][1]
    return {score: (float(100 * found[0] / worlds), float(100 * found[1] / worlds)) for score, found in hits.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=2000)
    worlds = parser.parse_args().worlds
    for terms, items in SHAPES:
        found = coverage(worlds, terms, items)
        print(f"{terms} x {items}:", ", ".join(f"{s} {a:.1f} (plain {b:.1f})" for s, (a, b) in found.items()))


if __name__ == "__main__":
    main()
