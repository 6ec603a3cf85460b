"""Counterfactual pairs: tables of sentences worked by hand, refusals, properties, and users' wrong files."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.data.counterfactual import Unswapped, counterfactual, counterfactual_pairs
from biasunlearn.data.term_lists import Group, TermList, load_term_list
from biasunlearn.data.term_matches import CannotSwap
from biasunlearn.data.word_forms import article
from biasunlearn.errors import RequestError

SHIPPED = ("gender", "profession", "race", "religion")
GENDER = load_term_list("gender")

# One counterpart each, so that the expected sentence does not depend on the seed.
NATIONS = TermList(
    "race",
    groups=(
        Group((("adjective", "Mexican"), ("person", "Mexican"), ("people", "Mexicans"), ("place", "Mexico"))),
        Group((("adjective", "Italian"), ("person", "Italian"), ("people", "Italians"), ("place", "Italy"))),
    ),
)
JOBS = TermList(
    "profession",
    groups=(
        Group((("person", "nurse"), ("people", "nurses"))),
        Group((("person", "MRI technician"), ("people", "MRI technicians"))),
    ),
)
SPANISH = TermList(
    "race",
    groups=(
        Group((("adjective", "Spanish"), ("person", "Spaniard"), ("language", "Spanish"))),
        Group((("adjective", "Mexican"), ("person", "Mexican"))),
        Group((("adjective", "Turkish"), ("person", "Turk"), ("language", "Turkish"))),
    ),
)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        # pronouns
        ("He is late.", "She is late."),
        ("She's late and he'll wait.", "He's late and she'll wait."),
        ("She’d go.", "He’d go."),
        ("He hurt himself.", "She hurt herself."),
        ("I saw him.", "I saw her."),
        ("I saw her.", "I saw him."),
        ("I saw her, and left.", "I saw him, and left."),
        ("I told her that it rained.", "I told him that it rained."),
        ("I told her he left.", "I told him she left."),
        ("I like her so very much.", "I like him so very much."),
        ("I loved her very much and left.", "I loved him very much and left."),
        ("They treat her unfairly.", "They treat him unfairly."),
        ("Her car broke.", "His car broke."),
        ("Her cooking is bad.", "His cooking is bad."),  # at the start it cannot be an object
        ("Her and I went.", "Him and I went."),
        ("She loves her new car.", "He loves his new car."),
        ("She called her lovely house.", None),  # a naming verb before it
        ("She sold her lovely house.", "He sold his lovely house."),
        ("I gave her mother a book.", "I gave his father a book."),  # a singular noun decides
        ("She did it on her own.", "He did it on his own."),
        ("His book fell.", "Her book fell."),
        ('His "friend" left.', 'Her "friend" left.'),
        ("The book is his.", "The book is hers."),
        ("A friend of his is here.", "A friend of hers is here."),
        ("The book is hers.", "The book is his."),
        # nouns, all of them together
        ("He loves his mother.", "She loves her father."),
        ("Men are stronger than women.", "Women are stronger than men."),
        ("She called her mother and father and cried.", None),  # "called her mother"
        ("She visits her mother and father.", "He visits his father and mother."),
        ("My mother-in-law is kind.", "My father-in-law is kind."),
        ("Mrs. Smith met Mr. Jones.", "Mr. Smith met Ms. Jones."),
        ("Yes, ma’am, she said.", "Yes, sir, he said."),
        # letter case
        ("SHE IS A WOMAN.", "HE IS A MAN."),
        ("Women rule. women rule. WOMEN RULE.", "Men rule. men rule. MEN RULE."),
        # possessive and plural
        ("The actress's dog", "The actor's dog"),
        ("The waiter's tip and the waiters' tips", "The waitress's tip and the waitresses' tips"),
        ("The ladies' room", "The gentlemen's room"),
        ("The LADIES' ROOM", "The GENTLEMEN'S ROOM"),
        ("The gentlemen's room", "The ladies' room"),
        # articles
        ("An actor met a heroine.", "An actress met a hero."),
        ("He is an uncle, not a nephew.", "She is an aunt, not a niece."),
        ("She is a grandmother and an old woman.", "He is a grandfather and an old man."),
        # word boundaries and phrases that mean something else
        ("The theme of the shepherd, she said.", "The theme of the shepherd, he said."),
        ("She speaks her mother tongue.", "He speaks his mother tongue."),
        ("She likes man-made lakes.", "He likes man-made lakes."),
        ("The email of Heman and she", "The email of Heman and he"),
    ],
)
def test_gender(before: str, after: str | None) -> None:
    if after is None:
        with pytest.raises(CannotSwap):
            counterfactual(before, GENDER)
    else:
        assert counterfactual(before, GENDER) == after


@pytest.mark.parametrize(
    ("sentence", "reason"),
    [
        ("The theme is rain.", "no term of the gender list found"),
        ("", "no term"),
        ("Mother Nature is cruel.", "no term"),
        ("She gave her flowers.", "ambiguous 'her': 'his' or 'him' is not decided by 'gave her flowers.'"),
        ("They made her cry.", "ambiguous 'her'"),
        ("It hurt her back.", "ambiguous 'her'"),
        ("They drove her home.", "ambiguous 'her'"),
        ("I met her two years ago.", "ambiguous 'her'"),
        ("I met her crying.", "ambiguous 'her'"),
        ("People like her deserve better.", "ambiguous 'her'"),
        ("They call her mother.", "ambiguous 'her'"),
        ('He met her "friend".', "ambiguous 'her'"),
        ("I liked her incredibly smart son.", "ambiguous 'her'"),
        ("That is her's.", "ambiguous 'her'"),
        ("Her will is strong.", "ambiguous 'Her'"),
        ("A friend of his always smiles.", "ambiguous 'his': 'her' or 'hers' is not decided by 'of his always'"),
        ("It is his and her house.", "ambiguous|both sides"),
        ("He or she may come.", "'He or she' names both sides at once"),
        ("The man or the woman may come.", "both sides"),
        ("Men and women work here.", "both sides"),
        ("He/she may come.", "'He/she' is a compound"),
        ("S/he may come.", "compound"),
        ("(S)he may come.", "compound"),
        ("A man-eating lion.", "'man-eating' is a compound"),
        ("hE is late.", "'hE' is in mixed letter case"),
        ("She is pregnant.", "'pregnant' has no counterpart in the list and would clash with the swap of 'She'"),
        ("Pregnant, she slept.", "'Pregnant' has no counterpart"),
        ("John lost his keys.", "'John' has no counterpart"),
        ("MARY LOST HER KEYS.", "'MARY' has no counterpart"),
        ("Miss Smith said she left.", "'Miss' has no counterpart"),
        ("'I saw the ladies' he said.", "may end a quotation or be a possessive"),
    ],
)
def test_gender_refusals(sentence: str, reason: str) -> None:
    with pytest.raises(CannotSwap, match=reason.replace("(", r"\(")):
        counterfactual(sentence, GENDER)


def test_a_name_clash_needs_its_capital_and_an_unknown_name_passes() -> None:
    assert counterfactual("I miss her.", GENDER) == "I miss him."
    assert counterfactual("Xavier lost his keys.", GENDER) == "Xavier lost her keys."  # documented: names are a list


@pytest.mark.parametrize(
    ("terms", "before", "after"),
    [
        (NATIONS, "A Mexican cooks.", "An Italian cooks."),
        (NATIONS, "An Italian cooks.", "A Mexican cooks."),
        (NATIONS, "MEET A MEXICAN!", "MEET AN ITALIAN!"),
        (NATIONS, "A MEXICAN!", "AN ITALIAN!"),
        (NATIONS, 'He is a "Mexican".', 'He is an "Italian".'),
        (NATIONS, "a tall Mexican", "a tall Italian"),  # the article belongs to another word
        (NATIONS, "The Mexican moved from Mexico.", "The Italian moved from Italy."),
        (NATIONS, "Mexicans' food and Mexico's food", "Italians' food and Italy's food"),
        (NATIONS, "the mexican man", "the italian man"),
        (JOBS, "A nurse and two nurses", "An MRI technician and two MRI technicians"),
        (JOBS, "AN MRI technician's bag", "A nurse's bag"),
        (JOBS, "Nurses' pay. A NURSE.", "MRI technicians' pay. AN MRI TECHNICIAN."),
        (JOBS, "MRI  technicians rest.", "Nurses rest."),  # a sentence keeps its capital
        (SPANISH, "He speaks Spanish.", "He speaks Turkish."),
        (SPANISH, "The Turk waits.", "The Spaniard waits."),
    ],
)
def test_groups(terms: TermList, before: str, after: str) -> None:
    after_options = {counterfactual(before, terms, seed=seed) for seed in range(12)}
    assert after in after_options
    if terms is not SPANISH:
        assert after_options == {after}


def test_a_word_of_two_forms_is_never_replaced_by_a_word_of_one() -> None:
    with pytest.raises(CannotSwap, match="no other group of the list has every form that 'Mexican' may be here"):
        counterfactual("The Mexican waits.", SPANISH)


@pytest.mark.parametrize(
    ("terms", "sentence", "reason"),
    [
        (NATIONS, "Mexicans envy Italians.", "two groups, 'Mexicans' and 'Italians', pull apart"),
        (NATIONS, "Mexican-Italian food", "compound"),
        (NATIONS, "MexiCan food", "mixed letter case"),
        (load_term_list("race"), "Black people in Kenya", "two kinds of terms"),
        (load_term_list("race"), "A Kenyan from Cairo", "'Cairo' has no counterpart"),
        (load_term_list("race"), "A Mexican from New Mexico", "'New Mexico' has no counterpart"),
        (load_term_list("religion"), "The Hindu left the temple.", "'temple' has no counterpart"),
        (load_term_list("profession"), "A heart surgeon slept.", "'heart surgeon' has no counterpart"),
        (load_term_list("race"), "He ate turkey off china.", "no term of the race list found"),
    ],
)
def test_group_refusals(terms: TermList, sentence: str, reason: str) -> None:
    with pytest.raises(CannotSwap, match=reason):
        counterfactual(sentence, terms)


def test_the_counterpart_is_drawn_by_seed_and_sentence_and_comes_from_another_family() -> None:
    jobs = load_term_list("profession")
    families = {word: group.family for group in jobs.groups for _, word in group.forms}
    drawn = {counterfactual("The nurse", jobs, seed=seed)[4:] for seed in range(40)}
    assert len(drawn) > 10
    assert "health" not in {families[word] for word in drawn}
    assert counterfactual("The nurse", jobs, seed=3) == counterfactual("The nurse", jobs, seed=3)


def test_article_by_sound() -> None:
    vowel = "hour honest heir honor MRI FBI X-ray uninteresting uncle urgent usher Uzbek 8-year 11th 18 apple Ethiopian"
    consonant = "university user European Ukrainian Ugandan one-armed unanimous unit UFO NASA house 180 urologist nurse"
    assert {article(word) for word in vowel.split()} == {"an"}
    assert {article(word) for word in consonant.split()} == {"a"}


def test_pairs_are_clusters_and_the_rest_is_listed_with_its_reason() -> None:
    rows = [("a.txt:1", "She is a nurse."), ("a.txt:2", "It rains."), ("a.txt:3", "A good woman cooks.")]
    clusters, unswapped = counterfactual_pairs(rows, GENDER)
    assert unswapped == [Unswapped("It rains.", "a.txt:2", "no term of the gender list found")]
    first, second = clusters
    assert (first.id, first.source, first.bias_type, first.kind) == ("a.txt:1", "a.txt:1", "gender", "intrasentence")
    assert (first.stereotype.id, first.stereotype.text) == ("a.txt:1-stereotype", "She is a nurse.")
    assert (first.anti_stereotype.id, first.anti_stereotype.text) == ("a.txt:1-anti-stereotype", "He is a nurse.")
    assert (first.target, second.target) == ("she", "woman")
    assert second.supervised(second.anti_stereotype).prefix == "A good"


def test_a_source_names_one_sentence() -> None:
    with pytest.raises(RequestError, match="a:1: this source names two sentences"):
        counterfactual_pairs([("a:1", "She left."), ("a:1", "He left.")], GENDER)


# ---- properties ----

# Words whose swap is undone by swapping again: no one-way terms, no his/her/him, no mixed case.
TWO_WAY = [word for pair in GENDER.pairs for word in pair if " " not in word]
PLAIN = ["the", "there", "then", "heat", "shell", "mankind", "works", "walks", "green", "quickly", "with", "12", "Ohio"]
PLURALS = {word for pair in GENDER.pairs for word in pair if word.endswith("s") and not word.endswith("ss")} - {"Ms"}
APOSTROPHES = "'’"


def possessive(word: str, mark: str) -> str:
    """As it is written: the ladies' club, the actress's part, the gentlemen's club."""
    return word + mark if word in PLURALS else f"{word}{mark}s"


