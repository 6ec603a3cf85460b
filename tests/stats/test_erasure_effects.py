"""Erasures beside random ones, by hand: what differs from them, and what is like them."""

import math
from collections.abc import Sequence

import pytest

from biasunlearn.stats.erasure_effects import erasure_effects, further_draw
from biasunlearn.stats.stereoset import Comparison


def rows(values: Sequence[int], *, bias_type: str = "race", margins: Sequence[float] = ()) -> list[Comparison]:
    """One pair per target term; 1: the stereotype is more likely."""
    found = margins or [2.0 * value - 1 for value in values]
    return [
        Comparison(bias_type, f"term {n}", float(value), None, margin, f"{bias_type} {n}")
        for n, (value, margin) in enumerate(zip(values, found, strict=True))
    ]


def test_a_further_draw_by_hand() -> None:
    found, p = further_draw(0.0, [-1.0, 1.0])
    assert p == pytest.approx(1.0) and found.value == 0.0
    found, p = further_draw(math.sqrt(3), [-1.0, 1.0])  # sd = sqrt(2), times sqrt(1.5)
    assert p == pytest.approx(0.5)
    assert found.high == pytest.approx(12.7062 * math.sqrt(3), rel=1e-4) and found.low == -found.high
    assert further_draw(1.0, [0.0, 0.0])[1] is None


def test_cells_have_the_change_the_random_ones_and_p() -> None:
    base = rows([1] * 8) + rows([1] * 4, bias_type="age")
    erased = rows([0] * 6 + [1] * 2) + rows([1] * 4, bias_type="age")
    random = [rows([0] * n + [1] * (8 - n)) + rows([1] * 4, bias_type="age") for n in (0, 1, 0, 1)]
    found = erasure_effects(base, {"age": erased}, {"age": random}, "ss")
    cells = {cell.bias_type: cell for cell in found}
    race = cells["race"]
    assert race.change.value == -75.0 and race.random.value == -6.25  # of 0, -12.5, 0, -12.5
    # sd = 12.5 / sqrt(3); t = 68.75 / (7.2169 sqrt(1.25)) = 8.521 with 3 degrees of freedom
    assert race.p == race.p_holm == pytest.approx(0.00339, abs=1e-4)
    assert cells["age"].p is None and cells["age"].p_holm is None  # its own type, and no draw changed it


def test_an_erasure_like_the_random_ones_is_not_told_from_them() -> None:
    """The negative control."""
    base = rows([1] * 8)
    random = [rows([0] * n + [1] * (8 - n)) for n in (1, 2, 3, 2)]
    (cell,) = erasure_effects(base, {"age": rows([0, 0] + [1] * 6)}, {"age": random}, "ss")
    assert cell.change.value == cell.random.value == -25.0 and cell.p == pytest.approx(1.0)


def test_moved_is_the_absolute_change_of_the_margins() -> None:
    base = rows([1, 1], margins=[1.0, 1.0])
    erased = rows([1, 1], margins=[1.5, 0.5])  # no change on average
    random = [rows([1, 1], margins=[1.0 + n / 10, 1.0]) for n in (0, 1, 2)]
    (cell,) = erasure_effects(base, {"age": erased}, {"age": random}, "moved")
    assert cell.change.value == pytest.approx(0.5) and cell.random.value == pytest.approx(0.05)
    assert erasure_effects(base, {"age": erased}, {"age": random}, "group") == []
