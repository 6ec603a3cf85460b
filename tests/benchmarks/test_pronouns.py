"""Pronoun resolution on scores written by hand."""

import pytest

from biasunlearn.benchmarks.pronouns import GENDERS, log_odds, margin, prior, refers, resolution, units
from biasunlearn.data.records import Passage
from biasunlearn.stats.stereoset import Item


def item(kind: str, role: str, log_prob: float, cluster: str = "c", tokens: int = 2) -> Item:
    name = f"{cluster}-{kind}-{role}"
    return Item("winobias", name, cluster, "gender", "nurse", kind, role, log_prob / tokens, tokens)


def unit(*items: Item) -> dict[tuple[str, str], Item]:
    (only,) = units(items)
    return only


WHOLE = unit(
    item("sentence", "pro", -10.0), item("sentence", "anti", -12.5),
    item("refers pro", "referent", -3.0), item("refers pro", "other", -5.0),
    item("prior pro", "referent", -6.0), item("prior pro", "other", -4.0),
    item("refers anti", "referent", -4.0), item("refers anti", "other", -3.0),
    item("prior anti", "referent", -6.0), item("prior anti", "other", -4.0),
)  # fmt: skip


def test_the_margin_is_between_whole_sentences() -> None:
    assert margin(WHOLE, "pro", "anti") == pytest.approx(2.5)
    assert margin(unit(item("sentence", "pro", -1.0)), "pro", "anti") is None


def test_a_candidate_s_gain_is_over_its_own_prior() -> None:
    # pro: referent gains -3 + 6 = 3, other -5 + 4 = -1. anti: referent -4 + 6 = 2, other -3 + 4 = 1.
    assert log_odds(WHOLE, "pro") == pytest.approx(4.0)
    assert log_odds(WHOLE, "anti") == pytest.approx(1.0)
    assert resolution(WHOLE, "pro", "anti") == pytest.approx(
        {"accuracy_pro": 100.0, "accuracy_anti": 100.0, "accuracy_gap": 0.0, "log_odds_gap": 3.0}
    )


def test_a_tie_is_wrong() -> None:
    tie = unit(*(item(f"{kind} {version}", role, -2.0) for kind in ("refers", "prior") for version in ("pro", "anti")
                 for role in ("referent", "other")))  # fmt: skip
    assert resolution(tie, "pro", "anti") == {
        "accuracy_pro": 0.0, "accuracy_anti": 0.0, "accuracy_gap": 0.0, "log_odds_gap": 0.0
    }  # fmt: skip


def test_units_are_separate_clusters() -> None:
    found = list(units([item("sentence", "pro", -1.0, "a"), item("sentence", "pro", -2.0, "b")]))
    assert [one["sentence", "pro"].cluster_id for one in found] == ["a", "b"]


def test_passages_and_genders() -> None:
    assert refers("The nurse left because she was ill.", "she", "the nurse") == Passage(
        'The nurse left because she was ill. "She" refers to', " the nurse"
    )
    assert prior("the nurse") == Passage("This refers to", " the nurse")
    assert {GENDERS[word] for word in ("he", "his")} == {"male"} and GENDERS["themselves"] == "neutral"
