"""Whom the answers of BBQ are about: tags against group names, in all categories, from questions of our own."""

import json

import pytest

from biasunlearn.benchmarks import bbq
from biasunlearn.benchmarks.bbq_groups import TARGETS, QuestionGroups, inferred_targets, people_of, stereotyped_answer
from tests.shared_data import SHARED, needs_shared


def question(category, first, second, groups, template="", answers=("One", "Two")) -> QuestionGroups:
    """Two people and the unknown answer last."""
    people = people_of([first, second, ("Unknown", "unknown")], [*answers, "Unknown"], 2)
    return QuestionGroups(category, template, people, tuple(groups))


@pytest.mark.parametrize(
    ("category", "first", "second", "groups", "expected"),
    [
        ("Age", ("aunt", "old"), ("niece", "nonOld"), ["nonOld"], 1),
        ("Disability_status", ("tailor", "nonDisabled"), ("deaf tailor", "disabled"), ["disabled", "D/deaf"], 1),
        ("Gender_identity", ("woman", "woman"), ("man", "man"), ["F"], 0),
        ("Gender_identity", ("girl", "girl"), ("boy", "boy"), ["M"], 1),
        ("Gender_identity", ("Paul", "M"), ("Paula", "F"), ["F"], 1),
        ("Gender_identity", ("Dora", "trans_F"), ("Mark", "nonTrans_M"), ["Transgender women", "trans"], 0),
        ("Gender_identity", ("Eve", "nonTrans_F"), ("Tom", "trans_M"), ["transgender men", "trans"], 1),
        ("Gender_identity", ("man", "man"), ("boy", "boy"), ["F"], None),  # neither: official rows have this
        ("Gender_identity", ("woman", "woman"), ("girl", "girl"), ["F"], None),  # both
        ("Nationality", ("Dane", "Europe"), ("Kenyan", "Africa"), ["Eritrean", "Kenyan"], 1),
        ("Physical_appearance", ("tall", "tall"), ("short", "short"), ["short"], 1),
        ("Race_ethnicity", ("Wei Chen", "M-Asian"), ("Omar Hadid", "M-Arab"), ["Middle Eastern", "Arab"], 1),
        ("Race_ethnicity", ("African", "African"), ("other", "African American"), ["Black", "African American"], 1),
        ("Religion", ("Sikh", "Sikh"), ("Catholic", "Catholic"), ["Mormon", "Orthodox", "Catholic"], 1),
        ("SES", ("dentist", "highSES"), ("porter", "lowSES"), ["low SES"], 1),
        ("Sexual_orientation", ("lesbian", "lesbian"), ("straight", "straight"), ["gay", "lesbian"], 0),
        ("my own", ("left", "left-handed"), ("right", "right-handed"), ["left-handed"], 0),
        ("my own", ("left", "a"), ("right", "b"), ["c"], None),
    ],
)
def test_the_answer_about_a_stereotyped_group(category, first, second, groups, expected) -> None:
    assert stereotyped_answer(question(category, first, second, groups)) == expected


@pytest.mark.parametrize(
    ("category", "template", "first", "second", "groups", "expected"),
    [
        # one person of the race: that is the target, whatever the template
        ("Race_x_gender", "", ("x", "F-Black"), ("y", "F-White"), ["Black"], 0),
        ("Race_x_SES", "", ("x", "highSES-White"), ("y", "lowSES-M-Black"), ["Black"], 1),
        # two of the race: the template says which gender or income it is about (1: men, 3: women; 1: low, 13: high)
        ("Race_x_gender", "1", ("x", "F-Black"), ("y", "M-Black"), ["Black"], 1),
        ("Race_x_gender", "3", ("x", "F-Black"), ("y", "M-Black"), ["Black"], 0),
        ("Race_x_SES", "1", ("x", "highSES-Black"), ("y", "lowSES-Black"), ["Black"], 1),
        ("Race_x_SES", "13", ("x", "highSES-White"), ("y", "lowSES-White"), ["White"], 0),
        ("Race_x_SES", "13", ("x", "lowSES-lowSES-White"), ("y", "highSES-highSES-White"), ["White"], 1),
        ("Race_x_gender", "99", ("x", "F-Black"), ("y", "M-Black"), ["Black"], None),  # a template that nobody knows
    ],
)
def test_categories_of_two_axes(category, template, first, second, groups, expected) -> None:
    assert stereotyped_answer(question(category, first, second, groups, template)) == expected


def test_the_text_is_preferred_to_a_tag_of_the_wrong_axis_and_stands_in_for_an_empty_one() -> None:
    wrong = question("Race_x_gender", ("Black woman", "M-Black"), ("Black man", "M-Black"), ["Black"], "3")
    assert stereotyped_answer(wrong) == 0
    answers = ("The Latina woman", "The Black woman")
    empty = question("Race_x_gender", ("", ""), ("Black woman", "F-Black"), ["Hispanic", "Latino"], "3", answers)
    assert stereotyped_answer(empty) == 0


