"""`label`: the table for people is blind, and their labels correct the judge's shares of each model."""

import csv
import json

import pytest

from biasunlearn.benchmarks import fairmt
from biasunlearn.benchmarks.human_labels import answer_id
from biasunlearn.benchmarks.judged_scores import UNCORRECTED, UNSCORED, with_facts
from biasunlearn.cli import main
from biasunlearn.commands.label import read_labels, write_labels
from biasunlearn.errors import RequestError
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.judged_results import JudgeFacts, JudgingFacts
from biasunlearn.runs.responses import RESPONSES, ResponseRecord, Verdict
from biasunlearn.runs.results import Measured, Results, load_results
from biasunlearn.stats.stereoset import Item

JUDGING = JudgingFacts(
    rubric="opinion", template="x", judges=[JudgeFacts(judge="folder", kind="local")], minimum_kappa=0.6, kappa=0.8,
    usable=True,
)  # fmt: skip
REFERENCES = {"prejudice": "A are late"}


def items_of(truth, *, wrong: int) -> list[Item]:
    """One answer for each truth; every `wrong`-th positive one and every tenth other one is judged wrongly."""
    found = []
    for number, biased in enumerate(truth):
        judged = biased != (number % (wrong if biased else 10) == 0)
        condition = "biased" if judged else "not_biased"
        text = f"{'Yes' if biased else 'No'}, says {number}" if number else "=HYPERLINK(1)"
        name = f"d{number}"
        found.append(Item("fairmt", name, name, "Task", name, "five turns", "answer", 0.0, 3, condition, text))
    return found


@pytest.fixture
def run(tmp_path):
    """Before 40 % of 200 answers are biased, after 20 %; the judge misses a fifth of them before, half of them after.

    The answers 80 to 199 are the same before and after.
    """
    before = items_of([n < 80 for n in range(200)], wrong=5)
    after = items_of([n < 40 for n in range(200)], wrong=2)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    facts = {"judging": JUDGING}
    results = Results(
        schema=2, model="model", adapter=None, before=Measured(fairmt=with_facts(fairmt.entry(before), facts)),
        benchmarks=Measured(fairmt=with_facts(fairmt.entry(after), facts)),
    )  # fmt: skip
    folder.write_stages({"before": before, "after": after})
    folder.write_json("results.json", results.to_dict())
    records = [
        ResponseRecord(
            benchmark="fairmt", item=item.item_id, subject="s", turns=["Why are A late?"], answers=[], text=item.text,
            rubric="opinion", question="Why are A late?", references=REFERENCES,
            verdict=Verdict(judge="folder", state="scored", label=item.condition),
        )
        for item in (*before, *after)
    ]  # fmt: skip
    (folder.path / RESPONSES).write_text("".join(json.dumps(one.to_dict()) + "\n" for one in records))
    return folder.path


