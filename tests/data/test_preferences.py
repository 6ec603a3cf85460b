"""Pairs as preference rows: prompt and completions give back the sentences, and no row is lost."""

import json
from pathlib import Path

import pytest

from biasunlearn.cli import main
from biasunlearn.data.preferences import preference_dataset, preference_rows, write_preferences
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.tables import memory_table
from biasunlearn.errors import RequestError

PAIRS = [
    {"bias_type": "gender", "target": "nurse", "context": "The nurse is BLANK today.",
     "stereotype": "The nurse is kind today.", "anti_stereotype": "The nurse is rude today."},
    {"bias_type": "race", "target": None, "context": "He came from there.", "stereotype": "He was poor.",
     "anti_stereotype": "He was rich."},
    {"bias_type": "gender", "target": "men", "context": "BLANK are late.", "stereotype": "Men are late.",
     "anti_stereotype": "Cats are late."},
    {"bias_type": "gender", "target": "men", "context": "THE man was BLANK.", "stereotype": "the man was tall.",
     "anti_stereotype": "The man was small."},
]  # fmt: skip


def test_rows_by_hand() -> None:
    rows = preference_rows(read_triplets(memory_table(PAIRS)).triplets)
    assert [(row["prompt"], row["chosen"], row["rejected"]) for row in rows] == [
        ("The nurse is", " rude today.", " kind today."),
        ("He came from there.", " He was rich.", " He was poor."),
        ("", "Cats are late.", "Men are late."),
        ("", "The man was small.", "the man was tall."),
    ]
    assert [row["bias_type"] for row in rows] == ["gender", "race", "gender", "gender"]


def test_completions_may_end_where_the_sentences_cease_to_differ() -> None:
    row = preference_rows(read_triplets(memory_table(PAIRS)).triplets, "difference")[0]
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("The nurse is", " rude", " kind")


def test_the_data_set_has_a_row_for_each_pair() -> None:
    found = preference_dataset(PAIRS)
    assert (len(found), found.column_names[:3]) == (4, ["prompt", "chosen", "rejected"])


def test_the_command_writes_them_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "pairs.jsonl", tmp_path / "preferences.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    assert main(["validate", str(source), "--preferences", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert rows == preference_rows(read_triplets(memory_table(PAIRS)).triplets)
    capsys.readouterr()
    assert main(["validate", str(source), "--preferences", str(out)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert main(["validate", str(source), str(source), "--preferences", str(tmp_path / "new")]) == 2
    assert "--preferences: needs a single file of pairs" in capsys.readouterr().err
    with pytest.raises(RequestError, match="cannot be written"):
        write_preferences([], tmp_path / "no" / "folder")
