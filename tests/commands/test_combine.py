"""Adapters added up: the sum is the sum of their changes, to the last weight, and loads as one plain adapter."""

import json

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from biasunlearn.cli import main
from tests import tiny, variants

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    place = tmp_path_factory.mktemp("combined")
    tiny.save(tiny.gpt2(), place / "model")
    tiny.save(tiny.gpt2(seed=4), place / "other")
    variants.write_pairs(place / "train.jsonl")
    variants.write_pairs(place / "report.jsonl", ("old", "new"))
    variants.debias(place, "age", str(place / "model"))
    variants.debias(place, "work", str(place / "model"), "--set", "seed=1", "--set", "lora_rank=4")
    variants.debias(place, "elsewhere", str(place / "other"))
    return place


def merged(place, *adapters):
    model = AutoModelForCausalLM.from_pretrained(place / "model", dtype=torch.float32)
    for adapter in adapters:
        model = PeftModel.from_pretrained(model, adapter).merge_and_unload()
    return dict(model.named_parameters())


def test_the_sum_is_the_weighted_sum_of_the_changes(place, tmp_path, capsys):
    asked = ["combine", f"{place / 'age'}=0.5", f"{place / 'work'}=2", "--report", str(place / "report.jsonl"),
             *variants.ONE_OTHER]  # fmt: skip
    assert main([*asked, "--out", str(tmp_path / "out")]) == 0
    assert "Combined adapters" in capsys.readouterr().out
    base = merged(place)
    first, second = (merged(place, place / name / "adapter") for name in ("age", "work"))
    found = merged(place, tmp_path / "out/adapter")
    changed = 0
    for name, weight in base.items():
        expected = weight + 0.5 * (first[name] - weight) + 2 * (second[name] - weight)
        assert torch.allclose(found[name], expected, atol=1e-5), name
        changed += not torch.equal(found[name], weight)
    assert changed > 4
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert [part["weight"] for part in results["combined"]["parts"]] == [0.5, 2.0]
    assert results["before"]["stereoset"]["n"] == results["benchmarks"]["stereoset"]["n"] == 64
    # Measured again by its adapter alone, it comes to the same; what any part has seen is stamped.
    again = ["measure", str(place / "model"), "--adapter", str(tmp_path / "out/adapter"), *variants.ONE_OTHER,
             "--benchmark"]  # fmt: skip
    assert main([*again, f"stereoset={place / 'report.jsonl'}", "--out", str(tmp_path / "m")]) == 0
    measured = json.loads((tmp_path / "m/results.json").read_text())["benchmarks"]["stereoset"]["overall"]
    stored = results["benchmarks"]["stereoset"]["overall"]
    assert measured["mean_margin"] == pytest.approx(stored["mean_margin"], abs=1e-4)
    assert main([*again, f"stereoset={place / 'train.jsonl'}", "--out", str(tmp_path / "seen")]) == 0
    assert "contaminated" in json.loads((tmp_path / "seen/results.json").read_text())["benchmarks"]["stereoset"]


def test_what_cannot_be_added_up_is_refused(place, tmp_path, capsys):
    age, elsewhere = str(place / "age"), str(place / "elsewhere")
    for runs, message in (
        ([age], "combine needs two runs or more"),
        ([age, elsewhere], "only adapters on one base can be added up"),
        ([age, f"{elsewhere}=much"], "write RUN=WEIGHT"),
        ([age, f"{age}=2"], "given twice"),
        ([age, str(place / "model")], "no finished run here"),
    ):
        capsys.readouterr()
        asked = ["combine", *runs, "--report", str(place / "report.jsonl"), "--out", str(tmp_path / "no")]
        assert main(asked) == 2 and message in capsys.readouterr().err
        assert not (tmp_path / "no").exists()
