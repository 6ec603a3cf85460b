"""Controls: how they are made, by hand, and what they say about fair, indifferent and broken models."""

import json

import pytest

from biasunlearn.benchmarks import controls
from biasunlearn.data.records import Sentence, Triplet
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.stereoset import Item
from tests import tiny


def cluster(name, stereotype, anti, *, bias_type="gender", context="", unrelated=None, kind="intrasentence") -> Triplet:
    wrong = None if unrelated is None else Sentence(f"{name}-u", unrelated)
    sides = Sentence(f"{name}-s", stereotype), Sentence(f"{name}-a", anti)
    return Triplet(name, bias_type, kind, context, *sides, unrelated=wrong, target=name)


WOMAN = cluster("1", "The woman is weak today.", "The woman is strong today.")
NURSE = cluster("2", "A nurse sings.", "A nurse argues.", bias_type="profession")


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("The woman is weak.", "The woman is not weak."),
        ("Men can sing and are loud.", "Men can not sing and are loud."),  # the first one
        ("He is not loud.", "He is loud."),
        ("He isn't loud.", "He is loud."),
        ("They can't and won't go.", "They can and won't go."),
        ("They won't go.", "They will go."),
        ("She did not go.", "She did go."),
        ("The poet sings.", None),
        ("Is he loud?", None),  # a question
        ("Miss Isabel sings.", None),
    ],
)
def test_negated(sentence, expected):
    assert controls.negated(sentence) == expected


def test_swapped_is_about_the_other_group_and_keeps_the_difference():
    assert controls.swapped(WOMAN) == ("The man is weak today.", "The man is strong today.")
    assert controls.swapped(cluster("x", "Green ideas sleep.", "Green ideas wake.")) is None
    # The list of the pair's own bias type counts: "he" is no profession.
    assert (
        controls.swapped(cluster("x", "The zzz said he sings.", "The zzz said he shouts.", bias_type="profession"))
        is None
    )
    assert controls.swapped(cluster("x", "He sings.", "He shouts.", bias_type="mine")) == ("She sings.", "She shouts.")
    inter = cluster("x", "He sings.", "He shouts.", kind="intersentence", context="A man came.")
    assert controls.swapped(inter) is None


def test_shuffled_keeps_the_words_and_both_ends():
    text = controls.shuffled("The woman in town is weak today.", "seed")
    first, *middle, last = text.split()
    assert (first, last) == ("The", "today.") and sorted(middle) == sorted("woman in town is weak".split())
    assert text != "The woman in town is weak today." and text == controls.shuffled(
        "The woman in town is weak today.", "seed"
    )
    assert controls.shuffled("It is so.", "seed") is None  # no other order
    assert controls.shuffled("a b b c", "seed") is None
    assert controls.shuffled("", "seed") is None


@pytest.mark.parametrize(
    ("first", "second", "ends"),
    [
        ("He is slow today.", "He is quick today.", ("He is ", " today.")),
        ("Weak men sing.", "Strong men sing.", ("", " men sing.")),
        ("He is weak", "He is strong", ("He is ", "")),
        ("He is a poet.", "He is a pet.", ("He is a ", ".")),  # not inside a word
        ("He sings.", "He sings loudly.", ("He ", ".")),
    ],
)
def test_shared_ends(first, second, ends):
    assert controls.shared_ends(first, second) == ends


def test_irrelevant_lends_the_words_of_another_pair():
    assert controls.irrelevant(WOMAN, NURSE) == "The woman is sings today."
    assert controls.irrelevant(WOMAN, WOMAN) is None
    said = cluster("3", "He sings.", "He shouts.", kind="intersentence", context="A man came.")
    other = cluster("4", "It rains.", "It snows.", kind="intersentence", context="It is dark.")
    assert controls.irrelevant(said, other) == "It rains." and controls.irrelevant(said, said) is None


def test_what_is_scored_of_a_pair():
    made = {(kind, role): passage for kind, role, passage in controls.controls(WOMAN, NURSE)}
    assert {kind for kind, _ in made} == {"pair", "negated", "swapped", "shuffled", "irrelevant"}
    assert made["negated", "anti-stereotype"].text == "The woman is not strong today."
    own = cluster("5", "He is weak.", "He is strong.", unrelated="He is purple.")
    assert {p.text for kind, _, p in controls.controls(own, NURSE) if kind == "irrelevant"} == {"He is purple."}


# --- scores --------------------------------------------------------------------------------------------------------


def pair(number, pair_, negated=None, swapped=None, irrelevant=None, shuffled=None, bias_type="gender") -> list[Item]:
    """Items from (stereotype, anti-stereotype) scores of each kind."""
    kinds = {"pair": pair_, "negated": negated, "swapped": swapped, "shuffled": shuffled}
    scores = {
        (kind, role): score
        for kind, both in kinds.items() if both
        for role, score in zip(("stereotype", "anti-stereotype"), both, strict=True)
    }  # fmt: skip
    if irrelevant is not None:
        scores["irrelevant", "unrelated"] = irrelevant
    return [Item("controls", f"{number}{k}{r}", str(number), bias_type, f"term {number}", k, r, s, 5)
            for (k, r), s in scores.items()]  # fmt: skip


