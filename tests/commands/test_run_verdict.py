"""The verdict of a run: from stored items and the record of training, and first wherever a result is shown."""

import dataclasses
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from biasunlearn.cli import main
from biasunlearn.commands.compare import compare
from biasunlearn.commands.report import write_report
from biasunlearn.commands.run_context import run_context
from biasunlearn.commands.run_verdict import with_verdict
from biasunlearn.report.model_card import Published, model_card
from biasunlearn.report.tables.comparison import comparison_tables
from biasunlearn.report.tables.run import run_tables
from biasunlearn.report.terminal.table import printed
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.items import read_items
from biasunlearn.runs.results import Results, load_results
from tests.made_runs import debiased, items

BASE, EVEN, HALF = {"age": 84, "work": 84}, {"age": 60, "work": 60}, {"age": 72, "work": 72}
"""70 %, 50 % and 60 % of 120 pairs of each bias type, twelve terms alike."""

BIG = 10
"""Copies of every pair: 1200 pairs of a bias type, enough to show equivalence."""


def many(hits, copies=BIG):
    made = items(hits)
    return [dataclasses.replace(one, item_id=f"{n}-{one.item_id}", cluster_id=f"{n}-{one.cluster_id}")
            for n in range(copies) for one in made]  # fmt: skip


def judged(folder: Path, before, after, **results) -> Results:
    run = debiased(folder, before, after)
    stored = load_results(run)
    return with_verdict(stored.with_values(**results), read_items(folder / "items.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("before", "after", "value", "reason"),
    [
        (many(BASE), many(EVEN), "fair", "SS lies within 5 points of 50 overall and in every bias type"),
        (many(BASE), many(HALF), "improved", "not shown to lie within 5 points of 50: age, overall, work"),
        (items(BASE), items(EVEN), "improved", "not shown to lie within 5 points of 50"),  # 240 pairs show too little
        (many(HALF), many(BASE), "worse", "rose by +10.0 points"),
        (many(BASE), many(BASE), "failed", "base model"),  # no score changed
    ],
)
def test_verdicts_of_runs(tmp_path, before, after, value, reason):
    found = judged(tmp_path / "run", before, after).verdict
    assert (found.value, found.margin) == (value, 5.0) and reason in found.reason


@pytest.mark.slow
@pytest.mark.parametrize(
    ("results", "reason"),
    [
        ({"collapsed": True}, "collapsed"),
        ({"stopped": {"step": 100, "reason": "r", "best_step": 0}}, "base model, which was kept"),
    ],
)
def test_a_run_that_failed_is_failed_whatever_its_scores(tmp_path, results, reason):
    found = judged(tmp_path / "run", many(BASE), many(EVEN), **results)
    assert found.verdict.value == "failed" and reason in found.verdict.reason and not found.verdict.succeeded


@pytest.mark.slow
def test_the_margin_is_that_of_the_recipe(tmp_path):
    strict = judged(tmp_path / "run", many(BASE), many(EVEN), config={"seed": 0, "fair_margin": 0.5})
    row = strict.benchmarks.stereoset.overall.equivalence
    assert strict.verdict.value == "improved" and (row.margin, row.within) == (0.5, False)
    assert row.low < 49.5 and 50.5 < row.high


@pytest.mark.slow
def test_opposite_terms_with_a_mean_of_50_are_polarised_and_not_fair(tmp_path):
    """Six terms at 30 %, six at 70 %: SS is 50, and no term is."""
    after = []
    for one in many(EVEN):
        place = int(one.cluster_id.rsplit("-", 1)[1])
        hit = place // 12 < (3 if place % 12 < 6 else 7)
        score = -2.0 if one.role != "stereotype" else -1.0 if hit else -3.0
        after.append(dataclasses.replace(one, score=-9.0 if one.role == "unrelated" else score))
    found = judged(tmp_path / "run", many(BASE), after)
    assert found.benchmarks.stereoset.overall.ss.value == pytest.approx(50)
    assert found.verdict.polarised == ["age", "work"]
    assert found.verdict.value == "improved" and "target terms far apart: age, work" in found.verdict.reason


@pytest.mark.slow
def test_the_verdict_is_stored_and_stands_first_everywhere(tmp_path):
    made, before, after = tmp_path / "made", many(BASE), many(EVEN)
    debiased(made, before, after)
    with run_context(tmp_path / "run", {"made": "by hand"}) as context:
        context.finish(load_results(made).with_values(collapsed=True), {"before": before, "after": after})
    stored = RunFolder(tmp_path / "run").read_results()
    text = json.loads((tmp_path / "run/results.json").read_text())["verdict"]
    assert text["value"] == "failed" and "collapsed" in text["reason"]
    page = (tmp_path / "run/report.html").read_text()
    assert page.index("<h1>") < page.index("<strong>FAILED</strong>") < page.index('class="lede"')
    assert "contains 50 in" not in page
    card = model_card(stored, Published(False, "m", "float32"))
    assert card.split("---\n")[2].lstrip().startswith("**FAILED**: training collapsed")
    assert run_tables(stored)[0].text.startswith("FAILED: training collapsed")
    runs = [f"{tmp_path / 'run'}:before", str(tmp_path / "run")]
    console = Console(width=250, record=True, file=io.StringIO())
    console.print(printed(comparison_tables(compare(runs))))
    assert console.export_text().splitlines()[0].startswith("B  FAILED: training collapsed")
    write_report(runs[1:] * 2, tmp_path / "both.html")
    assert "A run (seed 0): </span><strong>FAILED</strong>" in (tmp_path / "both.html").read_text()


def test_an_old_run_has_no_verdict_except_a_failure_that_its_record_shows(tmp_path):
    old = load_results(debiased(tmp_path / "run", items(BASE), items(EVEN)))
    assert old.verdict is None and old.shown_verdict is None
    assert old.with_values(collapsed=True).shown_verdict.value == "failed"
    kept = old.with_values(stopped={"step": 5, "best_step": 0})
    assert kept.shown_verdict.value == "failed" and kept.verdict is None


@pytest.mark.parametrize(
    ("value", "code"), [("fair", 0), ("improved", 0), ("no evidence", 1), ("worse", 1), ("failed", 1), (None, 1)]
)
def test_strict_ends_with_1_unless_fair_or_improved(tmp_path, monkeypatch, capsys, value, code):
    stored = load_results(debiased(tmp_path / "made", items(BASE), items(EVEN)))
    given = stored.with_values(verdict={"value": value, "reason": "r", "margin": 5.0}) if value else stored
    monkeypatch.setattr("biasunlearn.commands.debias.debias", lambda *_, **__: given)
    command = ["debias", "m", "--train", "t", "--report", "r", "--out", str(tmp_path / "out")]
    assert main([*command, "--strict"]) == code
    first = capsys.readouterr().out.splitlines()[0]
    assert value is None or first.startswith("FAIR WITHIN ±5: r." if value == "fair" else f"{value.upper()}: r.")
    assert main(command) == 0