WORDS = st.one_of(
    st.sampled_from(PLAIN),
    st.tuples(st.sampled_from([word for word in TWO_WAY if word[0].islower()]), st.sampled_from(APOSTROPHES)).flatmap(
        lambda one: st.sampled_from(
            [one[0], one[0].capitalize() if "-" not in one[0] else one[0], one[0].upper(), possessive(*one),
             possessive(*one).upper()]
        )
    ),
)  # fmt: skip
SENTENCES = st.lists(WORDS, min_size=1, max_size=9).map(" ".join)


@pytest.mark.slow
@given(SENTENCES)
def test_gender_swapped_twice_is_the_identity(sentence: str) -> None:
    try:
        once = counterfactual(sentence, GENDER)
    except CannotSwap as reason:
        assert str(reason).startswith("no term")
        return
    assert once != sentence
    assert counterfactual(once, GENDER) == sentence


@pytest.mark.slow
@given(SENTENCES)
def test_other_words_and_the_letter_case_stay(sentence: str) -> None:
    try:
        once = counterfactual(sentence, GENDER)
    except CannotSwap:
        return
    for old, new in zip(sentence.split(), once.split(), strict=True):
        if old in PLAIN:
            assert new == old
        assert (new.isupper(), new.islower(), new[0].isupper()) == (old.isupper(), old.islower(), old[0].isupper())