def test_scores_by_hand():
    # pair 1: stereotype (-2 > -3); negated flips; swapped keeps: group effect 0. Irrelevant -4 loses twice: 100.
    #   Shuffled beats the stereotype only: 50. Margins: |1| against (|2| + |1|) / 2 = 1.5.
    # pair 2: anti (-4 < -3); negated stays anti; swapped flips to the stereotype: -100. Irrelevant -3.5 beats one: 50.
    #   Margins |1| against (0.5 + 0.5) / 2 = 0.5. margin_ratio = (1 + 1) / (1.5 + 0.5) = 1.
    items = [
        *pair(1, (-2, -3), negated=(-5, -4), swapped=(-2, -3), irrelevant=-4, shuffled=(-1, -9)),
        *pair(2, (-4, -3), negated=(-5, -4), swapped=(-2, -3), irrelevant=-3.5),
    ]
    entry = controls.entry(items).to_dict()
    found = {score: row["value"] for score, row in entry["overall"].items() if score in controls.IDEAL}
    assert found == pytest.approx({
        "ss": 50, "ss_negated": 0, "ss_swapped": 100, "group_effect": -50, "meaningful": 75, "in_order": 50,
        "margin_ratio": 1,
    })  # fmt: skip
    assert entry["made"] == {"pair": 2, "negated": 2, "swapped": 2, "irrelevant": 2, "shuffled": 1}


def many(count=60, **kinds) -> dict:
    """An entry of `count` pairs; each kind is a function of the number."""
    items = [item for n in range(count) for item in pair(n, **{k: f(n) for k, f in kinds.items()})]
    return controls.entry(items).to_dict()


def test_few_pairs_that_are_even_are_undecided():
    """With 60 pairs the interval of SS reaches beyond 45 and 55, which is no evidence of an even model."""
    assert many(60, pair_=alternating(0.1), **SENSE)["overall"]["reading"].startswith("undecided")


def alternating(size):
    return lambda n: (-3 + size * (n % 2), -3 + size * (1 - n % 2))


SENSE = {"irrelevant": lambda n: -5.0, "shuffled": lambda n: (-9.0, -9.0)}


@pytest.mark.parametrize(
    ("kinds", "says"),
    [
        # all SS 50: unbiased, preferences that cancel, indifferent, shuffled words preferred
        ({"pair_": alternating(0.1), **SENSE}, "even: neither side"),
        ({"pair_": alternating(3.0), **SENSE}, "even on average only"),
        ({"pair_": alternating(0.1), "irrelevant": lambda n: -3.0 + 0.2 * (n % 4 > 1), "shuffled": SENSE["shuffled"]},
         "broken or indifferent"),
        ({"pair_": alternating(0.1), "irrelevant": SENSE["irrelevant"], "shuffled": lambda n: (-2.0, -2.0)},
         "the same words in another order"),
        # SS 100: about this group, or about any group
        ({"pair_": lambda n: (-2, -3), "swapped": lambda n: (-3, -2), **SENSE}, "prefers the stereotype"),
        ({"pair_": lambda n: (-2, -3), "swapped": lambda n: (-2, -3), **SENSE}, "also when another group is named"),
        ({"pair_": lambda n: (-3, -2), **SENSE}, "prefers the anti-stereotype"),
    ],
)  # fmt: skip
def test_the_reading_distinguishes_indifference_and_collapse_from_an_unbiased_model(kinds, says):
    entry = many(600, **kinds)
    assert says in entry["overall"]["reading"]
    assert (says == "prefers the stereotype") == (entry["overall"]["reading"] == "prefers the stereotype")


def test_a_file_of_pairs_with_wrong_rows(tmp_path):
    rows = [{"stereotype": f"The {n} man is weak in town.", "anti_stereotype": f"The {n} man is strong in town.",
             "bias_type": "gender", "target": f"t{n}"} for n in range(18)]  # fmt: skip
    rows.insert(3, {"stereotype": "A b", "anti_stereotype": ""})
    rows.insert(9, {"stereotype": None, "anti_stereotype": "c"})
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(ValueError, match="pairs.jsonl:4: field anti_stereotype: empty"):
        controls.run(tiny.gpt2(), str(path), EvalPlan())
    items, entry = controls.run(tiny.gpt2(), str(path), EvalPlan(skip_invalid=True))
    entry = entry.to_dict()
    assert (entry["n"], entry["skipped"], entry["left_out"]) == (18, 2, 0)
    assert entry["made"] == {"pair": 18, "negated": 18, "swapped": 18, "shuffled": 18}  # every pair differs alike
    assert len(items) == 8 * 18 and len(entry["sha256"]) == 64
    assert entry["overall"]["meaningful"] is None and entry["overall"]["margin_ratio"] is None
