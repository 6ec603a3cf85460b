"""One normal form for comparing texts: spellings of the same text are equal, other texts are not."""

import unicodedata
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.data.checks import contamination, overlap
from biasunlearn.data.normal_text import bias_type_name, is_blank, normal_text, tidy
from biasunlearn.data.readers import fingerprint, triplet_hash
from biasunlearn.data.records import Sentence, Triplet
from biasunlearn.data.splits import group_of, split
from biasunlearn.data.target_terms import with_targets, with_unrelated

PLAIN = "Le café de Pépé est fermé."


@pytest.mark.parametrize(
    "spelling",
    [
        unicodedata.normalize("NFD", PLAIN),
        PLAIN.replace(" ", "\u00a0"),
        PLAIN.replace(" ", "  "),
        PLAIN.replace(" ", "\u2009\t"),
        PLAIN.rstrip("."),
        PLAIN.rstrip(".") + " .",
        PLAIN.upper(),
        PLAIN.replace("café", "ca\u200bfé\u200d"),
        "\ufeff" + PLAIN.replace("fermé", "fer\u00admé"),
        f"  {PLAIN}\n",
    ],
)
def test_spellings_of_one_text(spelling: str) -> None:
    assert normal_text(spelling) == normal_text(PLAIN) == "le café de pépé est fermé"


@pytest.mark.parametrize(
    "other", ["Le cafe de Pépé est fermé.", "Le café de Pépé est fermé!", "Le café de Pépé n'est fermé.", ""]
)
def test_other_texts(other: str) -> None:
    assert normal_text(other) != normal_text(PLAIN)


def test_signs_that_are_written_in_two_ways() -> None:
    assert normal_text("Don’t say “no”‑one") == normal_text("don't say \"no\"-one")
    assert normal_text("他在家做饭。") == normal_text("他在家做饭")


@given(st.text(max_size=40))
def test_the_form_is_stable(text: str) -> None:
    form = normal_text(text)
    assert normal_text(form) == form == normal_text(unicodedata.normalize("NFD", text))
    assert tidy(tidy(text)) == tidy(text) and bias_type_name(bias_type_name(text)) == bias_type_name(text)
    if is_blank(text):
        assert form == ""


def pair(number: int, context: str, target: str | None = None, **changes: str) -> Triplet:
    texts = {"stereotype": f"Pair {number} is bad.", "anti_stereotype": f"Pair {number} is good."} | changes
    return Triplet(
        f"c{number}", "x", "intrasentence", context, Sentence("s", texts["stereotype"]),
        Sentence("a", texts["anti_stereotype"]), Sentence("u", f"Pair {number} is fish."), target,
    )  # fmt: skip


def respelled(text: str) -> str:
    return unicodedata.normalize("NFD", text).replace(" ", "\u00a0").rstrip(".").upper()


def test_a_pair_is_recognised_in_another_spelling_wherever_it_matters() -> None:
    one = pair(1, "", stereotype="Pépé est lent.", anti_stereotype="Pépé est vif.")
    two = pair(1, "", stereotype=respelled("Pépé est lent."), anti_stereotype=respelled("Pépé est vif."))
    assert triplet_hash(one) == triplet_hash(two) and overlap({triplet_hash(one)}, [two]) == 1
    assert contamination([two], [triplet_hash(one)]) == {"clusters": 1, "of": 1}
    assert fingerprint([one]) != fingerprint([two])  # two files all the same


def test_pairs_that_an_older_version_recorded_are_recognised() -> None:
    import hashlib

    one = pair(1, "", stereotype="Pépé est lent.", anti_stereotype="Pépé est vif.")
    recorded = hashlib.sha256("\npépé est lent.\npépé est vif.".encode()).hexdigest()[:16]
    assert contamination([one], [recorded]) == {"clusters": 1, "of": 1}


def test_terms_and_contexts_are_joined_in_another_spelling() -> None:
    named = [pair(1, "Pépé est BLANK.", "Pépé"), pair(2, "Élève de BLANK", "l’Élève")]
    contexts = (respelled("Pépé est BLANK."), "L'ÉLÈVE  dort: BLANK.", respelled("Élève de BLANK"))
    train = [pair(number, context) for number, context in enumerate(contexts)]
    assert [c.target for c in with_targets(train, named)] == ["Pépé", "l’Élève", "l’Élève"]
    missing = replace(pair(5, "Élève  de BLANK"), unrelated=None)
    (joined,) = with_unrelated([missing], named)
    assert joined.unrelated == named[1].unrelated


def test_a_term_in_two_spellings_is_one_group_and_is_not_divided() -> None:
    pairs = [pair(n, "", ("Pépé", respelled("Pépé"), "pépé ", "P\u200bépé")[n % 4]) for n in range(8)]
    pairs += [pair(n, "", f"other {n}") for n in range(8, 16)]
    assert len({group_of(c) for c in pairs[:8]}) == 1
    for seed in range(8):
        parts = split(pairs, stop_share=0.4, seed=seed)
        held = {c.id for c in parts.stop}
        assert len(held & {c.id for c in pairs[:8]}) in (0, 8)