@pytest.mark.slow
@given(st.text(max_size=60), st.sampled_from([load_term_list(name) for name in SHIPPED]))
def test_any_text_is_swapped_or_refused(text: str, terms: TermList) -> None:
    clusters, unswapped = counterfactual_pairs([("x:1", text + " she Mexican nurse Muslim")], terms)
    assert len(clusters) + len(unswapped) == 1


# ---- possessives ----

NAMES = TermList("names", pairs=(("James", "Jane"), ("Charles", "Iris"), ("Ms", "Mr")))


@pytest.mark.parametrize(
    ("terms", "before", "after"),
    [
        (GENDER, "The ladies' club met.", "The gentlemen's club met."),
        (GENDER, "The gentlemen’s club met.", "The ladies’ club met."),
        (GENDER, "THE LADIES' CLUB", "THE GENTLEMEN'S CLUB"),
        (GENDER, "The wives' tale", "The husbands' tale"),
        (GENDER, "The women's coat", "The men's coat"),
        (GENDER, "The actress's part", "The actor's part"),
        (GENDER, "The actress’s part", "The actor’s part"),
        (GENDER, "The queen's hat", "The king's hat"),
        (NAMES, "James's hat", "Jane's hat"),
        (NAMES, "James' hat", "Jane's hat"),
        (NAMES, "Jane's hat", "James's hat"),
        (NAMES, "Charles' hat", "Iris' hat"),
        (NAMES, "Charles’s hat", "Iris’s hat"),
        (NAMES, "Ms's hat", "Mr's hat"),
        (NATIONS, "The Mexicans' flag", "The Italians' flag"),
    ],
)
def test_possessives(terms: TermList, before: str, after: str) -> None:
    assert counterfactual(before, terms) == after


