"""Replaced target terms: articles, number, pronouns and letter case by hand; what cannot be replaced is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.data.families import family_of
from biasunlearn.data.records import Passage, Sentence, Triplet
from biasunlearn.data.referents import _find, replaced_pairs, replacements


def pair(bias_type: str, target: str | None, stereotype: str, anti: str) -> Triplet:
    return Triplet(
        "1", bias_type, "intrasentence", "", Sentence("1s", stereotype), Sentence("1a", anti), target=target
    )


def test_a_profession_is_replaced_by_others_and_by_a_neutral_referent() -> None:
    found = replacements(pair("profession", "engineer", "An engineer is smart.", "An engineer is dull."))
    assert len(found) == 4 and sum(one.neutral for one in found) == 1
    for one in found:
        start = "An" if one.term[0] in "aeiou" else "A"
        assert one.stereotype == f"{start} {one.term} is smart."
        assert one.anti_stereotype == f"{start} {one.term} is dull."


def test_number_is_kept() -> None:
    found = replacements(pair("profession", "engineer", "Most engineers are smart.", "Most engineers are dull."))
    assert found and all(one.term.endswith("s") or one.term == "people" for one in found)
    assert all(one.stereotype == f"Most {one.term} are smart." for one in found)


def test_a_place_becomes_a_place_and_a_people_a_people() -> None:
    places = replacements(pair("race", "Eriteria", "People from Eriteria are poor.", "People from Eriteria are rich."))
    assert len(places) == 4
    assert not any(one.term.endswith(("ian", "ese", "ish")) for one in places)
    people = replacements(pair("race", "Syrian", "The Syrian people fled.", "The Syrian people sang."), count=6)
    assert all(f"The {one.term} people" in one.stereotype for one in people)


def test_no_replacement_is_of_the_targets_family_or_of_one_that_is_left_out() -> None:
    without = frozenset({("race", family_of("race", term)) for term in ("Chile", "Peru", "Kenya", "Japan", "Syria")})
    made = replacements(pair("race", "Syria", "Syria is at war.", "Syria is at peace."), count=500, without=without)
    assert len(made) > 20
    assert not {("race", family_of("race", one.term)) for one in made} & without


def test_pronouns_are_swapped_with_the_whole_sentence() -> None:
    (one,) = replacements(pair("gender", "himself", "He hurt himself.", "He taught himself."))
    assert (one.stereotype, one.anti_stereotype) == ("She hurt herself.", "She taught herself.")
    found = replacements(pair("gender", "sister", "My sister lost her doll.", "My sister lost her hammer."))
    assert [one.stereotype for one in found] == ["My brother lost his doll."]  # "my uncle lost her doll" would be wrong


def test_a_noun_without_pronouns_has_other_nouns_and_a_neutral_one() -> None:
    found = replacements(pair("gender", "sister", "The sister is kind.", "The sister is strong."))
    assert found[0].stereotype == "The brother is kind."
    assert len(found) == 4 and found[-1].neutral


def test_a_bias_type_without_a_list_uses_the_terms_of_the_data() -> None:
    found = replacements(
        pair("age", "teenager", "The teenager is lazy.", "The teenager is busy."), others=["teenager", "adult", "elder"]
    )
    assert {one.term for one in found if not one.neutral} == {"adult", "elder"}
    assert "The elder is lazy." in {one.stereotype for one in found}


def test_a_term_at_the_start_is_capitalised_and_a_possessive_is_kept() -> None:
    found = replacements(pair("profession", "nurse", "Nurse's work is hard.", "Nurse's work is easy."))
    assert found and all(one.stereotype == f"{one.term[0].upper()}{one.term[1:]}'s work is hard." for one in found)


def after(context: str, bias_type: str, target: str, stereotype: str, anti: str) -> Triplet:
    sides = Sentence("1s", stereotype), Sentence("1a", anti)
    return Triplet("1", bias_type, "intersentence", context, *sides, target=target)


def test_of_an_intersentence_pair_the_context_and_both_sentences_are_about_another() -> None:
    found = replacements(after("An engineer came in.", "profession", "engineer", "Engineers are dull.", "We laughed."))
    assert len(found) == 4
    for one in found:
        start = "An" if one.term[0] in "aeiou" else "A"
        assert one.context == f"{start} {one.term} came in." and one.anti_stereotype == "We laughed."
        assert one.passages() == (Passage(one.context, f" {one.stereotype}"), Passage(one.context, " We laughed."))
    also = replacements(after("Who is it?", "profession", "nurse", "Nurse Ann is here.", "Nurse Bob is here."))
    assert also and all(one.stereotype == f"{one.term[0].upper()}{one.term[1:]} Ann is here." for one in also)
    assert all(one.context == "Who is it?" for one in also)


def test_pronouns_of_the_next_sentence_are_swapped_with_the_context() -> None:
    (one,) = replacements(after("My sister came.", "gender", "sister", "She cried.", "She swore."))
    assert one.passages() == (Passage("My brother came.", " He cried."), Passage("My brother came.", " He swore."))


@pytest.mark.parametrize("context", ["Somebody came in.", "A nurse came in.\nIt rained."])
def test_without_the_term_or_with_a_line_break_an_intersentence_pair_has_no_version(context: str) -> None:
    one = after(context, "profession", "nurse", "It is late.", "It is early.")
    assert replacements(one) == []
    why = "a sentence has more than one line" if "\n" in context else "the target term 'nurse' is not in the context"
    assert replaced_pairs([one]).left_out == (f"1: {why}",)


def test_intersentence_pairs_have_versions_only_where_a_file_has_no_others() -> None:
    second = after("A nurse came in.", "profession", "nurse", "She is kind.", "She is rude.")
    first = pair("profession", "nurse", "The nurse is kind.", "The nurse is rude.")
    alone, both = replaced_pairs([second]), replaced_pairs([first, second])
    assert alone.kind == "intersentence" and alone.versions["1"][0].context is not None
    assert both.kind == "intrasentence" and both.versions["1"][0].context is None


@pytest.mark.parametrize("target", [None, "pilot"])
def test_nothing_is_made_where_the_term_is_unknown_or_not_in_the_text(target: str | None) -> None:
    assert replacements(pair("profession", target, "The nurse is kind.", "The nurse is rude.")) == []


def test_the_choice_depends_on_the_pair_and_the_seed_only() -> None:
    one = pair("profession", "nurse", "The nurse is kind.", "The nurse is rude.")
    assert replacements(one) == replacements(one)
    assert replacements(one) != replacements(one, seed=1)


WORDY = st.text(st.sampled_from("abBsSe_- 1."), max_size=14)


@given(st.text(st.sampled_from("abBse-_1"), min_size=1, max_size=3), WORDY)
def test_a_word_is_found_where_the_general_expression_finds_it(term: str, text: str) -> None:
    """A sign that is not ASCII before the sentence takes it through the general expression."""
    general = [(one.start - 2, one.end - 2, one.plural) for one in _find(term, f"\u2026 {text}")]
    assert [tuple(one) for one in _find(term, text)] == general


def test_where_a_word_is_found_by_hand() -> None:
    assert [text for text in ("A Boss", "bosses", "boss-like", "embossed", "boss's") if _find("boss", text)] == [
        "A Boss", "bosses", "boss's",
    ]  # fmt: skip
    assert _find("bos", "boss")[0].plural and not _find("boss", "boss")[0].plural
