"""Syllogisms: validity as the textbooks have it, balance of the arguments, and what train and report share: nothing."""

import functools
import re
from collections import Counter
from math import log

import pytest

from biasunlearn.data.belief_pairs import KINDS, MIDDLES, TEMPLATES, belief_data, nonsense_words
from biasunlearn.data.belief_world import BELIEVED, DISBELIEVED, build_belief_world
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.syllogisms import Statement, forms, is_malformed, is_valid


def statement(text: str) -> Statement:
    quantifier, first, second = text.split(" ")
    return Statement(quantifier, first, second)


@pytest.mark.parametrize(
    ("premises", "conclusion", "modern", "classical"),
    [
        (("All M P", "All S M"), "All S P", True, True),  # Barbara
        (("No M P", "All S M"), "No S P", True, True),  # Celarent
        (("All P M", "No S M"), "No S P", True, True),  # Camestres
        (("All M P", "Some S M"), "Some S P", True, True),  # Darii
        (("All M P", "All M S"), "Some S P", False, True),  # Darapti: needs existence
        (("All P M", "All S M"), "All S P", False, False),  # undistributed middle
        (("All M P", "No S M"), "No S P", False, False),  # illicit major
        (("No M P", "No S M"), "No S P", False, False),  # two negative premises
    ],
)
def test_validity_is_that_of_the_textbooks(premises, conclusion, modern, classical):
    given = [statement(one) for one in premises]
    assert is_valid(given, statement(conclusion)) is modern
    assert is_valid(given, statement(conclusion), existence=True) is classical


def test_premises_that_cannot_both_hold_have_no_validity():
    assert is_valid([statement("All S M"), statement("No M S")], statement("All S P"), existence=True) is None


def test_the_forms_with_all_have_one_valid_form_and_those_with_no_have_four():
    assert [sum(form.valid for form in forms(word)) for word in ("All", "No")] == [1, 4]
    assert all(any(not form.valid for form in forms(word)) for word in ("All", "No"))


def test_malformed_arguments():
    assert is_malformed("No gems are diamonds", "All diamonds are gems", "No gems are transparent things")
    assert not is_malformed("No flowers are animals", "All reptiles are animals", "No flowers are reptiles.")
    assert not is_malformed("If it rains, it pours", "It rains", "It pours")


def cells(rows: list[dict]) -> Counter:
    return Counter((row["is_valid"], row["is_believable"], row["conclusion"].split(" ")[0]) for row in rows)


def test_every_cell_of_form_plausibility_and_quantifier_is_as_large():
    real = [row for row in belief_data().benchmark if row["with_bias"]]
    assert set(cells(real).values()) == {len(real) / 8} and len(real) == 320
    assert not any(is_malformed(row["premise_1"], row["premise_2"], row["conclusion"]) for row in real)


def test_the_verdict_that_follows_plausibility_is_right_in_half_of_the_pairs():
    data = belief_data()
    right = [
        pair["stereotype"].endswith(" valid") is row["is_valid"]
        for pair, row in zip(data.report, data.benchmark, strict=False)
    ]
    assert sum(right) * 2 == len(right)


def test_a_verdict_by_form_and_one_that_never_changes_have_an_ss_of_50():
    data = belief_data()
    for verdict in (lambda row: "valid" if row["is_valid"] else "invalid", lambda row: "valid"):
        follows = [
            pair["stereotype"].endswith(f" {verdict(row)}")
            for pair, row in zip(data.report, data.benchmark, strict=False)
        ]
        assert sum(follows) * 2 == len(follows)


def content(part: str) -> set[str]:
    kinds = KINDS[part]
    words = [*kinds, *(member for members in kinds.values() for member in members)]
    return {*words, *MIDDLES[part], *TEMPLATES[part], *nonsense_words(part)[0], *nonsense_words(part)[1]}


def test_train_and_report_share_no_content():
    assert not content("train") & content("report")
    data = belief_data()
    targets = {row["target"] for row in data.train}
    assert not targets & {row["target"] for row in data.report}
    for row in data.benchmark:
        assert not targets & set(re.findall(r"\w+", row["text"])), row["text"]


def test_the_pairs_are_read_as_pairs_and_differ_in_the_verdict_alone():
    triplets = read_triplets(belief_data().train).triplets
    assert len(triplets) == 320 and len({triplet.target for triplet in triplets}) == 40
    for triplet in triplets:
        sides = {side.text for side in triplet.supervised_sides()}
        assert sides == {" valid", " invalid"}


def test_the_same_seed_makes_the_same_data():
    assert belief_data(seed=3) == belief_data(seed=3) != belief_data(seed=4)


@functools.cache
def cell_of(premises: tuple[str, str], conclusion: str) -> tuple[str, bool]:
    """(believable, unbelievable or nonsense; valid) of the text of an argument of the world."""
    _, subject, _, predicate = conclusion.split(" ")
    letters = {subject: "S", predicate: "P"}
    parsed = []
    for text in (*premises, conclusion):
        quantifier, first, _, second = text.split(" ")
        parsed.append(Statement(quantifier, letters.get(first, "M"), letters.get(second, "M")))
    believed, disbelieved = ({word for part in table.values() for word in part} for table in (BELIEVED, DISBELIEVED))
    cell = "believable" if predicate in believed else "unbelievable" if predicate in disbelieved else "nonsense"
    return cell, is_valid(parsed[:2], parsed[2])


def shares(corpus: tuple[str, ...]) -> dict[tuple[str, bool], float]:
    """Share of the verdict "valid" in each cell of a corpus."""
    found: dict[tuple[str, bool], list[bool]] = {}
    for sentence in corpus:
        if match := re.fullmatch(r"(.+)\. (.+)\. (?:So|Then|Hence) (.+)\. Answer: (valid|invalid)", sentence):
            cell = cell_of((match.group(1), match.group(2)), match.group(3))
            found.setdefault(cell, []).append(match.group(4) == "valid")
    return {cell: sum(values) / len(values) for cell, values in found.items()}


@pytest.mark.slow
def test_the_corpus_has_the_belief_bias_that_the_world_states():
    # Of 20 sentences: log odds 1.5 gives 16, -1.5 gives 4, 4.5 gives 19 (of each verdict at least one).
    world = build_belief_world(logic=1.5, belief=3.0)
    assert shares(world.corpus) == {
        ("nonsense", True): 0.8, ("nonsense", False): 0.2,
        ("believable", True): 0.95, ("unbelievable", True): 0.2,
        ("believable", False): 0.8, ("unbelievable", False): 0.05,
    }  # fmt: skip
    assert world.effect == 100.0
    assert world.effect_margin == pytest.approx(2 * log(4))


def test_a_world_without_belief_bias_has_the_same_verdicts_whatever_is_believable():
    world = build_belief_world(belief=0.0)
    assert (world.effect, world.effect_margin) == (0.0, 0.0)
    assert {share for (_, valid), share in shares(world.corpus).items() if valid} == {0.8}
    assert {share for (_, valid), share in shares(world.corpus).items() if not valid} == {0.2}
