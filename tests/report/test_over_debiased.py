"""SS past 50 is not fair: wherever a result is read it says so, and says nothing of the kind where 50 is held."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from biasunlearn.benchmarks import crows_pairs
from biasunlearn.commands.compare import compare
from biasunlearn.commands.report import write_report
from biasunlearn.report.model_card import Published, model_card
from biasunlearn.report.tables.comparison import comparison_tables
from biasunlearn.report.terminal.table import printed
from biasunlearn.report.warnings import over_debiased
from biasunlearn.runs.benchmark_results import PanelResult
from biasunlearn.runs.comparison import RunComparison
from biasunlearn.runs.folder import RunFolder
from biasunlearn.stats.stereoset import Item
from tests import made_runs
from tests.benchmarks.test_panel import shown as on_terminal

BEFORE = {"age": 84, "work": 84}  # of 120: 70 %
PAST = {"age": 36, "work": 60}  # 30 % and 50 %
FAIR = {"age": 60, "work": 60}


@pytest.fixture
def runs(tmp_path):
    made = {"past": PAST, "fair": FAIR}
    return {name: made_runs.debiased(tmp_path / name, made_runs.items(BEFORE), made_runs.items(after))
            for name, after in made.items()}  # fmt: skip


@pytest.mark.slow
def test_every_place_where_a_result_is_read(runs, tmp_path):
    for name, run in runs.items():
        results = RunFolder(Path(run)).read_results()
        write_report([run], tmp_path / f"{name}.html")
        write_report([run, runs["fair"]], tmp_path / f"{name}-both.html")
        card = model_card(results, Published(False, "m", "float32"))
        console = Console(width=250, record=True, file=io.StringIO())
        comparison = RunComparison.model_validate(compare([f"{run}:before", run]))
        console.print(printed(comparison_tables(comparison)))
        read = {
            "table": on_terminal(results.to_dict()), "page": (tmp_path / f"{name}.html").read_text(), "card": card,
            "pages": (tmp_path / f"{name}-both.html").read_text(), "compare": console.export_text(),
        }  # fmt: skip
        said = {where: "over-debiased" in text.lower() for where, text in read.items()}
        assert said == dict.fromkeys(read, name == "past"), said


def panel(ideal, overall, bias_types) -> PanelResult:
    rows = {name: {"n": 9, **row} for name, row in bias_types.items()}
    return PanelResult.model_validate({"ideal": ideal, "n": 9, "overall": {"n": 9, **overall}, "bias_types": rows})


def up_to(high):
    return {"value": high - 5.0, "low": high - 10.0, "high": high}


def test_all_together_below_50_although_no_bias_type_is_by_itself():
    """Every bias type's interval reaches 50, that of all of them does not: it stands in the row of all of them."""
    entry = panel({"ss": 50.0}, {"ss": up_to(49.0)}, {"a": {"ss": up_to(50.5)}, "b": {"ss": up_to(50.0)}})
    assert over_debiased(entry) == ["overall"]


def test_of_other_benchmarks_the_first_score_that_should_be_50():
    low, high = up_to(45.0), up_to(55.0)
    controls = panel({"ss": 50.0, "ss_negated": 50.0}, {"ss": high, "ss_negated": low}, {})
    assert over_debiased(controls) == []  # a negated pair below 50 is what a sound model with a leaning shows
    types = {"age": {"stereotype_share": low}, "race": {"stereotype_share": None}}
    crows = panel({"stereotype_share": 50.0}, {"stereotype_share": high}, types)
    assert over_debiased(crows) == ["age"]
    assert over_debiased(panel({"accuracy": 100.0}, {"accuracy": low}, {})) == []


def crows(stereotype: float):
    items = [Item("crows_pairs", f"{n}{role}", str(n), "age", str(n), "sentence", role, score, 1, "stereo")
             for n in range(40) for role, score in (("stereotype", stereotype), ("anti-stereotype", -1.0))]  # fmt: skip
    return crows_pairs.entry(items)


def test_a_panel_says_it_too():
    entry = crows(-2.0)
    assert over_debiased(entry) == ["age", "overall"]
    assert over_debiased(crows(-1.0)) == []  # ties only, as of words that the tokenizer does not know
    assert "Over-debiased" in on_terminal({"benchmarks": {"crows_pairs": entry.to_dict()}})
