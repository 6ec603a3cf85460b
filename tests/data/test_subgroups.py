"""Subgroups of target terms, from the shipped term lists and from a user's."""

import pytest

from biasunlearn.data.subgroups import load_subgroups, subgroup_of
from biasunlearn.errors import RequestError


@pytest.mark.parametrize(
    ("bias_type", "term", "subgroup"),
    [
        ("gender", "mommy", "female"),
        ("gender", "Gentlemen", "male"),
        ("gender", "himself", "male"),
        ("gender", "hers", "female"),
        ("gender", "table", ""),
        ("race", "Ghanaian", "Africa"),
        ("race", "Syria", "Middle East"),
        ("religion", "Bible", "Christian"),
        ("profession", "nurse", "health"),
        ("age", "teenager", ""),
    ],
)
def test_shipped_lists(bias_type: str, term: str, subgroup: str) -> None:
    assert subgroup_of(bias_type, term, load_subgroups()) == subgroup


def test_a_list_of_the_users(tmp_path) -> None:
    (tmp_path / "age.csv").write_text("term,counterpart\nteenager,pensioner\nyoung man,old man\n")
    (tmp_path / "faith.yaml").write_text(
        "bias_type: religion\ngroups:\n- {family: east, person: Sikh}\n- {family: west, person: Quaker}\n"
    )
    known = load_subgroups([str(tmp_path / "age.csv"), str(tmp_path / "faith.yaml")])
    assert subgroup_of("age", "Teenagers", known) == "teenager"
    assert subgroup_of("age", "old man", known) == "pensioner"
    assert subgroup_of("religion", "Sikh", known) == "east"
    assert subgroup_of("religion", "Muslim", known) == ""  # the user's list took the place of the shipped one
    assert subgroup_of("gender", "aunt", known) == "female"


def test_sides_are_called_by_the_words_that_they_share(tmp_path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("bias_type: race\npairs:\n- [Black man, White man]\n- [Black woman, White woman]\n")
    assert subgroup_of("race", "Black man", load_subgroups([str(path)])) == "Black"


def test_a_wrong_list_is_one_line(tmp_path) -> None:
    with pytest.raises(RequestError, match="no term list"):
        load_subgroups([str(tmp_path / "missing.yaml")])
