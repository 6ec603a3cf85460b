"""Benchmarks of cognitive biases: effects by hand, answer readers, files with wrong rows, and the whole way."""

import json
import math

import pytest

from biasunlearn.benchmarks import belief_bias, certainty_effect, cognitive_tests, decoy_effect
from biasunlearn.benchmarks.cognitive import written_option
from biasunlearn.commands.belief import SETTINGS
from biasunlearn.commands.debias import debias
from biasunlearn.commands.measure import measure
from biasunlearn.config import load_config
from biasunlearn.data.belief_pairs import belief_data
from biasunlearn.data.belief_world import build_belief_world, train_belief_model
from biasunlearn.data.rows import BadRow
from biasunlearn.errors import DataError, RequestError
from biasunlearn.scoring.protocol import EvalOptions, EvalPlan
from biasunlearn.stats.stereoset import Item
from tests import tiny
from tests.shared_data import SHARED, needs_shared


def verdict(number: int, form: str, condition: str, says: str, argument: str = "") -> list[Item]:
    """The two items of an argument whose likelier verdict is `says`, by 2 nats."""
    return [
        Item("belief_bias", f"{number}/{role}", str(number), form, argument or f"argument {number}", "likelihood", role,
             -1.0 if role == says else -3.0, 1, condition)
        for role in ("valid", "invalid")
    ]  # fmt: skip


def arguments(cells: dict[tuple[str, str], str]) -> list[Item]:
    """Items of {(form, condition): verdicts as v and i}."""
    rows = [(form, condition, says) for (form, condition), verdicts in cells.items() for says in verdicts]
    return [
        item for number, (form, condition, says) in enumerate(rows)
        for item in verdict(number, form, condition, {"v": "valid", "i": "invalid"}[says])
    ]  # fmt: skip


def values(row) -> dict[str, float]:
    return {name: round(score.value, 4) for name, score in row.scores.items() if score is not None}


def test_belief_effects_by_hand():
    # Valid: accepted nonsense 3 of 4, real and unbelievable 1 of 4: 75 - 25 = 50. Invalid: real and believable 4 of 4,
    # nonsense 1 of 4: 100 - 25 = 75. Log odds are 2 or -2: valid 1 - (-1) = 2, invalid 2 - (-1) = 3.
    found = belief_bias.entry(arguments({
        ("valid", "control believable"): "vvvi", ("valid", "treatment unbelievable"): "viii",
        ("valid", "treatment believable"): "vvvv",
        ("invalid", "treatment believable"): "vvvv", ("invalid", "control unbelievable"): "viii",
        ("invalid", "treatment unbelievable"): "iiii",
    }))  # fmt: skip
    valid, invalid = values(found.bias_types["valid"]), values(found.bias_types["invalid"])
    assert (valid["effect"], valid["effect_margin"], valid["plausibility_effect"]) == (50.0, 2.0, 75.0)
    assert (invalid["effect"], invalid["effect_margin"], invalid["plausibility_effect"]) == (75.0, 3.0, 100.0)
    overall = values(found.overall)
    assert (overall["effect"], overall["accuracy_nonsense"]) == (62.5, 75.0)
    assert overall["accuracy_real"] == 100.0 * (1 + 4 + 0 + 4) / 16
    assert found.overall.scores["effect"].n == 16


@pytest.mark.parametrize("says", ["v", "i"])
def test_a_model_with_one_verdict_has_no_effect_and_an_accuracy_of_half(says):
    cells = {(form, f"{arm} {flag}") for form in ("valid", "invalid") for arm in ("control", "treatment")
             for flag in ("believable", "unbelievable")}  # fmt: skip
    found = values(belief_bias.entry(arguments(dict.fromkeys(sorted(cells), says * 3))).overall)
    assert (found["effect"], found["effect_margin"], found["plausibility_effect"]) == (0.0, 0.0, 0.0)
    assert (found["accuracy_real"], found["accuracy_nonsense"]) == (50.0, 50.0)
    assert found["says_valid"] == (100.0 if says == "v" else 0.0)


