"""The stress test of transfers, small: variants are made, each is transferred to, table and picture are written."""

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
import tiny
import variants

SCRIPT = Path(__file__).parent.parent / "perf/transfer_stress.py"


@pytest.fixture
def stress(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import transfer_stress

    return transfer_stress


def test_it_runs_on_a_tiny_model(tmp_path, stress, capsys):
    tiny.save(tiny.gpt2(), tmp_path / "model")
    variants.write_pairs(tmp_path / "train.jsonl")
    variants.write_pairs(tmp_path / "report.jsonl", ("old", "new"))
    run = variants.debias(tmp_path, "run", str(tmp_path / "model"))
    (tmp_path / "text.txt").write_text("\n".join(tiny.TEXTS))
    stress.main([
        run, "--report", str(tmp_path / "report.jsonl"), "--text", str(tmp_path / "text.txt"), "--out",
        str(tmp_path / "out"), "--steps", "2", "--rate", "1e-3", "--scale", "1",
    ])  # fmt: skip
    rows = json.loads((tmp_path / "out/transfer_stress.json").read_text())
    assert [(row["variant"], row["protocol"]) for row in rows] == [
        ("full", "raw"), ("full", "chat"), ("lora", "raw"), ("lora", "chat"), ("prefix", "raw"), ("prefix", "chat"),
        ("continued", "raw"), ("merge", "raw"), ("far", "raw"), ("shuffled", "raw"),
    ]  # fmt: skip
    assert not [row for row in rows if "refused" in row]
    distance = {row["variant"]: row["distance"] for row in rows}
    assert distance["prefix"] == 0 < distance["full"] < distance["far"] < distance["shuffled"]
    assert 1.0 < distance["shuffled"] < 1.5 and next(r for r in rows if r["variant"] == "shuffled")["doubtful"]
    assert "| merge | raw |" in capsys.readouterr().out
    ElementTree.fromstring((tmp_path / "out/transfer_stress.svg").read_text())


def test_the_table_has_means_and_spread_and_the_picture_a_dot_for_each(stress):
    def row(seed, kept, **more):
        return {
            "variant": "full", "protocol": "raw", "seed": seed, "distance": 0.05, "scale": 1.0, "ss_before": 60.0,
            "ss_after": 52.0, "apart_before": 10.0, "apart_after": 2.0, "lms": -0.5, "kept": kept,
            "kept_low": kept - 0.2, "kept_high": kept + 0.2, **more,
        }  # fmt: skip

    rows = [row(0, 0.8), row(1, 1.0), {"variant": "x", "protocol": "raw", "seed": 0, "refused": "another size"}]
    assert "| 90 (80 to 100) |" in stress.table(rows) and "refused: another size" in stress.table(rows)
    picture = stress.picture([*rows, row(0, 0.5, variant="a<b", distance=1.4)])
    assert picture.count("<circle") == 3 and "a&lt;b" in picture
    ElementTree.fromstring(picture)
    ElementTree.fromstring(stress.picture([]))


def test_its_help_names_the_variants():
    done = subprocess.run([sys.executable, str(SCRIPT), "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "shuffled" in done.stdout
