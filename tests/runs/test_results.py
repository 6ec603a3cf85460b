"""The types of results.json: what is stored comes back as it was, what does not fit is named in one line."""

import copy
import json
import re
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

import biasunlearn
from biasunlearn import load_results
from biasunlearn.commands.report import write_report
from biasunlearn.errors import RequestError
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.items import read_items, write_items
from biasunlearn.runs.results import (
    SCHEMA,
    SCHEMA_FILE,
    Contamination,
    Interval,
    Measured,
    PanelResult,
    PerplexityResult,
    Results,
    StereoSetResult,
    estimate_of,
    json_schema,
)
from biasunlearn.runs.schema import read_as
from biasunlearn.stats.bootstrap import Estimate
from tests import made_runs
from tests.conftest import VALIDATOR

OLD = Path(__file__).parent / "schema_1"
"""A debias run as version 0.1.0 wrote it, with numbers rounded and with several benchmarks."""


def content():
    """A small results.json, as `json.loads` gives it."""
    row = {"n": 3, "ss": {"value": 60.0, "low": 50.0, "high": 70.0}, "lms": None, "icat": None, "ties": 0}
    panel = {
        "ideal": {"accuracy": 100.0}, "n": 3,
        "overall": {"n": 3, "accuracy": {"value": 50.0, "low": 40.0, "high": 60.0, "n": 3}},
        "bias_types": {"age": {"n": 3, "accuracy": None}},
    }  # fmt: skip
    measured = {"perplexity": made_runs.text(20.0), "stereoset": {"n": 3, "overall": row, "bias_types": {"age": row}},
                "bbq": panel}  # fmt: skip
    return {"schema": SCHEMA, "model": "m", "adapter": None, "benchmarks": measured}


def changed(place, value):
    found = copy.deepcopy(content())
    inner = found
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    return found


# --- the shipped schema ----------------------------------------------------------------------------------------------


def test_the_shipped_schema_is_what_the_types_generate():
    assert SCHEMA_FILE.read_text(encoding="utf-8") == json_schema(), "run `make schema`"
    assert SCHEMA_FILE.parent == Path(biasunlearn.__file__).parent / "runs"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("schema",), 3),
        (("benchmarks",), []),
        (("benchmarks", "stereoset", "overall", "ss"), "sixty"),
        (("benchmarks", "stereoset", "overall", "ss", "low"), None),
        (("benchmarks", "bbq", "overall", "accuracy", "low"), "x"),
        (("benchmarks", "bbq", "bias_types", "age", "n"), -1),
        (("benchmarks", "perplexity", "per_token"), 0),
        (("benchmarks", "unheard_of"), {"overall": {"n": "three"}}),
    ],
)
def test_the_schema_refuses_what_the_types_refuse(place, value):
    assert VALIDATOR.is_valid(content())
    assert not VALIDATOR.is_valid(changed(place, value))
    with pytest.raises(RequestError):
        read_as(Results, changed(place, value), "results.json")


# --- reading ---------------------------------------------------------------------------------------------------------


def test_what_was_read_is_written_back_key_by_key():
    stored = content() | {"another_version": {"x": [1, None]}}
    stored["benchmarks"]["unheard_of"] = {"overall": {"n": 3, "mood": "grim"}, "bias_types": {}, "ideal": {}, "n": 3}
    results = read_as(Results, stored, "results.json")
    assert results.to_dict() == stored
    assert list(results.to_dict()["benchmarks"]) == ["perplexity", "stereoset", "bbq", "unheard_of"]  # as measured


def test_attributes_are_the_keys_and_what_is_not_there_is_none():
    results = read_as(Results, content(), "results.json")
    stereoset = results.benchmarks.stereoset
    assert isinstance(stereoset, StereoSetResult) and stereoset.bias_types["age"].ss.high == 70
    assert stereoset.overall.lms is None and stereoset.overall.ss_distance is None and stereoset.intersentence is None
    assert results.before is None and results.verdict is None and results.benchmarks.winobias is None
    bbq, text = results.benchmarks["bbq"], results.benchmarks["perplexity"]
    assert isinstance(bbq, PanelResult) and isinstance(text, PerplexityResult)
    assert bbq.overall.interval("accuracy").low == 40 and bbq.bias_types["age"].interval("accuracy") is None
    assert bbq.overall.interval("never heard of") is None and bbq.parts["age"].scores == {"accuracy": None}
    assert text.whole.scores == {"per_token": 20.0, "per_byte": 2.0} and text.parts == {}
    assert "bbq" in results.benchmarks and "seat" not in results.benchmarks and len(results.benchmarks) == 3
    assert results.benchmarks.entries.keys() == {"bbq", "perplexity", "stereoset"}


