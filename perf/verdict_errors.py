"""Error rates of equivalence, of the verdict of a run and of the tests of `compare`, by simulation.

    python perf/verdict_errors.py --worlds 400

A world is a report file with the sizes of StereoSet's development set (small), or with four bias types of 40 terms with
25 pairs each (large). The probability of each target term is drawn around the mean of its bias type, with a standard
deviation of 0, 8 or 15 points, before and after independently: whole terms change, their mean does not. Seven of ten
pairs are answered by both models from the same random number, so that the two measurements are paired. The tables are
those of docs/statistics.md.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from biasunlearn.stats.bootstrap import Sample, resample
from biasunlearn.stats.effect import distance_change
from biasunlearn.stats.equivalence import Equivalence, equivalence
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.paired import Pairs, compare_score, holm, pair
from biasunlearn.stats.stereoset import Comparison, independent_error
from biasunlearn.stats.subgroup_scores import polarised_types
from biasunlearn.stats.verdict import Evidence, verdict

Shape = Mapping[str, tuple[int, int]]
"""{bias type: (target terms, pairs of each)}"""

SMALL: Shape = {"gender": (10, 25), "profession": (40, 20), "race": (40, 24), "religion": (3, 26)}
LARGE: Shape = {name: (40, 25) for name in SMALL}
SHAPES: Mapping[str, Shape] = {"small": SMALL, "large": LARGE}
SPREADS = (0.0, 8.0, 15.0)
SHARED = 0.7
DRAWS = 500
LEVEL = 0.05

CHANGES = ((60.0, 50.0), (60.0, 60.0), (50.0, 50.0), (60.0, 65.0))
"""True SS of every bias type, before and after."""


@dataclass(frozen=True, slots=True)
class World:
    """Both measurements of one simulated run."""

    before: list[Comparison]
    after: list[Comparison]


def world(rng: np.random.Generator, shape: Shape, before: float, after: float, sd: float) -> World:
    """One simulated run; true means and the standard deviation between terms are in points."""
    stages: tuple[list[Comparison], list[Comparison]] = ([], [])
    for name, (terms, pairs) in shape.items():
        chances = [np.clip(rng.normal(mean, sd, terms), 0, 100) / 100 for mean in (before, after)]
        first = rng.random((terms, pairs))
        second = np.where(rng.random((terms, pairs)) < SHARED, first, rng.random((terms, pairs)))
        for stage, drawn, chance in zip(stages, (first, second), chances, strict=True):
            stage += [
                Comparison(name, f"t{t}", float(drawn[t, n] < chance[t]), None, 0.0, f"{name}-{t}-{n}")
                for t in range(terms) for n in range(pairs)
            ]  # fmt: skip
    return World(*stages)


def outcomes(rows: list[Comparison]) -> list[Outcome]:
    """SS of every pair."""
    return [Outcome(row.cluster, row.target, row.bias_type, "ss", 100 * row.stereotyped) for row in rows]


def equivalences(rows: list[Comparison], seed: int) -> dict[str, Equivalence]:
    """Equivalence of every bias type and overall, as in the results of a run."""
    types = {name: [row for row in rows if row.bias_type == name] for name in dict.fromkeys(r.bias_type for r in rows)}
    return {name: _equivalence(chosen, seed) for name, chosen in {**types, "overall": rows}.items()}


def _equivalence(rows: list[Comparison], seed: int) -> Equivalence:
    sizes = Counter((row.bias_type, row.target) for row in rows)
    return equivalence(_sample(rows, seed), least_error=independent_error(np.array([*sizes.values()], float)))


def _sample(rows: list[Comparison], seed: int) -> Sample:
    values = np.array([[100 * row.stereotyped] for row in rows])
    terms, types = [row.target for row in rows], [row.bias_type for row in rows]
    return resample(values, terms, types, average="clusters", draws=DRAWS, seed=seed)


def verdict_of(made: World, seed: int) -> str:
    """The verdict of a simulated run in which training ended well."""
    found = Evidence(
        collapsed=False,
        base_kept=False,
        equivalence=equivalences(made.after, seed),
        polarised=polarised_types(made.after),
        distance_change=distance_change(outcomes(made.before), [outcomes(made.after)], seed=seed),
        lms_change=None,
    )
    return verdict(found).value


def verdict_rates(shape: Shape, before: float, after: float, sd: float, worlds: int) -> dict[str, float]:
    """How often each verdict is reached, in percent."""
    rng = np.random.default_rng([worlds, int(sd), int(before), int(after)])
    counts = Counter(verdict_of(world(rng, shape, before, after, sd), seed) for seed in range(worlds))
    return {name: 100 * count / worlds for name, count in counts.items()}


def equivalence_rates(shape: Shape, truth: float, sd: float, worlds: int) -> dict[str, float]:
    """How often SS is shown to lie within 5 points of 50, and how often its 95 % interval contains 50, in percent.

    Of `race` alone, and of all bias types and the overall score together (every).
    """
    rng = np.random.default_rng([worlds, int(sd), int(truth)])
    counts: Counter[str] = Counter()
    for seed in range(worlds):
        rows = world(rng, shape, truth, truth, sd).after
        found = equivalences(rows, seed)
        counts["race"] += found["race"].within
        counts["every"] += all(one.within for one in found.values())
        chosen = [row for row in rows if row.bias_type == "race"]
        whole = _sample(chosen, seed).estimate(lambda means: means[..., 0])
        counts["race contains 50"] += whole.low <= 50 <= whole.high
        counts["polarised"] += bool(polarised_types(chosen))
    return {name: 100 * counts[name] / worlds for name in ("race", "every", "race contains 50", "polarised")}


def compare_rates(shape: Shape, sd: float, worlds: int) -> dict[str, float]:
    """How often a difference is found in any bias type (Holm) where no mean differs, in percent, by test."""
    rng = np.random.default_rng([worlds, int(sd)])
    counts: Counter[str] = Counter()
    for seed in range(worlds):
        made = world(rng, shape, 60.0, 60.0, sd)
        joined = pair(outcomes(made.before), outcomes(made.after))
        assert isinstance(joined, Pairs)
        tests = compare_score(joined, 50.0, "clusters", seed=seed).bias_types.values()
        counts["clusters"] += min(test.p_holm or 0.0 for test in tests) <= LEVEL
        counts["McNemar"] += min(holm([test.p_mcnemar or 0.0 for test in tests])) <= LEVEL
        counts["better or worse"] += any(test.verdict in ("better", "worse") for test in tests)
    return {name: 100 * counts[name] / worlds for name in ("clusters", "McNemar", "better or worse")}


def lines(worlds: int) -> Iterator[str]:
    """The tables, in Markdown."""
    yield (
        "| report file | true SS | term sd | race within 5 | every part within 5 | race: interval contains 50 |"
        " race polarised |"
    )
    yield "|---|---|---|---|---|---|---|"
    for size, shape in SHAPES.items():
        for truth in (50.0, 55.0):
            for sd in SPREADS:
                found = equivalence_rates(shape, truth, sd, worlds)
                yield f"| {size} | {truth:g} | {sd:g} | " + " | ".join(f"{one:.1f} %" for one in found.values()) + " |"
    yield ""
    yield "| report file | true SS | term sd | fair | improved | no evidence | worse |"
    yield "|---|---|---|---|---|---|---|"
    for size, shape in SHAPES.items():
        for before, after in CHANGES:
            for sd in SPREADS:
                rates = verdict_rates(shape, before, after, sd, worlds)
                shown = " | ".join(f"{rates.get(n, 0.0):.1f} %" for n in ("fair", "improved", "no evidence", "worse"))
                yield f"| {size} | {before:g} to {after:g} | {sd:g} | {shown} |"
    yield ""
    yield "| term sd | p of clusters | p of McNemar | verdict better or worse |"
    yield "|---|---|---|---|"
    for sd in SPREADS:
        found = compare_rates(SMALL, sd, worlds)
        yield f"| {sd:g} | " + " | ".join(f"{one:.1f} %" for one in found.values()) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Error rates of equivalence, verdicts and tests")
    parser.add_argument("--worlds", type=int, default=400, help="simulated runs of each row")
    for line in lines(parser.parse_args().worlds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
