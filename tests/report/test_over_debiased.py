"""SS past 50 is not fair: wherever a result is read it says so, and says nothing of the kind where 50 is held."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from biasunlearn.benchmarks import crows_pairs
from biasunlearn.commands.compare import compare
from biasunlearn.commands.report import write_report
from biasunlearn.report.model_card import model_card
from biasunlearn.report.terminal.comparison import comparison_table
from biasunlearn.runs.folder import RunFolder
from biasunlearn.stats.stereoset import Item, over_debiased
from tests import made_runs
from tests.benchmarks.test_panel import shown as printed

BEFORE = {"age": 84, "work": 84}  # of 120: 70 %
PAST = {"age": 36, "work": 60}  # 30 % and 50 %
FAIR = {"age": 60, "work": 60}


@pytest.fixture
def runs(tmp_path):
    made = {"past": PAST, "fair": FAIR}
    return {name: made_runs.debiased(tmp_path / name, made_runs.items(BEFORE), made_runs.items(after))
            for name, after in made.items()}  # fmt: skip


def test_every_place_where_a_result_is_read(runs, tmp_path):
    for name, run in runs.items():
        results = RunFolder(Path(run)).read_results().to_dict()
        write_report([run], tmp_path / f"{name}.html")
        write_report([run, runs["fair"]], tmp_path / f"{name}-both.html")
        card = model_card(results, merged=False, dtype="float32", license_id=None, base="m", largest=None)
        console = Console(width=250, record=True, file=io.StringIO())
        console.print(comparison_table(compare([f"{run}:before", run])))
        read = {
            "table": printed(results), "page": (tmp_path / f"{name}.html").read_text(), "card": card,
            "pages": (tmp_path / f"{name}-both.html").read_text(), "compare": console.export_text(),
        }  # fmt: skip
        said = {where: "over-debiased" in text.lower() for where, text in read.items()}
        assert said == dict.fromkeys(read, name == "past"), said


def test_all_together_below_50_although_no_bias_type_is_by_itself():
    """Every bias type's interval reaches 50, that of all of them does not: it stands in the row of all of them."""
    entry = {"ideal": {"ss": 50.0}, "bias_types": {"a": {"ss": {"high": 50.5}}, "b": {"ss": {"high": 50.0}}},
             "overall": {"ss": {"high": 49.0}}}  # fmt: skip
    assert over_debiased(entry) == ["overall"]


def test_of_other_benchmarks_the_first_score_that_should_be_50():
    low, high = {"value": 40.0, "low": 30.0, "high": 45.0}, {"value": 50.0, "low": 45.0, "high": 55.0}
    controls = {"ideal": {"ss": 50.0, "ss_negated": 50.0}, "bias_types": {}, "overall": {"ss": high, "ss_negated": low}}
    assert over_debiased(controls) == []  # a negated pair below 50 is what a sound model with a leaning shows
    crows = {"ideal": {"stereotype_share": 50.0}, "bias_types": {"age": {"stereotype_share": low}, "race": {
        "stereotype_share": None}}, "overall": {"stereotype_share": high}}  # fmt: skip
    assert over_debiased(crows) == ["age"]
    assert over_debiased({"ideal": {"accuracy": 100.0}, "overall": {"accuracy": low}}) == []


def test_a_panel_says_it_too():
    items = [Item("crows_pairs", f"{n}{role}", str(n), "age", str(n), "sentence", role, score, 1, "stereo")
             for n in range(40) for role, score in (("stereotype", -2.0), ("anti-stereotype", -1.0))]  # fmt: skip
    entry = crows_pairs.entry(items)
    assert over_debiased(entry) == ["age", "overall"]
    assert "over-debiased" in printed({"benchmarks": {"crows_pairs": entry}})
