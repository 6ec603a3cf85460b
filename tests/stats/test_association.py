"""Group part and wording part: by hand, and on made margins where only one of the two is there."""

import numpy as np
import pytest

from biasunlearn.stats.association import MarginParts, association_scores, margin_parts


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
