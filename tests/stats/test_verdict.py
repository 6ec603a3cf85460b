"""Equivalence and verdicts: tables of cases, and how often a fair and an unfair model are called fair."""

import numpy as np
import pytest

from biasunlearn.stats.bootstrap import Estimate, Sample, resample
from biasunlearn.stats.equivalence import Equivalence, equivalence
from biasunlearn.stats.verdict import Evidence, headline, verdict


def sampled(rng: np.random.Generator, terms: int, pairs: int, mean: float, sd: float) -> Sample:
    """Pairs of terms whose own SS is drawn around the mean, in percent, averaged as the official SS is."""
    chance = np.clip(rng.normal(mean, sd, terms), 0, 100) / 100
    rows = (rng.random((terms, pairs)) < chance[:, None]).astype(float).reshape(-1, 1) * 100
    names = [str(term) for term in range(terms) for _ in range(pairs)]
    return resample(rows, names, ["a"] * len(names), average="clusters", draws=400, seed=int(rng.integers(1 << 30)))


def test_few_items_are_never_equivalent_though_their_interval_contains_50() -> None:
    sample = sampled(np.random.default_rng(0), 8, 4, 50, 0)
    found = sample.estimate(lambda means: means[..., 0])
    assert found.low < 50 < found.high
    assert not equivalence(sample).within


def test_many_even_items_are_equivalent_and_a_wider_margin_is_easier() -> None:
    sample = sampled(np.random.default_rng(1), 60, 60, 50, 0)
    assert equivalence(sample).within and equivalence(sample).margin == 5.0
    biased = sampled(np.random.default_rng(1), 60, 60, 56, 0)
    assert not equivalence(biased).within and equivalence(biased, margin=10).within


@pytest.mark.parametrize("margin", [0.0, -5.0, float("nan"), float("inf")])
def test_a_margin_must_be_a_positive_number(margin: float) -> None:
    with pytest.raises(ValueError, match="margin"):
        equivalence(sampled(np.random.default_rng(0), 8, 4, 50, 0), margin=margin)


@pytest.mark.parametrize("sd", [0.0, 8.0, 15.0])
def test_a_model_at_the_margin_is_called_equivalent_at_most_one_time_in_twenty(sd: float) -> None:
    """At SS 55 the upper test is at its own 5 %; containing 50, the rule it replaces, has no such bound."""
    rng = np.random.default_rng([5, int(sd)])
    found = [equivalence(sampled(rng, 40, 27, 55.0, sd)).within for _ in range(300)]
    assert np.mean(found) <= 0.05 + 3 * (0.05 * 0.95 / 300) ** 0.5


def within(name: str = "overall") -> Equivalence:
    return Equivalence(5.0, True, Estimate(50.5, 48.0, 53.0))


OUTSIDE = Equivalence(5.0, False, Estimate(53.0, 49.0, 57.0))
BETTER, SAME, WORSE = Estimate(-8.0, -10.0, -6.0), Estimate(-1.0, -3.0, 1.0), Estimate(4.0, 2.0, 6.0)


def evidence(**changed: object) -> Evidence:
    values: dict[str, object] = {
        "collapsed": False, "base_kept": False, "equivalence": {"overall": within(), "race": within()},
        "polarised": (), "distance_change": BETTER, "lms_change": Estimate(0.5, -0.5, 1.5), **changed,
    }  # fmt: skip
    return Evidence(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changed", "value", "reason"),
    [
        ({}, "fair", "every bias type"),
        ({"collapsed": True}, "failed", "collapsed"),
        ({"base_kept": True}, "failed", "base model"),
        ({"equivalence": {"overall": within(), "race": OUTSIDE}}, "improved", "race"),
        ({"polarised": ("gender",)}, "improved", "target terms far apart: gender"),
        ({"equivalence": {"overall": OUTSIDE}, "distance_change": SAME}, "no evidence", "may be chance"),
        ({"distance_change": WORSE}, "worse", "rose by +4.0 points"),
        ({"lms_change": Estimate(-6.0, -7.0, -5.0)}, "worse", "LMS fell by 6.0 points (5.0 to 7.0)"),
        ({"lms_change": None}, "fair", "every bias type"),
        ({"equivalence": {}}, "improved", "changed by -8.0"),
    ],
)
def test_verdicts(changed: dict[str, object], value: str, reason: str) -> None:
    found = verdict(evidence(**changed))
    assert found.value == value and reason in found.reason
    assert headline(found.value) == value.upper()
    assert (headline(found.value, 5.0) == "FAIR WITHIN ±5") == (value == "fair")


def test_a_polarised_model_is_never_called_fair() -> None:
    assert verdict(evidence(polarised=("gender",))).value != "fair"