def test_an_estimate_of_any_kind_of_score():
    assert estimate_of(Interval(value=1.0, low=0.5, high=2.0)) == Estimate(1.0, 0.5, 2.0)
    assert estimate_of(3.0) == Estimate(3.0, 3.0, 3.0) and estimate_of(None) is None


SS = ("benchmarks", "stereoset", "overall", "ss")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((*SS, "low"), "x", "benchmarks.stereoset.overall.ss.low: must be a number"),
        ((*SS, "low"), True, "benchmarks.stereoset.overall.ss.low: must be a number"),
        ((*SS, "low"), float("nan"), "benchmarks.stereoset.overall.ss.low: must be a finite number"),
        ((*SS, "low"), 10**400, "benchmarks.stereoset.overall.ss.low: must be a number"),
        ((*SS, "low"), 1e300, "benchmarks.stereoset.overall.ss.low: must be less than or equal to 1000000000000000"),
        (SS, {"value": 1.0, "high": 2.0}, "benchmarks.stereoset.overall.ss.low: is missing"),
        (SS, [1, 2], "benchmarks.stereoset.overall.ss: must be an object"),
        (("benchmarks", "stereoset", "n"), 3.5, "benchmarks.stereoset.n: must be a whole number"),
        (("benchmarks", "stereoset", "skipped_rows"), "abc", "benchmarks.stereoset.skipped_rows: must be a list"),
        (("benchmarks", "bbq", "overall", "accuracy"), 7, "benchmarks.bbq.overall.accuracy: must be an object with"),
        (("benchmarks", "bbq", "overall"), {"n": 3}, "benchmarks.bbq.overall.accuracy: must be an object with"),
        (("benchmarks", "bbq", "overall", "accuracy", "high"), {}, "benchmarks.bbq.overall.accuracy.high: must be a n"),
        (("benchmarks",), [], "benchmarks: must be an object"),
        (("before",), {}, "before.perplexity: is missing, though benchmarks has it"),
        (("schema",), 3, "schema: 3; this version reads 1 and 2"),
        (("schema",), "2", "schema: '2'; this version reads 1 and 2"),
        (("model",), 7, "model: must be a text"),
        (("collapsed",), "no", "collapsed: must be true or false"),
    ],
)
def test_what_does_not_fit_is_named_with_its_place_in_one_line(tmp_path, place, value, message):
    with pytest.raises(RequestError) as refused:
        read_as(Results, changed(place, value), "run/results.json")
    line = str(refused.value)
    assert line.startswith(f"run/results.json: {message}") and "\n" not in line
    assert line.endswith("; restore the file, or make the run again")


def test_the_number_of_further_places_is_told():
    stored = changed((*SS, "low"), "x")
    stored["benchmarks"]["stereoset"]["overall"]["ss"]["high"] = None
    with pytest.raises(RequestError, match=r"ss.low: must be a number \(and 3 more such places\); restore"):
        read_as(Results, stored, "results.json")


