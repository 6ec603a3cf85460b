"""Group part and wording part: by hand, and on made margins where only one of the two is there."""

from dataclasses import replace

import numpy as np
import pytest

from biasunlearn.stats.association import MarginParts, association_scores, margin_parts, part_change, ss_change
from biasunlearn.stats.stereoset import Comparison


def test_the_two_parts_by_hand() -> None:
    assert margin_parts("1", "race", "Syria", 0.5, [0.1, 0.3]) == MarginParts(
        "1", "race", "Syria", pytest.approx(0.3), pytest.approx(0.2)
    )


def made(group_skew: float, word_skew: float, terms: int = 20, pairs: int = 25, seed: int = 0) -> list[MarginParts]:
    """Margins of a world where a pair prefers its stereotype by the word's own skew plus the group's."""
    rng = np.random.default_rng(seed)
    parts = []
    for term in range(terms):
        for pair in range(pairs):
            word = word_skew + rng.normal(0, 0.3)
            noise = rng.normal(0, 0.05, 5)
            margins = word + noise
            parts.append(
                margin_parts(f"{term}-{pair}", "race", str(term), group_skew + float(margins[0]), list(margins[1:]))
            )
    return parts


def test_only_wording_skew_leaves_no_group_part() -> None:
    found = association_scores(made(0.0, 0.2))
    assert found is not None and found.n == 500
    assert found.margin_group.low < 0 < found.margin_group.high and abs(found.margin_group.value) < 0.01
    assert found.ss_group.low < 50 < found.ss_group.high
    assert found.margin_wording.low > 0.1


def test_only_group_skew_leaves_no_wording_part() -> None:
    found = association_scores(made(0.2, 0.0))
    assert found is not None
    assert found.margin_group.value == pytest.approx(0.2, abs=0.01) and found.ss_group.value > 95
    assert abs(found.margin_wording.value) < 4 * 0.3 / 500**0.5  # four standard errors of the words' own noise


def test_a_group_part_of_exactly_zero_counts_half() -> None:
    parts = [MarginParts("1", "a", "x", 0.0, 1.0), MarginParts("2", "a", "y", 0.1, 1.0)]
    found = association_scores(parts)
    assert found is not None and found.ss_group.value == 75.0


def test_nothing_of_nothing() -> None:
    assert association_scores([]) is None


@pytest.mark.slow
@pytest.mark.parametrize("terms", [10, 30])
def test_the_interval_covers_the_true_group_part(terms: int) -> None:
    """Terms differ (sd 0.1), so that the interval has to resample terms; resampling pairs would cover far less."""
    inside = items = 0
    for seed in range(120):
        rng = np.random.default_rng([seed, terms])
        parts = [
            MarginParts(f"{term}-{pair}", "race", str(term), value + rng.normal(0, 0.1), 0.0)
            for term, value in enumerate(rng.normal(0.05, 0.1, terms))
            for pair in range(20)
        ]
        found = association_scores(parts, seed=seed)
        assert found is not None
        inside += found.margin_group.low <= 0.05 <= found.margin_group.high
        values = np.array([part.group for part in parts])
        half = 1.96 * values.std(ddof=1) / len(values) ** 0.5
        items += abs(values.mean() - 0.05) <= half
    assert inside / 120 >= 0.89  # 0.95 less three standard errors
    assert items / 120 < 0.6  # the negative control


def drawn(rng: np.random.Generator, kept: float, terms: int = 20, pairs: int = 15) -> list[list[Comparison]]:
    """Pairs before and after: each term has a group part of its own, of which `kept` is left."""
    stages: list[list[Comparison]] = [[], []]
    for term, own in enumerate(rng.normal(0.1, 0.08, terms)):
        for number in range(pairs):
            noise = rng.normal(0, 0.15)
            for stage, scale in zip(stages, (1.0, kept), strict=True):
                value = scale * own + noise + rng.normal(0, 0.05)
                stage.append(
                    Comparison("race", str(term), float(value > 0), None, value, f"{term}-{number}", value, 0.0)
                )
    return stages


@pytest.mark.slow
@pytest.mark.parametrize("kept", [0.3, 1.0])
def test_the_intervals_of_the_change_and_of_the_share_that_remains_cover_the_truth(kept: float) -> None:
    share = change = significant = known = 0
    for seed in range(150):
        found = part_change(*drawn(np.random.default_rng([seed, 7]), kept), seed=seed)
        assert found is not None
        change += found.difference.low <= 0.1 * (kept - 1) <= found.difference.high
        significant += found.p < 0.05
        if found.remaining is not None:
            known += 1
            share += found.remaining.low <= kept <= found.remaining.high
    assert change / 150 >= 0.89 and known > 120 and share / known >= 0.89
    assert significant / 150 > 0.9 if kept < 1 else significant / 150 < 0.11


def test_no_share_without_an_effect_before_and_no_change_without_pairs() -> None:
    first, last = drawn(np.random.default_rng(0), 0.0)
    swapped = part_change(last, first)
    assert swapped is not None and swapped.remaining is None  # before: a group part of 0
    assert part_change(first, []) is None
    assert ss_change(first, last) is not None and ss_change([], last) is None


def test_a_change_of_ss_is_a_mean_over_terms() -> None:
    """By hand: term a has 3 pairs, b has 1. Before all stereotyped; after b's is not: 100 -> (100 + 0) / 2."""
    rows = [Comparison("x", term, 1.0, None, 1.0, str(n)) for n, term in enumerate("aaab")]
    found = ss_change(rows, [*rows[:3], replace(rows[3], stereotyped=0.0)])
    assert found is not None and (found.before.value, found.after.value) == (100.0, 50.0)