def filled_in(path, share: float = 1.0):
    """Labels as the answers themselves say, of a part of the rows."""
    with path.open(encoding="utf-8-sig", newline="") as handle:
        rows = list(csv.DictReader(handle))
    for number, row in enumerate(rows):
        if number >= share * len(rows):
            break
        biased = row["answer"].startswith("Yes") or "HYPERLINK" in row["answer"]
        meaning = "agrees with the prejudice, repeats" if biased else "does not agree with the prejudice."
        row["label"] = next(line[0] for line in row["choices"].splitlines() if meaning in line)
    with path.open("w", encoding="utf-8", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def test_the_table_is_blind(run, tmp_path):
    done = write_labels(run, out=tmp_path / "mine.csv", size=80)
    text = (tmp_path / "mine.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.DictReader(text.splitlines(keepends=True)))
    assert done["answers"] == len(rows) == len({row["id"] for row in rows}) > 80
    assert list(rows[0]) == ["id", "benchmark", "question", "answer", "choices", "label", "comment"]
    assert not any(row["label"] for row in rows) and "folder" not in text and "not_biased" not in text
    assert all(not row["answer"].startswith("=") for row in rows)
    assert len({row["choices"].splitlines()[0] for row in rows}) > 1  # the order of the choices is drawn
    again = write_labels(run, out=tmp_path / "again.csv", size=80)
    assert again["answers"] == done["answers"] and (tmp_path / "again.csv").read_bytes() == (
        tmp_path / "mine.csv").read_bytes()  # fmt: skip
    with pytest.raises(RequestError, match="exists already, and may hold labels"):
        write_labels(run, out=tmp_path / "mine.csv")


@pytest.mark.slow
def test_labels_correct_the_shares_of_each_model(run, tmp_path, capsys):
    uncorrected = load_results(run).benchmarks["fairmt"]
    assert UNCORRECTED in uncorrected.notes
    path = tmp_path / "mine.csv"
    write_labels(run, out=path, size=400)
    filled_in(path)
    assert main(["label", str(run), "--labels", str(path), "--size", "400"]) == 0
    printed = capsys.readouterr().out
    assert "shares corrected by labels of people" in printed
    found = load_results(run)
    before, after = found.before["fairmt"].corrected["biased"], found.benchmarks["fairmt"].corrected["biased"]
    assert before.share.value == pytest.approx(40) and after.share.value == pytest.approx(20)  # all were labelled
    assert before.judged.value == pytest.approx(38) and after.judged.value == pytest.approx(18)
    assert before.sensitivity.value == pytest.approx(80) and after.sensitivity.value == pytest.approx(50)
    assert after.specificity.value == pytest.approx(90)
    assert after.share.low < 20 < after.share.high and after.labels == after.drawn == 200
    assert after.change.value == pytest.approx(-20) and after.judged_change.value == pytest.approx(-20)
    assert after.change.low < -20 < after.change.high < 0 and before.change is None
    apart = (before.share.high - before.share.low) + (after.share.high - after.share.low)
    assert after.change.high - after.change.low < 0.8 * apart  # 120 of 200 answers are the same before and after
    assert "after - before" in printed and "lower" in printed
    entry = found.benchmarks["fairmt"]
    assert UNCORRECTED not in entry.notes and entry.overall == uncorrected.overall
    page = (run / "report.html").read_text()
    assert "shares corrected by labels of people" in page and UNCORRECTED not in page
    assert len((run / "labels.jsonl").read_text().splitlines()) == 240


@pytest.mark.slow
def test_a_part_of_the_labels_gives_a_wider_interval(run, tmp_path):
    path = tmp_path / "mine.csv"
    write_labels(run, out=path, size=400)
    filled_in(path, 0.25)
    found = read_labels(run, path, size=400).benchmarks["fairmt"].corrected["biased"]
    assert 20 < found.labels < 100 and found.share.low < 20 < found.share.high
    width = found.share.high - found.share.low
    filled_in(path)
    all_of_them = read_labels(run, path, size=400).benchmarks["fairmt"].corrected["biased"]
    assert all_of_them.share.high - all_of_them.share.low < width


def test_labels_of_another_sample_are_refused(run, tmp_path):
    path = tmp_path / "mine.csv"
    write_labels(run, out=path, size=400)
    filled_in(path)
    with pytest.raises(RequestError, match="are not in the sample of --size 20 --seed 0"):
        read_labels(run, path, size=20)  # a random part of the answers is assumed, and these are not one


@pytest.mark.parametrize(
    ("label", "message"),
    [("Z", "label 'Z': must be one of the letters A, B, C, D; leave it empty"), ("", "no label is filled in"),
     ("biased", "must be one of the letters")],
)  # fmt: skip
def test_wrong_labels_are_refused(run, tmp_path, label, message):
    name = answer_id("fairmt", "d5", "Yes, says 5")
    path = tmp_path / "mine.csv"
    path.write_text(f"id,label\n{name},{label}\n")
    stored = (run / "results.json").read_bytes()
    with pytest.raises(RequestError, match=message):
        read_labels(run, path)
    path.write_text("id,label\nffff,A\n")
    with pytest.raises(RequestError, match=r"mine.csv:2: the id 'ffff' is no answer of .*run; is this its table"):
        read_labels(run, path)
    assert (run / "results.json").read_bytes() == stored


def test_answers_without_a_verdict_are_not_labelled(run, tmp_path):
    folder = RunFolder(run)
    items = [Item("fairmt", "d1", "d1", "T", "d1", "five turns", "answer", 0.0, 3, f"{UNSCORED}empty", "x")]
    folder.write_stages({"before": items, "after": items})
    with pytest.raises(RequestError, match="no judged answer has a verdict, so there is nothing to label"):
        write_labels(run, out=tmp_path / "mine.csv")
