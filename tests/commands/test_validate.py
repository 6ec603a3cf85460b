"""`validate`: every kind of file is recognised, counted and, where it is wrong, refused with one line a file."""

import json
from pathlib import Path

import pytest

from biasunlearn.cli import main
from biasunlearn.commands.validate import KINDS, recognised_kind, validate
from biasunlearn.errors import RequestError
from tests import made_runs

PAIRS = "bias_type,target,context,stereotype,anti_stereotype\n"
ROWS = (
    "Age,boss,The boss is BLANK.,The boss is tired.,The boss is lively.\n"
    "age,nurse,The nurse is BLANK.,The nurse is tired.,The nurse is lively.\n"
    "work,,The cook is BLANK.,The cook is rude.,The cook is polite.\n"
    "work,,The cook is BLANK.,the  cook is rude,The cook is polite.\n"
)
QUESTION = {
    "example_id": 1, "question_index": "1", "category": "SES", "question_polarity": "neg", "context_condition": "ambig",
    "context": "Ann and Bea met.", "question": "Who was late?", "ans0": "Ann", "ans1": "Bea", "ans2": "Unknown",
    "answer_info": {"ans0": ["Ann", "lowSES"], "ans1": ["Bea", "highSES"], "ans2": ["Unknown", "unknown"]},
    "additional_metadata": {"stereotyped_groups": ["low SES"]}, "label": 2,
}  # fmt: skip
SEAT = {name: {"category": name, "examples": ["one", "two"]} for name in ("targ1", "targ2", "attr1", "attr2")}

FILES = {
    "pairs.csv": ("pairs", PAIRS + ROWS),
    "chosen.jsonl": ("pairs", json.dumps({"prompt": "The boss is", "chosen": "lively", "rejected": "tired"})),
    "stereo.json": ("pairs", json.dumps({"data": {"intrasentence": [{
        "id": "1", "target": "boss", "bias_type": "work", "context": "The boss is BLANK.", "sentences": [
            {"id": "a", "sentence": "The boss is rude.", "gold_label": "stereotype"},
            {"id": "b", "sentence": "The boss is kind.", "gold_label": "anti-stereotype"}]}]}})),
    "crows.csv": ("crows_pairs", "sent_more,sent_less,stereo_antistereo,bias_type\nHe ran.,She ran.,stereo,gender\n"),
    "bbq.jsonl": ("bbq", json.dumps(QUESTION)),
    "prompts.jsonl": ("realtoxicityprompts", json.dumps({"prompt": {"text": "He said", "toxicity": 0.2}})),
    "test.jsonl": ("seat", json.dumps(SEAT, indent=1)),
    "gender_prompt.json": ("bold", json.dumps({"American_actors": {"A_B": ["A B is ", "A B was "]}})),
    "text.txt": ("sentences", "He ran.\nShe ran.\nHe ran.\n"),
    "terms.csv": ("terms", "term,counterpart\nuncle,aunt\n"),
    "terms.yaml": ("terms", "bias_type: gender\npairs: [[uncle, aunt]]\n"),
    "families.yaml": ("families", "gender: [[mother, mum]]\n"),
    "recipe.yaml": ("recipe", "seed: 3\n"),
    "policy.yaml": ("policy", "stereoset: {overall: {ss: {contains: 50}, minimum_n: 20}}\n"),
    "predictions.json": ("predictions", json.dumps({"intrasentence": [{"id": "a", "score": 0.5}]})),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_recognised_and_counted(name: str, tmp_path: Path) -> None:
    kind, content = FILES[name]
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    found = validate(str(path))
    assert (found.kind, found.skipped) == (kind, ()) and found.records > 0
    assert found.to_dict() == validate(str(path), kind=kind).to_dict()


def test_counts_of_pairs_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(PAIRS + ROWS + "age,x,,same.,same.\nage,x,a,b\n", encoding="utf-8")
    found = validate(str(path))
    assert found.bias_types == {"age": 3, "work": 2} and found.records == 5
    assert (found.target_terms, found.without_target_term, found.duplicates) == (3, 2, 1)
    assert len(found.skipped) == 1 and found.skipped[0].startswith(f"{path}:7: 4 fields where the header has 5")
    assert "bias types 'Age' (1) and 'age' (2) are read as one" in found.notes
    assert any(note.startswith("1 pairs have equal texts") for note in found.notes)


def test_questions_whose_group_is_not_known_are_counted_by_category(tmp_path: Path) -> None:
    rows = [QUESTION, {**QUESTION, "example_id": 2, "additional_metadata": {"stereotyped_groups": ["Martians"]}}]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (note,) = validate(str(tmp_path / "q.jsonl")).notes
    assert note.startswith("the stereotyped answer of 1 of 2 questions of SES is not known")


def test_a_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    after = made_runs.items({"age": 60, "work": 60})
    made_runs.debiased(tmp_path / "run", made_runs.items({"age": 84, "work": 96}), after)
    assert main(["validate", str(tmp_path / "run"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["files"]
    assert found["kind"] == "run" and found["records"] == len(after)
    (tmp_path / "run" / "items.parquet").write_bytes(b"PAR1")
    assert main(["validate", str(tmp_path / "run")]) == 2


def test_the_command_shows_what_can_be_used_and_refuses_what_cannot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad, partly = tmp_path / "good.csv", tmp_path / "bad.csv", tmp_path / "partly.csv"
    good.write_text(PAIRS + ROWS)
    bad.write_text("a,b\n1,2\n")
    partly.write_text(PAIRS + ROWS + "age,x,a,b\n")
    assert main(["validate", str(good)]) == 0
    shown = capsys.readouterr()
    assert shown.err == "" and "bias types: age 2, work 2" in shown.out and "duplicates: 1" in shown.out
    assert main(["validate", str(good), str(bad), str(partly)]) == 2
    shown = capsys.readouterr()
    first, second = shown.err.splitlines()
    assert "bad.csv: needs the columns" in first
    assert "partly.csv: 1 of 5 rows cannot be used" in second and f"not usable: {partly}:6" in shown.out
    assert main(["validate", str(good), str(partly), "--skip-invalid"]) == 0
    assert capsys.readouterr().err == ""


def test_what_is_of_no_kind(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("[1, 2]")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="name its kind with --as"):
        validate(str(tmp_path / "x.yaml"))
    with pytest.raises(RequestError, match="unknown kind; known: pairs, stereoset"):
        validate(str(tmp_path / "x.yaml"), kind="pears")
    with pytest.raises(RequestError, match="no such file"):
        validate(str(tmp_path / "gone.csv"))
    with pytest.raises(RequestError):
        validate(str(tmp_path / "empty"))
    assert recognised_kind("owner/name") == "pairs"
    assert {kind for kind, _ in FILES.values()} <= set(KINDS)