def test_a_form_that_no_plural_has_is_refused() -> None:
    with pytest.raises(CannotSwap, match="\"ladies's\" is not a form of the plural 'ladies'"):
        counterfactual("The ladies's club", GENDER)


@given(st.sampled_from(TWO_WAY), st.sampled_from(APOSTROPHES), st.sampled_from(["", "s"]), st.booleans())
def test_a_possessive_is_kept_whatever_its_form(word: str, mark: str, letter: str, shouted: bool) -> None:
    """Swapped, it is a possessive still, with the same apostrophe; swapped twice more, nothing changes any more."""
    text = f"the {word}{mark}{letter} hat"
    try:
        once = counterfactual(text.upper() if shouted else text, GENDER)
    except CannotSwap as reason:
        assert letter and word in PLURALS and "is not a form of the plural" in str(reason)
        return
    twice = counterfactual(once, GENDER)
    assert mark in once and mark in twice
    assert counterfactual(counterfactual(twice, GENDER), GENDER) == twice
    assert twice.replace(mark, "").replace("s", "").replace("S", "") == (
        (text.upper() if shouted else text).replace(mark, "").replace("s", "").replace("S", "")
    )


# ---- scripts without spaces ----


def test_terms_are_found_in_writing_without_spaces() -> None:
    chinese = TermList("gender", pairs=(("他", "她"), ("男人", "女人")), neutral=("其他",))
    assert counterfactual("男人在家做饭。", chinese) == "女人在家做饭。"
    assert counterfactual("我看见他了。", chinese) == "我看见她了。"
    with pytest.raises(CannotSwap, match="no term of the gender list"):
        counterfactual("我有其他问题。", chinese)
    mixed = TermList("work", pairs=(("MRI", "CT"),))
    assert counterfactual("这是MRI技师。", mixed) == "这是CT技师。"  # a Latin word between Chinese ones is whole


