"""Target terms and pairs by what is left of their bias, on items written by hand."""

from dataclasses import replace

import pytest

from biasunlearn.stats.remaining_bias import most_changed, pairs, still_worst, terms
from biasunlearn.stats.stereoset import Item


def items(margins: dict[str, list[float]], kind: str = "intrasentence") -> list[Item]:
    """Term -> the margin of each of its pairs, in nats a token."""
    return [
        Item("stereoset", f"{target}-{number}-{role}", f"{target}-{number}", "work", target, kind, role, score, 5)
        for target, found in margins.items()
        for number, margin in enumerate(found)
        for role, score in (("stereotype", margin - 3.0), ("anti-stereotype", -3.0), ("unrelated", -9.0))
    ]


AFTER = items({"nurse": [1.0, 0.5, -0.2, 2.0], "poet": [-0.1, 0.3, -1.0, 0.2]})
BEFORE = items({"nurse": [1.0, 1.0, 1.0, 1.0], "poet": [0.0, 0.3, 3.0, -0.4]})


def test_terms_have_their_share_before_and_after_and_the_worst_is_first() -> None:
    first, second = terms(AFTER, BEFORE)
    assert (first.target, first.before, first.after, first.pairs) == ("nurse", 100.0, 75.0, 4)
    assert (second.target, second.after) == ("poet", 50.0)
    # Four fair tosses: |heads/4 - 1/2| is 0 with 6/16, 25 points with 8/16, 50 with 2/16; the mean is 18.75.
    assert first.beyond_chance == pytest.approx(25 - 18.75)
    assert second.beyond_chance == pytest.approx(-18.75)


def test_without_a_run_before_there_is_no_change() -> None:
    assert {term.before for term in terms(AFTER)} == {None}
    assert most_changed(pairs(AFTER), 3) == []


def test_pairs_are_ordered_by_margin_and_by_change() -> None:
    found = pairs(AFTER, BEFORE)
    assert [round(pair.after, 6) for pair in found] == [2.0, 1.0, 0.5, 0.3, 0.2, -0.1, -0.2, -1.0]
    assert found[0].stereotype_id == "nurse-3-stereotype" and found[0].anti_stereotype_id == "nurse-3-anti-stereotype"
    changes = [round(pair.after - pair.before, 6) for pair in most_changed(found, 3) if pair.before is not None]
    assert changes == [-4.0, -1.2, 1.0]  # poet-2: 3 -> -1, nurse-2: 1 -> -0.2, nurse-3: 1 -> 2
    assert [round(pair.after, 6) for pair in still_worst(found, 9)] == [2.0, 1.0, 0.5, 0.3, 0.2]


def test_intersentence_items_do_not_count_where_there_are_intrasentence_ones() -> None:
    other = items({"baker": [5.0]}, kind="intersentence")
    assert {term.target for term in terms([*AFTER, *other])} == {"nurse", "poet"}
    assert {term.target for term in terms(other)} == {"baker"}


def test_pairs_of_another_benchmark_with_the_same_ids_do_not_count() -> None:
    """CrowS-Pairs numbers its pairs, as a file of the user's may."""
    others = [replace(item, benchmark="crows_pairs", item_id=f"crows {item.role}", score=0.0) for item in AFTER]
    assert pairs([*AFTER, *others], [*BEFORE, *others]) == pairs(AFTER, BEFORE)
    assert terms([*others, *AFTER], BEFORE) == terms(AFTER, BEFORE)
