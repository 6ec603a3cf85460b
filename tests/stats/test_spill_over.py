"""Spill-over by hand: single cells, the overall test, several seeds, and no spill-over where nothing changed."""

from collections.abc import Sequence

import numpy as np
import pytest

from biasunlearn.stats.spill_over import overall_test, spill_over
from biasunlearn.stats.stereoset import Comparison


def rows(values: Sequence[int], *, bias_type: str = "race", group: Sequence[float | None] = ()) -> list[Comparison]:
    """One pair per target term; 1: the stereotype is more likely."""
    parts = group or [None] * len(values)
    return [
        Comparison(bias_type, f"term {n}", float(value), None, 2.0 * value - 1, f"{bias_type} {n}", part, part)
        for n, (value, part) in enumerate(zip(values, parts, strict=True))
    ]


def test_a_cell_is_the_paired_change_and_the_trained_type_is_none() -> None:
    before = rows([1, 1, 1, 1]) + rows([1, 1], bias_type="age")
    after = rows([0, 0, 0, 1]) + rows([0, 0], bias_type="age")
    found = spill_over({"only-age": [(before, after)]}, {"only-age": ["age"]})
    assert found is not None
    (cell,) = found.cells
    assert (cell.run, cell.bias_type, cell.change.value) == ("only-age", "race", -75.0)
    # Three terms changed, all in one direction: 2 of the 8 signs are as far from 0.
    assert cell.p == cell.p_holm == pytest.approx(0.25)
    assert found.p == pytest.approx(0.25)


def test_over_seeds_the_values_after_training_are_averaged() -> None:
    before = rows([1, 1])
    found = spill_over({"a": [(before, rows([0, 1])), (before, rows([0, 0]))]}, {"a": ["age"]})
    assert found is not None and found.cells[0].change.value == pytest.approx(-75.0)


def test_the_group_part_is_a_mean_over_the_pairs_that_have_one() -> None:
    before, after = rows([1, 1, 1], group=[1.0, 2.0, None]), rows([1, 1, 1], group=[0.5, 1.0, None])
    found = spill_over({"a": [(before, after)]}, {"a": ["age"]}, group=True)
    assert found is not None and found.cells[0].change.value == pytest.approx(-0.75)
    assert spill_over({"a": [(rows([1]), rows([0]))]}, {"a": ["age"]}, group=True) is None


def test_where_nothing_changed_there_is_no_spill_over() -> None:
    same = rows([1, 0, 1])
    found = spill_over({"a": [(same, same)], "b": [(same, same)]}, {"a": ["age"], "b": ["age"]})
    assert found is not None and found.p == 1.0 and {cell.p_holm for cell in found.cells} == {1.0}
    assert spill_over({"a": [(same, same)]}, {"a": ["race"]}) is None


def test_the_overall_test_by_hand() -> None:
    assert overall_test(np.array([[1.0], [1.0]])) == 0.5
    # Two cells of the same terms: the signs of a term flip in both, so that the second cell adds no evidence.
    assert overall_test(np.array([[1.0, 1.0], [1.0, 1.0]])) == 0.5
    # Cells of different terms: 4^2 / 4 + 4^2 / 4 = 8 for 2 * 2 of the 2^8 signs.
    apart = np.zeros((8, 2))
    apart[:4, 0] = apart[4:, 1] = 1.0
    assert overall_test(apart) == pytest.approx(4 / 256)
    assert overall_test(np.zeros((3, 2))) == 1.0


def test_the_overall_test_has_its_level_without_spill_over_and_finds_a_shift_that_all_cells_share() -> None:
    rng = np.random.default_rng(0)
    made = [rng.normal(size=(40, 1)) + rng.normal(size=(40, 3)) for _ in range(200)]  # dependent cells
    assert np.mean([overall_test(changes, seed=n) <= 0.05 for n, changes in enumerate(made[:60])]) < 0.15
    assert overall_test(made[0] + 1.5) < 0.01