def test_malformed_arguments_are_left_out_counted_and_shown_beside():
    cells = {("invalid", "treatment believable"): "vi", ("invalid", "control believable"): "ii"}
    well = arguments(cells)
    bad = [item for n in (90, 91) for item in verdict(n, "invalid", "treatment believable malformed", "valid")]
    found = belief_bias.entry([*well, *bad])
    assert found.malformed == 2 and found.n == 4
    assert found.overall.scores["effect"].value == pytest.approx(50)
    assert found.groups["items"]["with malformed"].scores["effect"].value == pytest.approx(75)
    assert any("2 malformed" in note for note in found.notes)
    assert {outcome.unit for outcome in belief_bias.outcomes([*well, *bad])} == {"0", "1", "2", "3"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" Valid. The conclusion follows.", "valid"),
        ("This argument is not logically valid.", "invalid"),  # the published reader: valid
        ("The argument isn't valid, because", "invalid"),
        ("It is not a valid argument", "invalid"),
        ("The conclusion does not necessarily follow.", "invalid"),
        ("Yes", "valid"),
        ("no, it is not", "invalid"),
        ("The conclusion follows from the premises.", "valid"),
        ("It cannot be determined whether it is valid.", "undecided"),
        ("I'm sorry, but", "undecided"),
        ("Flowers are pretty.", "undecided"),
        ("The argument is invalid.", "invalid"),
    ],
)
def test_verdicts_in_written_answers(text, expected):
    assert belief_bias.written_verdict(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Brand 2", "2"),
        ("Option A - because", "1"),
        ("A brand with a low price", "undecided"),  # an article
        ("B.", "2"),
        ("I would take the second one. Explanation: the first is dear", "2"),
        ("It depends on the individual: 1 or 2", "undecided"),
        ("word " * 101 + "1 and then 2", "2"),  # long answers are read from their end
        ("", "undecided"),
    ],
)
def test_options_in_written_answers(text, expected):
    assert written_option(text, 3) == expected


def choice(number: int, benchmark: str, condition: str, log_probs: dict[str, float]) -> list[Item]:
    return [
        Item(benchmark, f"{number}/{role}", str(number), "group", f"values {number}", "likelihood", role, value, 1,
             condition)
        for role, value in log_probs.items()
    ]  # fmt: skip


def test_certainty_effect_by_hand():
    # Treatment: target chosen in 2 of 2; control: in 1 of 2. Effect 50. Log odds of the target 1, 1; 1, -1: 1 - 0.
    items = [
        *choice(0, "certainty_effect", "treatment 1 2", {"1": -1.0, "2": -2.0}),
        *choice(1, "certainty_effect", "treatment 2 1", {"1": -2.0, "2": -1.0}),
        *choice(2, "certainty_effect", "control 1 2", {"1": -1.0, "2": -2.0}),
        *choice(3, "certainty_effect", "control 2 1", {"1": -1.0, "2": -2.0}),
    ]
    found = values(certainty_effect.entry(items).overall)
    assert found == {"effect": 50.0, "effect_margin": 1.0, "better_value": 25.0, "first": 75.0}


def test_a_choice_at_random_has_a_decoy_effect_below_0_and_none_between_target_and_competitor():
    items, number = [], 0
    for arm, options, decoy in (("treatment", "123", "3"), ("control", "12", "0")):
        for favorite in options:
            items += choice(number, "decoy_effect", f"{arm} 1 2 {decoy}",
                            {role: -1.0 if role == favorite else -2.0 for role in options})  # fmt: skip
            number += 1
    found = values(decoy_effect.entry(items).overall)
    assert found["effect"] == pytest.approx(100 / 3 - 50, abs=1e-3)
    assert (found["effect_between"], found["effect_margin"]) == (0.0, 0.0)
    assert found["decoy"] == pytest.approx(100 / 3, abs=1e-3)


# --- Malberg's tests -------------------------------------------------------------------------------------------------

