"""The stress test of transfers, small: variants are made, each is transferred to, table and picture are written."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests import tiny, variants

pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "perf/transfer_stress.py"


@pytest.fixture
def stress(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import transfer_stress

    return transfer_stress


SOME = ("full", "prefix", "merge", "beyond", "shuffled")
"""merge and beyond need continued and far."""


def arguments(tmp_path, *more):
    return [
        str(tmp_path / "run"), "--report", str(tmp_path / "report.jsonl"), "--text",
        str(tmp_path / "text.txt"), "--out", str(tmp_path / "out"), "--steps", "2", "--rate", "1e-3", *more,
    ]  # fmt: skip


@pytest.mark.exhaustive  # by day the next test makes and measures two variants
def test_it_runs_on_a_tiny_model(tmp_path, stress, capsys):
    tiny.save(tiny.gpt2(n_positions=128), tmp_path / "model")
    variants.write_pairs(tmp_path / "train.jsonl")
    variants.write_pairs(tmp_path / "report.jsonl", ("old", "new"))
    variants.debias(tmp_path, "run", str(tmp_path / "model"))
    (tmp_path / "text.txt").write_text("\n".join(tiny.TEXTS * 2))
    asked = arguments(tmp_path, "--scale", "0.5", "1", "--stop-items", "8", "--variants", *SOME)
    stress.main(asked)
    found = json.loads((tmp_path / "out/transfer_stress.json").read_text())
    judged = {row["judged"]: row for row in found if "judged" in row}
    assert list(judged) == ["base", *SOME]
    distance = {name: row["distance"] for name, row in judged.items()}
    assert distance["prefix"] == distance["base"] == 0
    assert 0 < distance["full"] < distance["beyond"]
    assert 1.0 < distance["shuffled"] < 1.5
    rows = [row for row in found if "variant" in row]
    assert not [row for row in rows if "refused" in row]
    cells = [(row["how"], row["variant"], row["protocol"], row["seed"]) for row in rows]
    assert len(set(cells)) == len(cells) == 2 * (len(SOME) + 2)  # two of them through the chat template as well
    assert {row["scale"] for row in rows if row["how"] == "1"} == {1.0}
    assert {row["scale"] for row in rows if row["how"] == "chosen"} <= {0.5, 1.0}
    for row in rows:  # where the stop split chooses 1, it is the same measurement
        if row["how"] == "chosen" and row["scale"] == 1:
            assert any(row | {"how": "1"} == other for other in rows)
    out = capsys.readouterr().out
    assert "| merge | raw | 0 |" in out and "LMS, stop split" in out
    ElementTree.fromstring((tmp_path / "out/transfer_stress.svg").read_text())
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")}
    stored = found[:-3]
    (tmp_path / "out/transfer_stress.json").write_text(json.dumps(stored))
    stress.main(asked)  # as if it had been killed
    assert json.loads((tmp_path / "out/transfer_stress.json").read_text()) == found
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.safetensors")}


def test_the_stress_test_finds_what_transfer_finds(tmp_path, stress):
    place = tmp_path
    tiny.save(tiny.gpt2(), place / "model")
    variants.write_pairs(place / "train.jsonl")
    variants.write_pairs(place / "report.jsonl", ("old", "new"))
    variants.debias(place, "run", str(place / "model"))
    (place / "text.txt").write_text("\n".join(tiny.TEXTS * 2))
    stress.main(arguments(place, "--variants", "full"))
    own = [row for row in json.loads((place / "out/transfer_stress.json").read_text()) if "variant" in row]
    results = variants.transfer(place, "out/full", place / "to", "--scale", "1")
    told, after = results["transferred"], results["benchmarks"]["stereoset"]["overall"]
    assert own[0]["distance"] == pytest.approx(told["compatibility"]["distances"]["adapted"])
    assert own[0]["ss_after"] == pytest.approx(after["ss"]["value"])
    assert own[0]["kept"] == (told["effect"]["kept"] and pytest.approx(told["effect"]["kept"]["value"]))


def test_the_tables_have_every_run_and_the_picture_a_dot_for_each_at_scale_1(stress):
    def row(seed, kept, **more):
        return {
            "variant": "full", "protocol": "raw", "seed": seed, "how": "1", "distance": 0.05, "scale": 1.0,
            "ss_before": 60.0, "ss_after": 52.0, "apart_before": 10.0, "apart_after": 2.0, "lms": -0.5, "kept": kept,
            "kept_low": kept - 0.2, "kept_high": kept + 0.2, **more,
        }  # fmt: skip

    rows = [row(0, 0.8), row(0, 0.9, how="chosen", scale=1.5),
            {"variant": "x", "protocol": "raw", "seed": 0, "how": "1", "refused": "another size"}]  # fmt: skip
    table = stress.table(rows)
    assert "| 80 (60 to 100) |" in table and "| 1.5 (chosen) |" in table and "refused: another size" in table
    summary = stress.summary([*rows, row(1, 1.0)])
    assert "| full | raw | 0.050 | 60.0 | 52.0 | -0.5 | 90 (80 to 100) | 1.50 | 52.0 | -0.5 | 90 |" in summary
    picture = stress.picture([*rows, row(0, 0.5, variant="a<b", distance=1.4)])
    assert picture.count("<circle") == 2 and "a&lt;b" in picture
    ElementTree.fromstring(picture)
    ElementTree.fromstring(stress.picture([]))


def test_its_help_names_the_variants(stress, capsys):
    with pytest.raises(SystemExit) as left:
        stress.main(["--help"])
    assert left.value.code == 0 and "shuffled" in capsys.readouterr().out
