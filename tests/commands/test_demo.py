"""The demo whole: a world whose bias is known is measured right, debiased, and stays biased without the role losses.

.ci/wheel runs the demo from the installed wheel and then these tests on what it left, so that `.ci/run` runs it once:
$BIASUNLEARN_DEMO is a folder with the run (demo/) and the cache (cache/). Without it `--exhaustive` runs the demo here.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from biasunlearn.commands.debias import debias
from biasunlearn.config import load_config
from biasunlearn.data.toy_world import build_world
from biasunlearn.scoring.protocol import EvalOptions

pytestmark = [pytest.mark.slow, pytest.mark.exhaustive]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place, made = tmp_path_factory.mktemp("demo"), os.environ.get("BIASUNLEARN_DEMO")
    folder = Path(made) if made else place
    if not made:
        command = [sys.executable, "-m", "biasunlearn", "demo", "--out", str(place / "demo")]
        # As users start it: the instructions of torch are chosen before torch is there (cli/kernels.py).
        subprocess.run(command, env=os.environ | {"XDG_CACHE_HOME": str(place / "cache")}, check=True)
    (home,) = (folder / "cache/biasunlearn").iterdir()
    return json.loads((folder / "demo/results.json").read_text()), home, place


def test_what_is_measured_is_what_the_world_was_given(run):
    results, _, _ = run
    for bias_type, skew in build_world(0).known_skew.items():
        assert skew >= 60
        measured = results["before"]["stereoset"]["bias_types"][bias_type]["ss"]["value"]
        assert measured == pytest.approx(skew, abs=3), bias_type


def test_afterwards_unseen_terms_are_near_50_and_the_model_is_not_stupid(run):
    results, _, _ = run
    after = results["benchmarks"]
    for bias_type, entry in after["stereoset"]["bias_types"].items():
        assert entry["ss"]["low"] <= 50 <= entry["ss"]["high"], bias_type
    assert abs(after["stereoset"]["overall"]["ss"]["value"] - 50) < 3
    assert after["stereoset"]["overall"]["lms"]["value"] > 95
    assert after["perplexity"]["per_token"] < 1.03 * results["before"]["perplexity"]["per_token"]


def test_every_figure_about_the_association_is_there(run):
    results, home, _ = run
    before, after = results["before"]["stereoset"], results["benchmarks"]["stereoset"]
    assert before["replaced"]["pairs"] == before["n"] and before["replaced"]["left_out"] == []
    assert before["overall"]["ss_group"]["low"] > 90  # the group decides in nearly every pair
    assert results["association"]["overall"]["difference"]["high"] < 0
    assert after["overall"]["unseen_wording"]["neither"]["n"] == after["n"]  # no word of the report was trained on
    assert set(after["bias_types"]["gender"]["subgroups"]) == {"female", "male"}
    subgroups = {name: one for entry in after["bias_types"].values() for name, one in entry["subgroups"].items()}
    assert len(subgroups) == 8 and all(45 <= one["ss"]["value"] <= 55 for one in subgroups.values())
    assert "female" in (home.parents[2] / "demo/report.html").read_text(encoding="utf-8")


def test_without_the_role_losses_the_bias_stays(run):
    _, home, place = run
    off = load_config("demo", ["forget_weight=0", "retain_weight=0", "max_steps=40"])
    files = {name: str(home / file) for name, file in (("train", "train.jsonl"), ("report", "report.json"))}
    results = debias(
        str(home / "model"), **files, unrelated=str(home / "unrelated.txt"), out=place / "off", config=off,
        options=EvalOptions(replacements=0),
    )  # fmt: skip
    stored = results.to_dict()
    for bias_type, entry in stored["benchmarks"]["stereoset"]["bias_types"].items():
        before = stored["before"]["stereoset"]["bias_types"][bias_type]["ss"]["value"]
        assert abs(entry["ss"]["value"] - before) <= 2 and entry["ss"]["low"] > 50, bias_type


def tutorial_table(*header):
    """The rows of a table of the tutorial: {first cell: the numbers that the other cells begin with}."""
    text = (Path(__file__).parents[2] / "docs/tutorial.md").read_text(encoding="utf-8")
    _, _, table = text.partition(f"| {' | '.join(header)} |\n")
    rows = [row.strip("|").split("|") for row in table.partition("\n\n")[0].splitlines()[1:]]
    return {row[0].strip(): [float(re.match(r" *(-?[\d.]+)", cell)[1]) for cell in row[1:]] for row in rows}


def test_the_tutorial_reports_what_the_demo_shows(run):
    """Within a few points, because another processor rounds in another way."""
    results, _, _ = run
    stages = results["before"]["stereoset"]["bias_types"], results["benchmarks"]["stereoset"]["bias_types"]
    known = build_world(0).known_skew
    for name, (true, before, after) in tutorial_table("bias type", "true SS", "measured before", "after").items():
        assert true == pytest.approx(known[name], abs=0.1)
        assert [before, after] == pytest.approx([stage[name]["ss"]["value"] for stage in stages], abs=6)
    of_subgroups = tutorial_table("bias type or subgroup", "SS before", "SS after")
    shown = {"- female terms": ("gender", "female"), "- male terms": ("gender", "male"),
             "- north": ("race", "north"), "- south": ("race", "south")}  # fmt: skip
    for row, (name, group) in shown.items():
        measured = [stage[name]["subgroups"][group]["ss"]["value"] for stage in stages]
        assert of_subgroups[row] == pytest.approx(measured, abs=6), row
    assert results["verdict"]["value"] == "improved" and results["verdict"]["polarised"] == []