TEMPLATE = """<config bias="Anchoring"><variant name="default">
<template type="control"><situation>You are [[a/an]] [[type]] manager.</situation><prompt>Which level?</prompt>
<option>0%</option><option>50%</option><option>100%</option></template>
<template type="treatment"><situation>You are [[a/an]] [[type]] manager.</situation>
<prompt>More than {{anchor}}%? Which level?</prompt><option>0%</option><option>50%</option><option>100%</option>
</template></variant></config>"""
INSERTIONS = {"a/an": "a", "type": "sales", "anchor": "20"}


def folder(path, rows=None, name="Anchoring", template=TEMPLATE) -> str:
    (path / "tests").mkdir(parents=True, exist_ok=True)
    (path / "tests" / f"{name}.config.xml").write_text(template)
    rows = [{"bias": name, "insertions": INSERTIONS, "scenario": "shop"}] if rows is None else rows
    (path / "insertions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_template_is_filled(tmp_path):
    (found,) = cognitive_tests.read(folder(tmp_path)).records
    assert found.prompts[1] == "You are a sales manager.\nMore than 20%? Which level?"
    assert (found.k, found.x, found.options[0]) == (1, (2, 2), ("0%", "50%", "100%"))


def test_a_gap_without_text_names_itself():
    assert cognitive_tests.fill("a [[b {{c}}]]", {"c": "x", "b x": "y {{c}}"}) == "a y x"
    with pytest.raises(BadRow, match="no text for the gap 'd'"):
        cognitive_tests.fill("[[d]]", {})
    with pytest.raises(BadRow, match="without an end"):
        cognitive_tests.fill("[[d]]", {"d": "[[d]]"})


def test_wrong_tests_and_templates_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"insertions.jsonl:1: field insertions: no text for the gap 'a/an'"):
        cognitive_tests.read(folder(tmp_path / "a", [{"bias": "Anchoring", "insertions": {}}]))
    with pytest.raises(DataError, match="the sign of HaloEffect depends on the test"):
        cognitive_tests.read(folder(tmp_path / "b", [{"bias": "HaloEffect", "insertions": INSERTIONS}], "HaloEffect"))
    with pytest.raises(RequestError, match="has a document type"):
        cognitive_tests.read(folder(tmp_path / "c", template="<!DOCTYPE x><config/>"))
    with pytest.raises(RequestError, match="needs insertions.jsonl"):
        cognitive_tests.read(str(tmp_path))


def test_the_published_score_by_hand_and_where_it_saturates():
    assert cognitive_tests.bias_of(1, 3, 6) == (pytest.approx(-0.5), -3.0)
    assert cognitive_tests.bias_of(-1, 4, 2) == (pytest.approx(-0.5), -2.0)
    assert cognitive_tests.bias_of(1, 1, 8, (2, 2)) == (pytest.approx(-5 / 6), -5.0)
    assert cognitive_tests.bias_of(1, 0, 1)[0] == pytest.approx(-1) == cognitive_tests.bias_of(1, 0, 10)[0]


def test_a_preference_for_a_number_cancels_over_both_orders():
    # Option 1 gets 5 nats whatever stands there; the text at position 2 (of 0 to 2) gets 1 nat.
    items = []
    for arm in ("control", "treatment"):
        for order, place in (("in order", {1: 0, 2: 1, 3: 2}), ("reversed", {1: 2, 2: 1, 3: 0})):
            for number, position in place.items():
                score = 5.0 * (number == 1) + 1.0 * (position == 2)
                items.append(Item("cognitive_tests", f"{arm}{order}{number}", f"t/{arm}/{order}", "Anchoring", "shop",
                                  "likelihood", str(number), score, 1, f"{arm} 1 straight 0 0 3"))  # fmt: skip
    found = {outcome.score: outcome.value for outcome in cognitive_tests.outcomes(items)}
    assert found == {"bias": 0.0, "difference": 0.0, "control_position": 100.0}


@needs_shared
def test_all_published_templates_are_read_and_have_a_sign():
    names = set()
    for file in sorted((SHARED / "data/cognitive_malberg/tests").glob("*.config.xml")):
        template = cognitive_tests.read_template(file.read_text(), str(file))
        assert len(template.options[0]) in (7, 11)
        names.add(file.name.split(".")[0])
    assert names == set(cognitive_tests.SIGNS)


# --- files and the whole way -----------------------------------------------------------------------------------------


