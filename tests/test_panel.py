"""What all benchmarks share: one shape of entry, re-scoring without a model, and one table."""

import dataclasses

import pyarrow.parquet
import pytest
from rich.console import Console

from biasunlearn.benchmarks import BENCHMARKS, NAMES, stereoset
from biasunlearn.benchmarks.entries import entry_of
from biasunlearn.errors import RequestError
from biasunlearn.measuring import known_benchmarks
from biasunlearn.metrics import Item
from biasunlearn.records import Outcome
from biasunlearn.rundir import read_items, write_items
from biasunlearn.tables import results_table


def triple(cluster: str, target: str, scores: tuple[float, float, float]) -> list[Item]:
    roles = ("stereotype", "anti-stereotype", "unrelated")
    return [
        Item("stereoset", f"{cluster}-{role}", cluster, "age", target, "intrasentence", role, score, 5)
        for role, score in zip(roles, scores, strict=True)
    ]


ITEMS = [*triple("a", "baker", (-1.0, -2.0, -3.0)), *triple("b", "pilot", (-4.0, -2.0, -3.0))]


def outcome(unit: str, bias_type: str, score: str, value: float) -> Outcome:
    return Outcome(unit, f"term {unit}", bias_type, score, value)


def test_a_wrong_name_is_refused_with_the_known_ones():
    known_benchmarks(NAMES)
    with pytest.raises(RequestError, match=f"--benchmark glue: unknown here; known: {', '.join(NAMES)}"):
        known_benchmarks(["stereoset", "glue"])


def test_every_benchmark_has_the_three_functions():
    for name, module in BENCHMARKS.items():
        assert callable(module.run) and callable(module.outcomes), name
        assert module.outcomes([]) == [], name
        assert hasattr(module, "entry") or name == "perplexity", name


def test_stereoset_s_outcomes_by_hand():
    # a: -1 > -2 stereotyped, both above -3: LMS 100. b: -4 < -2, only the anti-stereotype beats -3: LMS 50.
    found = {(o.unit, o.score): o.value for o in stereoset.outcomes(ITEMS)}
    assert found == {
        ("a", "ss"): 100.0, ("a", "lms"): 100.0, ("a", "margin"): 1.0,
        ("b", "ss"): 0.0, ("b", "lms"): 50.0, ("b", "margin"): -2.0,
    }  # fmt: skip
    assert {(o.cluster, o.bias_type) for o in stereoset.outcomes(ITEMS)} == {("baker", "age"), ("pilot", "age")}


def test_items_are_read_back_with_and_without_the_newest_column(tmp_path):
    items = [dataclasses.replace(item, condition="stereo") for item in ITEMS]
    write_items(tmp_path / "new.parquet", {"": items})
    assert read_items(tmp_path / "new.parquet") == {"": items}
    table = pyarrow.parquet.read_table(tmp_path / "new.parquet")
    pyarrow.parquet.write_table(table.drop_columns(["condition"]), tmp_path / "old.parquet")
    assert read_items(tmp_path / "old.parquet") == {"": ITEMS}
    pyarrow.parquet.write_table(table.drop_columns(["role"]), tmp_path / "not-ours.parquet")
    with pytest.raises(RequestError, match="the columns role are missing"):
        read_items(tmp_path / "not-ours.parquet")


def test_an_entry_has_every_score_of_its_ideal_everywhere():
    found = [outcome("1", "age", "share", 100.0), outcome("2", "age", "share", 0.0), outcome("3", "race", "gap", 0.5)]
    groups = {"direction": [outcome("1", "stereo", "share", 100.0)]}
    entry = entry_of(found, version=1, formulation="f", ideal={"share": 50, "gap": 0}, groups=groups)
    assert entry["n"] == 3
    assert entry["overall"]["share"]["value"] == 50 and entry["overall"]["gap"]["value"] == 0.5
    assert entry["bias_types"]["age"]["gap"] is None and entry["bias_types"]["race"]["share"] is None
    assert entry["groups"]["direction"]["stereo"]["share"]["value"] == 100


def shown(results) -> str:
    console = Console(width=140, record=True)
    console.print(results_table(results))
    return console.export_text()


def test_the_table_shows_any_benchmark_before_and_after_and_what_is_not_defined():
    found = [outcome(str(n), "[red]age[/]", "share", 100.0 * (n % 2)) for n in range(20)]
    groups = {"direction": [dataclasses.replace(o, bias_type="stereo") for o in found]}
    entry = entry_of(found, version=1, formulation="f", ideal={"share": 50, "gap": 0}, groups=groups)
    entry |= {"skipped": 3, "notes": ["gap: nobody knows"]}
    text = shown({"benchmarks": {"crows": entry}})
    assert "crows (ideal: share 50, gap 0)" in text
    assert "[red]age[/]" in text and "direction: stereo" in text  # names are data, not markup
    assert "50.0 (" in text and "3 invalid rows were skipped" in text and "gap: nobody knows" in text
    both = shown({"benchmarks": {"crows": entry}, "before": {"crows": entry}})
    assert "share before" in both and both.count("50.0 (") == 2 * text.count("50.0 (")