@pytest.mark.damaged_results
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "results.json: cannot be read: not JSON: Expecting property name"),
        ("[" * 100_000, "results.json: cannot be read: "),
        ("[]", "results.json: must be an object"),
        (b"\xff\xfe", "results.json: cannot be read: "),
        ('{"schema": 1' + "0" * 5000 + "}", "results.json: cannot be read: "),  # more digits than Python converts
    ],
)
def test_a_file_that_is_no_json_is_one_line(tmp_path, text, message):
    (tmp_path / "results.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(RequestError, match=re.escape(message)):
        load_results(tmp_path)
    with pytest.raises(RequestError, match="no finished run here"):
        load_results(tmp_path / "elsewhere")


# --- values in Python ------------------------------------------------------------------------------------------------


def test_values_are_checked_when_they_are_changed_and_the_first_ones_stay():
    results = read_as(Results, content(), "results.json")
    marked = results.benchmarks.marked({"bbq": Contamination(clusters=1, of=3)})
    assert marked["bbq"].contaminated.clusters == 1 and results.benchmarks["bbq"].contaminated is None
    assert list(marked.entries) == list(results.benchmarks.entries)
    assert results.with_values(out="x").out == "x"
    with pytest.raises(ValueError):
        results.with_values(collapsed="no")
    with pytest.raises(ValueError):
        results.model = "another"


def test_a_table_has_a_row_for_each_score():
    table = read_as(Results, content(), "results.json").to_pandas()
    assert list(table.columns) == ["stage", "benchmark", "bias_type", "score", "value", "low", "high"]
    row = table[(table.benchmark == "stereoset") & (table.bias_type == "age") & (table.score == "ss")].iloc[0]
    assert (row.stage, row.value, row.low, row.high) == ("", 60, 50, 70)
    assert set(table[table.benchmark == "perplexity"].score) == {"per_token", "per_byte"}
    both = load_results(OLD).to_pandas()
    assert set(both.stage) == {"before", "after"}
    assert len(both[both.stage == "before"]) == len(both[both.stage == "after"]) > 30


def test_an_order_of_benchmarks_survives_a_change():
    measured = Measured.model_validate({"perplexity": made_runs.text(2.0), "bbq": content()["benchmarks"]["bbq"]})
    assert list(measured.to_dict()) == list(measured.with_values().to_dict()) == ["perplexity", "bbq"]


# --- another version -------------------------------------------------------------------------------------------------


def test_a_run_of_schema_1_is_read_whole(tmp_path):
    stored = json.loads((OLD / "results.json").read_text())
    assert stored["schema"] == 1
    results = load_results(OLD)
    assert results.to_dict() == stored and VALIDATOR.is_valid(stored)
    assert results.schema_version == 1 and results.stopped.step == 4 and results.config.margin == 2
    assert results.data.split("train").pairs > 0 and set(results.data.files) == {"train", "report"}
    folder = RunFolder(OLD)
    rows = folder.read_metrics()
    assert rows[0].ss and rows[0].lms is not None and rows[1].loss_forget > 0 and rows[2].decision.passed == 0
    config = folder.read_config()
    assert config.debias.train == "train.jsonl" and config.recipe["max_steps"] == 4
    page = tmp_path / "page.html"
    write_report([OLD], page)
    assert "Stereotype score by bias type" in page.read_text()


# --- items -----------------------------------------------------------------------------------------------------------


def items_file(folder):
    path = folder / "items.parquet"
    write_items(path, {"": made_runs.items({"age": 60, "work": 60})})
    return path, pyarrow.parquet.read_table(path)


def test_items_of_another_shape_are_named(tmp_path):
    path, table = items_file(tmp_path)
    place = table.column_names.index("score")
    scores = table.column("score").to_pylist()
    cases = {
        "column score: must hold numbers, holds string": [str(score) for score in scores],
        "column score: must hold numbers, holds list": [[score] for score in scores],
        "row 3: score is nan; must be a finite number": [*scores[:2], float("nan"), *scores[3:]],
        "row 1: score is -inf; must be a finite number": [float("-inf"), *scores[1:]],
        "row 2: score is missing": [scores[0], None, *scores[2:]],
    }
    for message, values in cases.items():
        pyarrow.parquet.write_table(table.set_column(place, "score", pyarrow.array(values)), path)
        with pytest.raises(RequestError, match=re.escape(f"items.parquet: {message}")):
            read_items(path)
    pyarrow.parquet.write_table(table.drop_columns(["tokens"]), path)
    with pytest.raises(RequestError, match="the columns tokens are missing"):
        read_items(path)
    numbers = table.set_column(table.column_names.index("role"), "role", pyarrow.array(range(table.num_rows)))
    pyarrow.parquet.write_table(numbers, path)
    with pytest.raises(RequestError, match="column role: must hold text, holds int64"):
        read_items(path)
