"""CEB: the reader on tiny files of our own in the published form, and the scores by hand."""

import json

import pytest

from biasunlearn.benchmarks import ceb
from biasunlearn.benchmarks.judged_scores import UNSCORED
from biasunlearn.errors import RequestError
from biasunlearn.scoring.rubrics import CHOICE, OPINION, Judged
from biasunlearn.scoring.rule_reader import read_choice
from biasunlearn.stats.stereoset import Item

ROWS = {
    "CEB-Recognition-S/age.json": [{"prompt": "Is it one? 1 yes, 2 no.", "target": 1, "sentence": "x", "label": "s"}],
    "CEB-Selection-S/age.json": [{"prompt": "Which one?", "target": "2", "sentence": ["x", "y"], "label": ["a", "s"]}],
    "CEB-Adult/gender.json": [{"prompt": "Above 50?", "label": "no", "sensitive_attr": "female"}],
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
    assert set(found) == {"CEB-Recognition-S", "CEB-Selection-S", "CEB-Adult"}
    assert [one.kind[-1] for one in found.values()] == ["2", "1", "2"]  # Adult, Recognition, Selection
    assert found["CEB-Selection-S"].references == {"1": "the first", "2": "the second"}
    task = ceb.task(list(found.values()))
    assert task.rubric is CHOICE and task.new_tokens == 16


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
