"""CEB: the reader on tiny files of our own in the published form, and the scores by hand."""

import json
from dataclasses import replace

import pytest

from biasunlearn.benchmarks import ceb
from biasunlearn.benchmarks.judged_scores import UNSCORED
from biasunlearn.errors import RequestError
from biasunlearn.report.tables.benchmarks import benchmark_tables
from biasunlearn.runs.responses import Reply
from biasunlearn.scoring.protocol import EvalOptions
from biasunlearn.scoring.rubrics import CHOICE, OPINION, Judged
from biasunlearn.scoring.rule_reader import read_choice
from biasunlearn.stats.stereoset import Item

ROWS = {
    "CEB-Recognition-S/age.json": [{"prompt": "Is it one? 1 yes, 2 no.", "target": 1, "sentence": "x", "label": "s"}],
    "CEB-Selection-S/age.json": [{"prompt": "Which one?", "target": "2", "sentence": ["x", "y"], "label": ["a", "s"]}],
    "CEB-Adult/gender.json": [{"prompt": "Above 50?", "label": "no", "sensitive_attr": "female"}],
    "CEB-SS/age.json": [{"prompt": p, "target": 3, "sentence": p, "context": "The same."} for p in ("One.", "Two.")],
}
TEXTS = {"CEB-Conversation-S/age.json": [{"prompt": "Answer me.", "axis": "age", "descriptor": "elderly"}]}


def write(folder, rows):
    for name, content in rows.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return str(folder)


def item(number: int, label: str) -> Item:
    name = f"q{number}"
    return Item("ceb", name, name, "CEB-CP", name, f"{ceb.RIGHT}1", "answer", 0.0, 1, label, "1")


def test_sets_with_a_right_answer(tmp_path):
    found = {one.bias_type: one for one in ceb.read(write(tmp_path, ROWS)).records}
    assert set(found) == {"CEB-Recognition-S", "CEB-Selection-S", "CEB-Adult", "CEB-SS"}
    assert ceb.right_and_group(found["CEB-Adult"].kind) == ("2", "female")
    assert ceb.right_and_group(found["CEB-Recognition-S"].kind) == ("1", "")
    assert found["CEB-SS"].cluster == "The same." and found["CEB-Adult"].cluster == found["CEB-Adult"].id
    assert found["CEB-Selection-S"].references == {"1": "the first", "2": "the second"}
    task = ceb.task(list(found.values()))
    assert task.rubric is CHOICE and task.new_tokens == 16
    assert task.notes == ("1 prompts do not contain both of their sentences once; they are asked in one order",)


def test_exchanged_options(tmp_path):
    row = {"prompt": "1: A is. 2: B is. Which?", "target": 2, "sentence": ["A is.", "B is."]}
    table = ceb.read(write(tmp_path, {"CEB-Selection-S/age.json": [row]}))
    [question] = table.records
    assert question.turns == (row["prompt"], "1: B is. 2: A is. Which?") and question.cluster == "A is. | B is."
    task = ceb.task(table.records)
    assert [chat.turns for chat in task.chats(question, EvalOptions())] == [(text,) for text in question.turns]
    answers = task.answers(question, [[Reply(text="2")], [Reply(text="2")]])
    assert [(one.item_id[-10:], one.question.kind[-1]) for one in answers] == [("on-S-age-1", "2"), ("/exchanged", "1")]
    assert task.answers(question, [[Reply(text="2")], []])[1].problem == "transport"
    items = [replace(item(n, "2"), item_id=f"q{n}{end}", kind=f"{ceb.RIGHT}{right}", condition=said)
             for n, end, right, said in ((0, "", "2", "2"), (0, ceb.EXCHANGED, "1", "2"),
                                         (1, "", "2", "2"), (1, ceb.EXCHANGED, "1", "1"))]  # fmt: skip
    found = ceb.entry(items).overall  # one that always says 2 is right in one order, and chooses another sentence
    assert found.interval("accuracy").value == 75 and found.interval("same_choice").value == 50


@pytest.mark.parametrize(
    ("prompt", "sentences"),
    [("1: A is.", ["A is.", "B is."]), ("A is. A is. B is.", ["A is.", "B is."]), ("A is. B", ["A is. B", "B"]),
     ("x", ["x"]), ("x 1", ["x", 1])],
)  # fmt: skip
def test_prompts_that_cannot_be_exchanged(prompt, sentences):
    assert ceb.exchanged(prompt, sentences) is None


def test_gaps_between_groups_by_hand():
    answers = [("a", "1", "1"), ("a", "1", "1"), ("a", "2", "1"), ("a", "2", "2"),
               ("b", "1", "1"), ("b", "1", "2"), ("b", "2", "2"), ("b", "2", "2")]  # fmt: skip
    items = [replace(item(n, said), kind=f"{ceb.RIGHT}{right}{ceb.GROUP}{group}")
             for n, (group, right, said) in enumerate(answers)]  # fmt: skip
    gaps = ceb.entry(items).gaps
    parity, chance = gaps["statistical parity"]["CEB-CP"], gaps["equal opportunity"]["CEB-CP"]
    assert parity.value == 50 and (parity.highest, parity.lowest) == ("a", "b")  # 3 of 4 and 1 of 4 say yes
    assert chance.value == 50 and ceb.entry(items).overall.interval("accuracy").value == 75
    assert "gap of statistical parity between groups" in str(benchmark_tables("ceb", ceb.entry(items), None))
    assert ceb.entry([item(n, "1") for n in range(4)]).gaps == {}


def test_sets_of_texts(tmp_path):
    table = ceb.read(write(tmp_path, TEXTS))
    assert table.records[0].references == {"prejudice": "a stereotype about elderly people"}
    assert ceb.task(table.records).rubric is OPINION
    write(tmp_path, ROWS)
    with pytest.raises(RequestError, match="some prompts have a right answer and others ask for a text"):
        ceb.read(str(tmp_path))


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [("CEB-Continuation-T/age.json", [{"prompt": "Go on.", "descriptor": "old"}], "a set about toxicity"),
     ("CEB-WB/wb.json", [{"prompt": "Who?"}], "neither a right answer"),
     ("x.json", {"prompt": "?"}, "not a file of CEB"), ("x.json", ["?"], "must be an object with a prompt")],
)  # fmt: skip
def test_other_files_are_refused(tmp_path, name, rows, message):
    with pytest.raises(RequestError, match=message):
        ceb.read(write(tmp_path, {name: rows}))


def test_scores_by_hand():
    items = [item(n, label) for n, label in enumerate(("1", "2", "1", "refused"))]
    found = ceb.entry(items).overall
    assert found.interval("accuracy").value == 50 and found.interval("refused").value == 25
    assert found.interval("accuracy_read").value == pytest.approx(200 / 3)
    bounds = ceb.entry([*items, item(4, f"{UNSCORED}unparsed")]).bounds["overall"]["accuracy"]
    assert (bounds.lowest.value, bounds.highest.value) == (40, 60)


@pytest.mark.parametrize(
    ("answer", "label"),
    [("1", "1"), ("**2**", "2"), ("The answer is 2: no.", "2"), ("Yes, it is.", "1"), ("yes and no", None),
     ("1 or 2", None), ("12", None), ("2.5", None), ("", None), (f"1 {'because ' * 30}", None),
     ("Nobody knows.", None)],
)  # fmt: skip
def test_the_rule_reads_a_choice(answer, label):
    assert read_choice(Judged("q", "?", answer, {"1": "yes", "2": "no"})) == label
