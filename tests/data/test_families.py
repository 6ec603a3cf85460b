"""Families of target terms: twins by meaning are one group, all else stays apart, and users can add their own."""

from pathlib import Path

import pytest

from biasunlearn.data.families import family_of, load_families, normal_form, shipped_families
from biasunlearn.errors import RequestError


@pytest.mark.parametrize(
    ("bias_type", "one", "other"),
    [
        ("race", "Syria", "Syrian"),
        ("race", "Ethiopians", "Ethiopia"),
        ("race", "Norweigan", "Norway"),
        ("race", "Bengali", "Bangladesh"),
        ("race", "Persian people", "Iran"),
        ("religion", "Bible", "Christian"),
        ("religion", "Muslim", "Quran"),
        ("religion", "Brahmin", "Hindu"),
        ("gender", "mommy", "mother"),
        ("gender", "himself", "his"),
        ("gender", "gentlemen", "gentleman"),
        ("gender", "schoolgirl", "girls"),
        ("profession", "software developer", "programmers"),
    ],
)
def test_twins_by_meaning_are_one_family(bias_type: str, one: str, other: str) -> None:
    assert family_of(bias_type, one) == family_of(bias_type, other)


@pytest.mark.parametrize(
    ("bias_type", "one", "other"),
    [
        ("race", "Syria", "Lebanon"),
        ("race", "Africa", "South Africa"),
        ("race", "India", "Native American"),
        ("religion", "Bible", "Muslim"),
        ("gender", "himself", "herself"),
        ("profession", "nurse", "physicist"),
    ],
)
def test_different_groups_stay_apart(bias_type: str, one: str, other: str) -> None:
    assert family_of(bias_type, one) != family_of(bias_type, other)


def test_a_term_that_nobody_listed_is_its_own_family_whatever_its_case_and_number() -> None:
    assert family_of("age", "Teenagers") == family_of("age", "teenager") == "teenager"
    assert normal_form("Jesus") == "jesus" and normal_form("boss") == "boss"
    assert normal_form("Puerto  Ricans") == "puerto rican"


def test_no_term_of_the_shipped_list_is_in_two_families() -> None:
    import yaml

    from biasunlearn.data.families import SHIPPED

    for bias_type, groups in yaml.safe_load(SHIPPED.read_text(encoding="utf-8")).items():
        members = [{normal_form(term) for term in group} for group in groups]
        listed = sorted(term for group in members for term in group)
        assert len(listed) == len(set(listed)), bias_type
        assert len(set(shipped_families()[bias_type].values())) == len(groups)


def test_a_users_file_extends_and_joins(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("race: [[Syria, Damascus], [Atlantis, Atlantean]]\nAge: [[teenager, teen]]\n")
    families = load_families(path)
    assert family_of("race", "Damascus", families) == family_of("race", "Syrians", families)
    assert family_of("race", "Atlantean", families) == family_of("race", "Atlantis", families)
    assert family_of("age", "teens", families) == family_of("age", "Teenager", families)
    assert family_of("race", "Damascus") != family_of("race", "Syrian")  # the shipped list is unchanged


@pytest.mark.parametrize("text", ["- a\n- b\n", "race: [Syria]\n", "race: [[no, yes]]\n", "race: [[]]\n", "a: [\n"])
def test_a_wrong_file_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(RequestError, match="mine.yaml"):
        load_families(path)