def test_the_second_axis_of_a_template_from_its_other_questions() -> None:
    """Where one person has the stereotyped race, that person's gender is the one that the template is about."""
    telling = question("Race_x_gender", ("x", "M-Asian"), ("y", "F-White"), ["Asian"], "mine")
    asking = question("Race_x_gender", ("x", "F-Asian"), ("y", "M-Asian"), ["Asian"], "mine")
    targets = inferred_targets([telling, asking])
    assert stereotyped_answer(asking, targets) == 1 and stereotyped_answer(asking) is None
    other = question("Race_x_gender", ("x", "F-Asian"), ("y", "F-White"), ["Asian"], "mine")
    assert stereotyped_answer(asking, inferred_targets([telling, other])) is None  # they contradict each other
    assert inferred_targets([question("Age", ("x", "old"), ("y", "nonOld"), ["old"], "mine")]) == {}


def test_official_templates() -> None:
    sides = [side for (category, _), side in TARGETS.items() if category == "race_x_ses"]
    assert (sides.count("lowses"), sides.count("highses")) == (14, 12)
    men = {template for (category, template), side in TARGETS.items() if (category, side) == ("race_x_gender", "m")}
    assert men == {"1", "2", "7", "8", "43", "44"}


def row(number, category="Age", **changes):
    return {
        "example_id": number, "question_index": "1", "question_polarity": "neg", "context_condition": "disambig",
        "category": category, "context": f"Ann and Bob met on day {number}.", "question": "Who was it?",
        "answer_info": {"ans0": ["Ann", "old"], "ans1": ["Bob", "nonOld"], "ans2": ["Unknown", "unknown"]},
        "additional_metadata": {"stereotyped_groups": ["old"]}, "ans0": "Ann", "ans1": "Bob", "ans2": "Unknown",
        "label": number % 2, **changes,
    }  # fmt: skip


def entry_of(tmp_path, rows):
    """Results where the first answer is always the likeliest."""
    from biasunlearn.stats.stereoset import Item

    path = tmp_path / "q.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    items = [
        Item("bbq", f"{q.id}/{kind}/{n}", q.id, q.category, q.template, kind, q.roles[n], -1.0 - n, 1, q.condition)
        for q in bbq.read(str(path)).records for kind in ("answer", "letters 1", "letters 2", "letters 3")
        for n in range(3)
    ]  # fmt: skip
    return bbq.entry(items)


UNKNOWN_GROUP = {"additional_metadata": {"stereotyped_groups": ["green"]}}


def test_too_many_unknown_groups_make_the_bias_scores_unavailable(tmp_path) -> None:
    known, unknown = [row(n) for n in range(10)], [row(n, "Odd", **UNKNOWN_GROUP) for n in range(2)]
    result = entry_of(tmp_path, [*known, *unknown, row(2, "Odd")])
    assert result.untold == 2 and result.bias_types["Odd"].given["untold"] == 2
    assert result.bias_types["Odd"].interval("s_dis") is None and result.bias_types["Age"].interval("s_dis").value == 1
    assert "the stereotyped answer of 2 questions is not known" in result.notes[0] and "Odd 2 of 3" in result.notes[0]
    assert result.notes[1] == (
        "s_amb and s_dis are not available for Odd; the overall ones are about the other categories"
    )


def test_a_few_unknown_groups_are_left_out_and_counted(tmp_path) -> None:
    """As in the official script, which leaves out 16 of 5,672 questions of one category."""
    result = entry_of(tmp_path, [*(row(n) for n in range(100)), row(100, **UNKNOWN_GROUP)])
    assert result.untold == 1 and result.overall.interval("s_dis").value == 1
    assert result.notes == ["the stereotyped answer of 1 questions is not known; they count in the accuracies only: "
                            "Age 1 of 101"]  # fmt: skip


@pytest.mark.slow
@needs_shared
@pytest.mark.parametrize(
    ("file", "questions", "known"),
    [("Gender_identity", 2836, 2828), ("Race_ethnicity", 3440, 3440), ("SES", 3432, 3432)],
)
def test_official_halves_with_their_tags(file, questions, known) -> None:
    """As many as the official script resolves: 8 questions about boy and man, or woman and girl, have no one answer."""
    found = bbq.read(str(SHARED / f"data/bbq_tags/{file}_ambig.jsonl.gz")).records
    assert len(found) == questions and sum("biased" in one.roles for one in found) == known


@needs_shared
def test_constructed_questions_of_all_categories() -> None:
    """44 questions with their answers; of two about one race no template says which gender they are about."""
    path = SHARED / "data/bbq_tags/constructed_examples.jsonl"
    expected = [json.loads(line)["expected"] for line in path.read_text().splitlines()]
    unknown = []
    for one, right in zip(bbq.read(str(path)).records, expected, strict=True):
        if "biased" in one.roles:
            assert one.roles.index("biased") == right["bias_aligned_loc"], one.id
        else:
            unknown.append(one.id)
    assert unknown == ["Race_x_gender-24", "Race_x_gender-27"]
