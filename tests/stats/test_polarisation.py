"""Spread between target terms: by hand, by simulation with and without one, and subgroups on both sides of 50."""

import numpy as np
import pytest

from biasunlearn.stats.polarisation import TermCount, differences, is_polarised, spread
from biasunlearn.stats.stereoset import Comparison
from biasunlearn.stats.subgroup_scores import polarisation


def drawn(rng: np.random.Generator, terms: int, pairs: int, sd: float) -> list[TermCount]:
    """Terms whose probability is 0.5 plus or minus sd, each with equal chance: their standard deviation is sd."""
    probabilities = 0.5 + sd * rng.choice([-1.0, 1.0], terms)
    return [TermCount(str(i), float(rng.binomial(pairs, p)), pairs) for i, p in enumerate(probabilities)]


def test_two_kinds_of_terms_by_hand() -> None:
    """Four terms of 100 pairs at 30, 30, 70, 70 %: Q(v) = 4 * 0.04 / (v + (0.25 - v) / 100) = 3 at v = 0.05135."""
    counts = [TermCount(name, share, 100) for name, share in zip("abcd", (30.0, 30.0, 70.0, 70.0), strict=True)]
    found = spread(counts)
    assert found is not None
    expected = (4 * 0.04 / 3 - 0.25 / 100) / (1 - 1 / 100)
    assert found.estimate.value == pytest.approx(100 * expected**0.5, abs=1e-6)
    assert found.estimate.low > 10 and found.p < 1e-9


def test_terms_that_are_all_alike_have_no_spread() -> None:
    found = spread([TermCount(str(i), 50.0, 100) for i in range(8)])
    assert found is not None
    assert (found.estimate.value, found.estimate.low) == (0.0, 0.0)
    assert found.p > 0.99


def test_nothing_to_say_of_two_terms_or_of_a_single_answer() -> None:
    assert spread([TermCount("a", 3.0, 10), TermCount("b", 9.0, 10)]) is None
    assert spread([TermCount(str(i), 10.0, 10) for i in range(5)]) is None


@pytest.mark.slow
@pytest.mark.parametrize("sd", [0.0, 0.08, 0.15])
def test_the_interval_covers_the_true_spread(sd: float) -> None:
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(400):
        found = spread(drawn(rng, 30, 27, sd))
        assert found is not None
        inside += found.estimate.low <= 100 * sd <= found.estimate.high + 1e-9
    assert inside / 400 >= 0.92  # 0.95 less three standard errors


@pytest.mark.slow
def test_chance_alone_is_called_a_spread_one_time_in_twenty() -> None:
    rng = np.random.default_rng(4)
    found = [spread(drawn(rng, 30, 27, 0.0)) for _ in range(600)]
    rate = np.mean([one is not None and one.p < 0.05 for one in found])
    assert 0.02 < rate < 0.08


def test_subgroups_on_both_sides_are_polarised_and_mixed_ones_are_not() -> None:
    low = [TermCount(f"f{i}", 35.0 + i, 100) for i in range(5)]
    high = [TermCount(f"m{i}", 65.0 - i, 100) for i in range(5)]
    apart = differences([*low, *high], {count.term: count.term[0] for count in (*low, *high)})
    assert apart is not None and apart.p < 1e-6
    assert apart.means == {"f": 37.0, "m": 63.0} and apart.terms == {"f": 5, "m": 5}
    assert is_polarised(None, apart)
    mixed = differences([*low, *high], {count.term: "ab"[int(count.term[1]) % 2] for count in (*low, *high)})
    assert mixed is not None and mixed.p > 0.5 and not is_polarised(None, mixed)


def test_subgroups_of_one_term_cannot_be_tested() -> None:
    assert differences([TermCount("a", 1.0, 10), TermCount("b", 9.0, 10)], {"a": "x", "b": "y"}) is None


def test_both_subgroups_above_50_differ_but_are_not_polarised() -> None:
    counts = [TermCount(f"{g}{i}", share + i, 100) for g, share in (("f", 60.0), ("m", 80.0)) for i in range(5)]
    found = differences(counts, {count.term: count.term[0] for count in counts})
    assert found is not None and found.p < 0.01 and not is_polarised(None, found)


def test_subgroups_of_comparisons_and_the_same_term_under_two_bias_types() -> None:
    def rows(bias_type: str, shares: dict[str, int], subgroup: str) -> list[Comparison]:
        return [Comparison(bias_type, term, float(n < hits), None, 0.0, f"{term}{n}", subgroup=subgroup)
                for term, hits in shares.items() for n in range(20)]  # fmt: skip

    female = rows("gender", {f"f{n}": 6 + n % 2 for n in range(5)}, "female")
    male = rows("gender", {f"m{n}": 14 - n % 2 for n in range(5)}, "male")
    found = polarisation([*female, *male])
    assert found.polarised and {name: one.terms for name, one in found.subgroups.items()} == {"female": 5, "male": 5}
    assert found.subgroups["female"].ss.value == pytest.approx(100 * (3 * 6 + 2 * 7) / 100)
    assert found.subgroups["female"].ss.high < 50 < found.subgroups["male"].ss.low
    alike = rows("gender", {f"f{n}": 10 for n in range(5)}, "female")
    even = polarisation([*alike, *rows("gender", {"m": 10}, "male")])
    assert not even.polarised and even.difference is None
    both = polarisation([*rows("a", {"x": 5, "y": 10}, ""), *rows("b", {"x": 15}, "")])
    assert both.spread is not None and both.subgroups == {}  # three terms, not two
