"""What all benchmarks share: one shape of entry, re-scoring without a model, and one table."""

import dataclasses
import json
import subprocess
import sys

import pyarrow.parquet
import pytest
from rich.console import Console

from biasunlearn.benchmarks import BENCHMARKS, NAMES, crows_pairs, stereoset
from biasunlearn.benchmarks.common import panel
from biasunlearn.commands.evaluation import check_benchmark_names, seen_pairs
from biasunlearn.commands.measure import measure
from biasunlearn.data.readers import read_triplets, triplet_hash
from biasunlearn.errors import RequestError
from biasunlearn.report.tables.run import run_tables
from biasunlearn.report.terminal.table import printed
from biasunlearn.runs.items import read_items, write_items
from biasunlearn.runs.results import PanelResult, Results
from biasunlearn.runs.run_files import Manifest
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.stereoset import Item
from tests import tiny
from tests.benchmarks import test_bbq, test_crows_pairs, test_winobias


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
    check_benchmark_names(NAMES)
    with pytest.raises(RequestError, match=f"--benchmark glue: unknown here; known: {', '.join(NAMES)}"):
        check_benchmark_names(["stereoset", "glue"])


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
    ideal = {"share": 50, "gap": 0}
    entry = panel(PanelResult, found, version=1, formulation="f", ideal=ideal, groups=groups).to_dict()
    assert entry["n"] == 3
    assert entry["overall"]["share"]["value"] == 50 and entry["overall"]["gap"]["value"] == 0.5
    assert entry["bias_types"]["age"]["gap"] is None and entry["bias_types"]["race"]["share"] is None
    assert entry["groups"]["direction"]["stereo"]["share"]["value"] == 100


def files(folder) -> dict[str, str]:
    """A small sound file or folder for every benchmark that has items."""
    folder.mkdir()
    pairs = [{"stereotype": f"The {n} man is slow in town.", "anti_stereotype": f"The {n} man is quick in town.",
              "unrelated": f"The {n} man is of in town.", "bias_type": "age"} for n in range(3)]  # fmt: skip
    (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
    return {
        "stereoset": str(folder / "pairs.jsonl"),
        "controls": str(folder / "pairs.jsonl"),
        "paraphrases": str(folder / "pairs.jsonl"),
        "crows_pairs": test_crows_pairs.write(folder / "crows.csv"),
        "bbq": test_bbq.write(folder / "bbq.jsonl", [test_bbq.example(0), test_bbq.example(1, category="SES")]),
        "winobias": test_winobias.folder(folder / "winobias"),
        "winogender": test_winobias.schemas(folder / "gender", test_winobias.sentences("nurse", "poet", "0")),
    }


@pytest.mark.slow
def test_every_table_can_be_made_again_from_the_items_alone(tmp_path):
    """One run of all benchmarks that have items; then the same tables from items.parquet, without a model or torch."""
    request = files(tmp_path / "data")
    # Re-scored in test_seat, test_written, test_bbq_text and test_judged; cab and ceb are made of items in their tests.
    cognitive = {"belief_bias", "certainty_effect", "decoy_effect", "cognitive_tests"}  # test_cognitive
    elsewhere = {"seat", "bold", "realtoxicityprompts", "bbq_text", "mt_bench", "fairmt", "responses", "cab", "ceb"}
    elsewhere |= cognitive
    assert request.keys() | elsewhere == {name for name in NAMES if hasattr(BENCHMARKS[name], "entry")}
    model = tiny.save(tiny.gpt2(n_positions=256), tmp_path / "model")
    measured = measure(model, request, out=tmp_path / "run")
    code = (
        "import sys; from biasunlearn.commands.measure import rescore; "
        f"rescore({{}}, {str(tmp_path / 'run/items.parquet')!r}, out={str(tmp_path / 'again')!r}); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    again = json.loads((tmp_path / "again/results.json").read_text())["benchmarks"]
    assert again.keys() == request.keys()
    stored = json.loads((tmp_path / "run/results.json").read_text())["benchmarks"]
    for name, entry in again.items():
        assert entry == {key: stored[name][key] for key in entry}, name
        assert set(stored[name]) - set(entry) <= {"left_out"}, name
        assert {"version", "formulation", "ideal", "n", "skipped", "data", "sha256", "overall", "bias_types"} <= set(
            entry
        )
    assert shown(measured.to_dict()).count("overall") >= len(request)


def test_pairs_that_an_adapter_has_seen_are_counted_in_every_benchmark_made_of_pairs(tmp_path):
    request = files(tmp_path / "data")
    seen = [triplet_hash(c) for c in read_triplets(request["stereoset"]).triplets[:2]]
    seen += [triplet_hash(c) for c in crows_pairs.pairs(request["crows_pairs"])[:1]]
    found = seen_pairs(EvalPlan(request), Manifest(pairs=seen))
    marked = {name: contamination.clusters for name, contamination in found.items()}
    assert marked == {"stereoset": 2, "controls": 2, "paraphrases": 2, "crows_pairs": 1}
    assert seen_pairs(EvalPlan(request), Manifest(pairs=[])) == {}
    assert seen_pairs(EvalPlan(request), None) == {}


def shown(results) -> str:
    console = Console(width=140, record=True)
    console.print(printed(run_tables(Results.model_validate({"schema": 2, **results}))))
    return console.export_text()


def test_the_table_shows_any_benchmark_before_and_after_and_what_is_not_defined():
    found = [outcome(str(n), "[red]age[/]", "share", 100.0 * (n % 2)) for n in range(20)]
    groups = {"direction": [dataclasses.replace(o, bias_type="stereo") for o in found]}
    entry = panel(
        PanelResult, found, version=1, formulation="f", ideal={"share": 50, "gap": 0}, groups=groups, skipped=3,
        notes=["gap: nobody knows"],
    ).to_dict()  # fmt: skip
    text = shown({"benchmarks": {"crows": entry}})
    assert "crows (ideal: share 50, gap 0)" in text
    assert "[red]age[/]" in text and "direction: stereo" in text  # names are data, not markup
    assert "50.0 (" in text and "3 invalid rows were skipped" in text and "gap: nobody knows" in text
    both = shown({"benchmarks": {"crows": entry}, "before": {"crows": entry}})
    assert "share before" in both and both.count("50.0 (") == 2 * text.count("50.0 (")