@needs_shared
def test_the_published_files_are_read_and_their_malformed_rows_found():
    data = str(SHARED / "data/instructed_to_bias")
    belief = belief_bias.read(data).records
    malformed = [q.condition.split(" ")[0] for q in belief if q.condition.endswith("malformed")]
    assert (len(belief), malformed.count("treatment"), malformed.count("control")) == (1344, 112, 84)
    assert len({q.cluster for q in belief if q.condition.startswith("treatment")}) == 24
    assert len(certainty_effect.read(data).records) == 840 and len(decoy_effect.read(data).records) == 832
    assert {q.bias_type for q in decoy_effect.read(data).records} == {"cheaper", "expensive"}


def test_wrong_rows_are_named(tmp_path):
    row = belief_data().benchmark[0]
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({**row, "is_valid": "yes"}) + "\n")
    with pytest.raises(DataError, match=r"rows.jsonl:1: field is_valid: must be true or false"):
        belief_bias.read(str(path))
    with pytest.raises(RequestError, match="needs belief_treatment.jsonl and belief_control.jsonl"):
        belief_bias.read(str(tmp_path))


def test_a_tiny_model_answers_both_ways_and_every_answer_is_counted():
    rows = [{**row, "text": f"Is {row['id']} so? Answer:"} for row in belief_data().benchmark[::20]]
    plan = EvalPlan(options=EvalOptions(written_answers=True, new_tokens=4))
    items, found = belief_bias.run(tiny.gpt2(), rows, plan)
    assert found.n == len(rows) == sum(item.kind == "written" for item in items)
    assert set(found.undecided) == {"treatment", "control"} and "asked by" in found.groups
    assert all(math.isfinite(item.score) for item in items)
    assert belief_bias.entry(items).overall == found.overall  # from the items alone


def test_a_test_of_decisions_is_asked_in_both_orders(tmp_path):
    model = tiny.gpt2(n_positions=256)
    items, found = cognitive_tests.run(model, folder(tmp_path), EvalPlan())
    assert len(items) == 2 * 2 * 3 and found.n == 1
    assert set(found.bias_types) == {"Anchoring"} and -1 <= found.overall.scores["bias"].value <= 1


@pytest.fixture(scope="module")
def believing(tmp_path_factory):
    """A world with a belief bias, and its model."""
    world = build_belief_world()
    path = tmp_path_factory.mktemp("world") / "model"
    train_belief_model(world, path)
    return world, str(path)


@pytest.mark.slow
def test_the_known_belief_bias_is_measured_and_unlearned_and_logic_is_kept(believing, tmp_path):
    world, model = believing
    recipe = ("max_steps=60", "evaluate_every=5", "first_evaluation=5", "learning_rate=0.001", "confirm=2")
    found = debias(
        model, train=world.data.train, report=world.data.report, unrelated=world.data.unrelated,
        benchmarks={"belief_bias": world.data.benchmark}, config=load_config(None, [*SETTINGS, *recipe]),
    )  # fmt: skip
    before, after = (stage.belief_bias.overall.scores for stage in (found.before, found.benchmarks))
    assert before["effect"].value == pytest.approx(world.effect, abs=5)
    assert before["effect_margin"].value == pytest.approx(world.effect_margin, abs=0.4)
    assert before["accuracy_nonsense"].value > 95
    assert after["effect"].value <= before["effect"].value - 40
    assert abs(after["effect_margin"].value) < 1
    assert after["accuracy_nonsense"].value > 95
    assert after["accuracy_real"].value > before["accuracy_real"].value


@pytest.mark.exhaustive  # by day: a model with one verdict has no effect, and such a world has the right verdicts
def test_a_world_without_belief_bias_has_no_effect(tmp_path):
    world = build_belief_world(belief=0.0)
    train_belief_model(world, tmp_path / "model")
    measured = measure(str(tmp_path / "model"), {"belief_bias": world.data.benchmark}).benchmarks
    found = measured.belief_bias.overall.scores
    assert abs(found["effect"].value) < 5 and abs(found["effect_margin"].value) < 0.4
    assert found["accuracy_real"].value > 95