# ---- the shipped lists ----


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_list(name: str) -> None:
    terms = load_term_list(name)
    assert terms.bias_type == name
    assert terms.pronouns == (name == "gender")
    for group in terms.groups:
        for _, term in group.forms:  # a listed term that can never be swapped would be a trap
            assert counterfactual(f"We know {term}.", terms) != f"We know {term}."
    for old, _ in (*terms.pairs, *terms.one_way):
        assert counterfactual(f"We know {old}.", terms) != f"We know {old}."


# ---- users' own lists ----


def test_a_csv_list(tmp_path: Path) -> None:
    path = tmp_path / "age.csv"
    path.write_text("term,counterpart\nyoung,old\n\nteenager, pensioner \n", encoding="utf-8")
    terms = load_term_list(path)
    assert (terms.bias_type, terms.pairs) == ("age", (("young", "old"), ("teenager", "pensioner")))
    assert counterfactual("A young teenager", terms) == "An old pensioner"


def test_yaml_words_stay_words(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("bias_type: answer\npairs:\n  - [yes, no]\n", encoding="utf-8")  # YAML 1.1 would read booleans
    assert load_term_list(path).pairs == (("yes", "no"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"mine.yaml:1: a term list is a mapping with the keys bias_type, pairs"),
        ("- he\n- she\n", r"mine.yaml:1: a term list is a mapping"),
        ("bias_type: x\npairs: [[a, b\n", r"mine.yaml:\d: not YAML"),
        ("bias_type: \x00", r"mine.yaml: not YAML"),
        ("pairs:\n  - [uncle, aunt]\n", r"bias_type is missing; add"),
        ("bias_type: x\n", r"neither pairs nor groups"),
        ("bias_type: x\npairs: []\n", r"are empty; add"),
        ("bias_type: [x]\npairs: []\n", r"mine.yaml:1: bias_type must be a word"),
        ("bias_type: x\npair:\n  - [uncle, aunt]\n", r"mine.yaml:2: unknown key 'pair'; the keys are"),
        ("bias_type: x\nbias_type: y\n", r"mine.yaml:2: the key 'bias_type' occurs twice"),
        ("[a]: x\n", r"mine.yaml:1: a key must be a word"),
        ("bias_type: x\npairs: uncle\n", r"mine.yaml:2: pairs must be a list"),
        ("bias_type: x\npairs:\n  - [uncle, aunt, niece]\n", r"mine.yaml:3: each item of pairs holds two terms"),
        ("bias_type: x\npairs:\n  - uncle\n", r"mine.yaml:3: each item of pairs holds two terms"),
        ("bias_type: x\npairs:\n  - [uncle, '']\n", r"mine.yaml:3: pairs must be a word"),
        ("bias_type: x\npairs:\n  - [Mr., Ms.]\n", r"mine.yaml:3: pairs: 'Mr.' must begin and end with a letter"),
        ("bias_type: x\npairs:\n  - [uncle, Uncle]\n", r"mine.yaml:3: pairs: 'uncle' is its own counterpart"),
        (
            "bias_type: x\npairs:\n  - [dad, mom]\n  - [dad, mum]\n",
            r"mine.yaml:4: 'dad' is listed twice: 'dad -> mom' and 'dad -> mum'; keep one",
        ),
        ("bias_type: x\npairs:\n  - [dad, mom]\none_way:\n  - [mom, dad]\n", r"mine.yaml:5: 'mom' is listed twice"),
        ("bias_type: x\npairs:\n  - [dad, mom]\nclashes: [mom]\n", r"mine.yaml:4: 'mom' is listed twice"),
        ("bias_type: x\npairs:\n  - [his, her]\n", r"mine.yaml:3: 'his' is a pronoun; list only the pair \[he, she\]"),
        ("bias_type: x\npairs:\n  - [he, they]\n", r"mine.yaml:3: 'he' is a pronoun"),
        ("bias_type: x\ngroups:\n  - nurse\n", r"mine.yaml:3: each group is a mapping"),
        ("bias_type: x\ngroups:\n  - {person: nurse}\n", r"mine.yaml:3: only one group"),
        ("bias_type: x\ngroups:\n  - {family: a}\n", r"mine.yaml:3: a group has no terms"),
        ("bias_type: x\ngroups:\n  - {person: [nurse]}\n", r"mine.yaml:3: groups: person must be a word"),
        ("bias_type: x\ngroups:\n  - {person: nurse}\n  - {person: Nurse}\n", r"mine.yaml:4: 'Nurse' is listed twice"),
    ],
)
def test_wrong_yaml(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=message) as caught:
        load_term_list(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"mine.csv:1: the first line of a CSV term list must be 'term,counterpart'"),
        ("uncle,aunt\n", r"mine.csv:1: the first line"),
        ("term,counterpart\n", r"no pairs below the first line"),
        ("term,counterpart\nuncle\n", r"mine.csv:2: 1 fields where the header has 2"),
        ("term,counterpart\nuncle,\n", r"mine.csv:2: field counterpart: empty"),
        ("term,counterpart\nhe,she\nhis,her\n", r"mine.csv:3: 'his' is a pronoun"),
        ("term,counterpart\ndad,mom\ndad,mum\n", r"mine.csv:3: 'dad' is listed twice"),
    ],
)
def test_wrong_csv(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(RequestError, match=message):
        load_term_list(path)


def test_missing_and_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="nor a shipped list .gender, profession, race, religion"):
        load_term_list("gendre")
    with pytest.raises(RequestError, match="cannot be read"):
        load_term_list(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"bias_type: caf\xe9\n")
    with pytest.raises(RequestError, match="not UTF-8"):
        load_term_list(tmp_path / "latin.yaml")


def test_a_list_built_in_python_is_checked_too() -> None:
    with pytest.raises(RequestError, match="'dad' is listed twice"):
        TermList("x", pairs=(("dad", "mom"), ("mum", "dad")))
