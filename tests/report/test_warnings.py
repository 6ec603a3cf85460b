"""Warnings have one source of words: page, terminal and model card say the same sentences."""

import io

import pytest
from rich.console import Console

from biasunlearn.report.model_card import Published, model_card
from biasunlearn.report.run import RunData, report_page
from biasunlearn.report.table import Table
from biasunlearn.report.tables.run import run_tables
from biasunlearn.report.tables.stereoset import stereoset_tables
from biasunlearn.report.terminal.table import printed
from biasunlearn.report.warnings import benchmark_warnings, over_debiased_points, run_warnings, stereoset_warnings
from biasunlearn.runs.results import Results
from biasunlearn.stats.stereoset import FORMULATIONS
from tests.report import made_results
from tests.report.test_run import read


def results(**changes) -> Results:
    """A run whose StereoSet result, after debiasing, has these values in place of harmless ones."""
    content = made_results.content()
    for stage in ("before", "benchmarks"):
        content[stage] = {"stereoset": content[stage]["stereoset"]}
    entry = content["benchmarks"]["stereoset"]
    rows = [entry["overall"], *entry["bias_types"].values()]
    for row in rows:
        row.update({"ss": made_results.between(50.0), "few_terms": False, "ties": 0})
    entry.update({"contaminated": None, "skipped": 0, "intersentence": None})
    overall = {key: changes.pop(key) for key in ("ties", "low_lms", "ss") if key in changes}
    entry["overall"].update(overall)
    entry.update({key: changes.pop(key) for key in ("contaminated", "skipped", "notes") if key in changes})
    if changes.pop("few_terms", False):
        entry["bias_types"]["race"]["few_terms"] = True
    return Results.model_validate({**content, "collapsed": False, **changes})


CASES = {
    "low LMS": ({"low_lms": True}, "LMS is below 70: the model hardly separates meaningful from unrelated sentences"),
    "seen in training": ({"contaminated": {"clusters": 3, "of": 2106}}, "Contaminated: 3 of 2106 items were in the"),
    "skipped rows": ({"skipped": 2}, "2 invalid rows were skipped."),
    "what was read as another name": (
        {"notes": ["bias types 'Race' (2) and 'race' (9) are read as one"]}, "bias types 'Race' (2) and 'race' (9) are",
    ),
    "past 50": ({"ss": made_results.between(45.0)}, "Over-debiased: the whole interval lies below 50, at the anti-st"),
    "few terms": ({"few_terms": True}, "StereoSet has fewer than 10 target terms in race: the wider of the intervals"),
    "one tie": ({"ties": 1}, "1 tie is counted as an anti-stereotype, as in the official scorer."),
    "ties": ({"ties": 4}, "4 ties are counted as anti-stereotypes, as in the official scorer."),
    "collapse": ({"collapsed": True}, "The run collapsed: LMS fell too far during training, and the model is not"),
}


def shown(made: Results) -> dict[str, str]:
    """What a reader sees in each place, white space aside."""
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(printed(run_tables(made)))
    page = " ".join(read(report_page(RunData("r", made))).text)
    card = model_card(made, Published(merged=False, base="m", dtype="float32"))
    texts = {"terminal": console.export_text(), "page": page, "model card": card}
    return {where: " ".join(text.split()) for where, text in texts.items()}


@pytest.mark.parametrize("case", CASES)
def test_a_warning_stands_in_all_places_where_there_is_a_reason_and_in_none_where_there_is_none(case: str) -> None:
    changes, sentence = CASES[case]
    assert all(sentence in text for text in shown(results(**changes)).values())
    assert not any(sentence in text for text in shown(results()).values())


def test_a_sound_run_has_no_warning() -> None:
    made = results()
    assert made.benchmarks.stereoset is not None
    assert run_warnings(made) == () == stereoset_warnings(made.benchmarks.stereoset)


def test_other_benchmarks_have_their_own_notes_and_few_clusters() -> None:
    crows = made_results.typed().benchmarks.crows_pairs
    assert crows is not None
    note, over, few = benchmark_warnings("crows_pairs", crows)
    assert note == "A note of the benchmark." and over.startswith("Over-debiased: ") and over.endswith("overall.")
    assert few.startswith("crows_pairs has fewer than 10 clusters in gender, profession") and "overall" not in few
    assert "direction" not in few


def test_few_clusters_are_said_with_the_benchmark_the_score_and_the_heading_of_a_group() -> None:
    crows = made_results.typed().benchmarks.crows_pairs
    assert crows is not None
    small = crows.with_values(groups={"direction": {"stereo": crows.bias_types["gender"], "antistereo": crows.overall}})
    *_, few = benchmark_warnings("crows_pairs", small)
    assert few.startswith("crows_pairs has fewer than 10 clusters in gender, ")
    assert ", stereo (direction): the wider" in few and "antistereo" not in few
    tables = [part for part in made_results.parts()["comparison"] if isinstance(part, Table) and part.warnings]
    assert tables[0].warnings[-1].startswith("ss of stereoset has fewer than 10 clusters in gender, ")


def test_past_50_in_further_training_is_a_matter_of_the_debiased_model_alone() -> None:
    points = made_results.typed(relearned=made_results.relearned()).relearned.points  # type: ignore[union-attr]
    (warning,) = over_debiased_points(points)
    assert "at step 0 in gender" in warning and "at step 100 in gender" in warning
    assert over_debiased_points([point for point in points if point.model == "base"]) == ()


def test_pairs_of_whole_sentences_alone_have_their_own_title() -> None:
    entry = results().benchmarks.stereoset
    title = stereoset_tables(entry, None, 5.0)[0].title
    alone = entry.with_values(formulation=FORMULATIONS["intersentence"])
    assert title.startswith("StereoSet, intrasentence")
    assert stereoset_tables(alone, None, 5.0)[0].title.startswith("StereoSet, intersentence")
