"""Evidence files: each is valid for its own reader, and says what the run says."""

import csv
import hashlib
import io
import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from biasunlearn.cli import main
from biasunlearn.commands.export_evidence import export_evidence
from biasunlearn.report.evidence.items_table import cell, items_csv
from biasunlearn.report.evidence.measurements import Measurement, measurements
from biasunlearn.runs.results import load_results
from biasunlearn.stats.stereoset import Item
from tests.made_runs import debiased, items, measured
from tests.report import made_results

ADAPTER = b"weights"


@pytest.fixture
def run(tmp_path):
    path = Path(debiased(tmp_path / "run", items({"age": 84, "work": 84}), items({"age": 60, "work": 72})))
    (path / "adapter").mkdir()
    (path / "adapter/adapter_model.safetensors").write_bytes(ADAPTER)
    return path


@pytest.fixture
def files(run, tmp_path):
    done = export_evidence(run, out=tmp_path / "out", name="us/fair", base_name="us/base",
                           hub_datasets={"stereoset": "us/data:intra"})  # fmt: skip
    found = {name: (tmp_path / "out" / name).read_text(encoding="utf-8") for name in done["files"]}
    assert done["undefined"] == []
    return found


def eval_files(files):
    """{model id: (aggregate, samples)}"""
    found = {}
    for name, content in files.items():
        if name.endswith(".json") and name.startswith("data/"):
            samples = files[name.replace(".json", "_samples.jsonl")]
            aggregate = json.loads(content)
            found[aggregate["model_info"]["id"]] = name, aggregate, samples
    return found


def test_every_eval_ever_says_what_the_run_says(files):
    found = eval_files(files)
    assert set(found) == {"us/base", "us/fair"}
    name, aggregate, samples = found["us/fair"]
    assert name.startswith("data/biasunlearn/us/fair/") and name.removesuffix(".json")[-22:-21] == "4"  # a UUID 4
    by_id = {one["evaluation_result_id"].partition("#")[2]: one for one in aggregate["evaluation_results"]}
    age = by_id["stereoset.intrasentence.age.ss"]
    assert age["score_details"]["score"] == 50.0 and age["metric_config"]["additional_details"]["target"] == "50"
    assert by_id["stereoset.intrasentence.work.ss_distance"]["score_details"]["score"] == 10.0  # 72 of 120: 60 %
    assert by_id["stereoset.intrasentence.work.ss_distance"]["metric_config"]["lower_is_better"]
    assert by_id["perplexity.overall.per_token"]["metric_config"]["max_score"] == "Infinity"
    detailed = aggregate["detailed_evaluation_results"]
    assert detailed["checksum"] == hashlib.sha256(samples.encode()).hexdigest()
    rows = [json.loads(line) for line in samples.splitlines()]
    assert detailed["total_rows"] == len(rows) == 240
    judged = [row["evaluation"] for row in rows]
    assert sum(one["score"] for one in judged) == 132 == sum(not one["is_correct"] for one in judged)
    before = [json.loads(line)["sample_hash"] for line in found["us/base"][2].splitlines()]
    assert before == [row["sample_hash"] for row in rows]  # the same samples of both models
    assert aggregate["model_info"]["additional_details"]["adapter_sha256"] == hashlib.sha256(ADAPTER).hexdigest()
    assert "adapter_sha256" not in found["us/base"][1]["model_info"]["additional_details"]


def _schema(name):
    spec = find_spec("every_eval_ever")
    if spec is None or spec.origin is None:
        pytest.skip("every_eval_ever is not installed, which holds the schema (it needs Python 3.12)")
    return json.loads((Path(spec.origin).parent / "schemas" / name).read_text())


def test_every_eval_ever_s_own_schemas_accept_the_files(files):
    jsonschema = pytest.importorskip("jsonschema")
    whole = jsonschema.Draft7Validator(_schema("eval.schema.json"))
    one = jsonschema.Draft7Validator(_schema("instance_level_eval.schema.json"))
    for _, aggregate, samples in eval_files(files).values():
        assert list(whole.iter_errors(aggregate)) == []
        assert [error for line in samples.splitlines() for error in one.iter_errors(json.loads(line))] == []
    del aggregate["eval_library"]
    assert list(whole.iter_errors(aggregate))  # the control: it does refuse


def test_cyclonedx_accepts_the_bill_of_materials(files):
    schema, validation = pytest.importorskip("cyclonedx.schema"), pytest.importorskip("cyclonedx.validation.json")
    validator = validation.JsonStrictValidator(schema.SchemaVersion.V1_7)
    content = files["bom.cdx.json"]
    assert validator.validate_str(content) is None
    assert validator.validate_str(content.replace('"performanceMetrics"', '"metrics"')) is not None  # the control


def test_the_bill_of_materials_has_slices_intervals_and_assessments(files):
    document = json.loads(files["bom.cdx.json"])
    models = {one["name"]: one for one in document["components"] if one["type"] == "machine-learning-model"}
    assert set(models) == {"fair", "base"}
    assert models["fair"]["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(ADAPTER).hexdigest()}]
    card = models["fair"]["modelCard"]
    metric = next(
        one for one in card["quantitativeAnalysis"]["performanceMetrics"]
        if one["type"] == "stereoset ss" and one["slice"] == "work"
    )  # fmt: skip
    assert metric["value"] == "60" and set(metric["confidenceInterval"]) == {"lowerBound", "upperBound"}
    harms = [one["harms"] for one in card["considerations"]["fairnessAssessments"]]
    assert "in 60.0 % of 120 pairs" in harms[1] and "before debiasing 70.0" in harms[1]
    assert any("impact ratios" in one for one in card["considerations"]["technicalLimitations"])
    assert {"ref": "model", "dependsOn": ["model:base"]} in document["dependencies"]


def test_the_hub_s_library_reads_its_metadata(files):
    from huggingface_hub import ModelCardData, parse_eval_result_entries
    from huggingface_hub.repocard_data import model_index_to_eval_results

    index = yaml.safe_load(files["model_index.yaml"])["model-index"]
    name, results = model_index_to_eval_results(index)
    assert name == "fair" and ModelCardData(model_name=name, eval_results=results)
    age = next(one for one in results if (one.metric_type, one.dataset_config) == ("ss", "age"))
    assert age.metric_value == 50.0 and age.metric_args["ideal"] == 50.0
    (entry,) = parse_eval_result_entries(yaml.safe_load(files[".eval_results/stereoset.yaml"]))
    assert (entry.dataset_id, entry.task_id, entry.value) == ("us/data", "intra", 55.0)
    assert "95 % interval, n 240; the ideal is 50" in entry.notes


def test_the_summary_is_plain_and_says_what_it_is_no_evidence_for(files):
    text = files["audit.md"]
    assert "| work | 120 | 70.0 % (70.0 to 70.0) | 60.0 %" in text
    for word in ("Selection rates", "impact ratios", "four-fifths", "Local Law 144", "biasunlearn verify"):
        assert word in text
    assert len(text.splitlines()) < 60  # one page


def test_the_items_are_safe_in_a_spreadsheet():
    assert cell("=1+1") == "'=1+1" and cell("@x") == "'@x" and cell("'x") == "''x" and cell("-2") == "'-2"
    assert (cell(-2.5), cell(None), cell("a=b")) == (-2.5, "", "a=b")
    row = Item("stereoset", "=cmd()", "c,1", '"x"', "+t", "intrasentence", "stereotype", -1.5, 3, text="a\nb")
    (read,) = csv.DictReader(io.StringIO(items_csv({"after": [row]})))
    assert (read["item_id"], read["cluster_id"], read["bias_type"], read["target"]) == ("'=cmd()", "c,1", '"x"', "'+t")
    assert (read["stage"], read["score"], read["group_part"], read["text"]) == ("after", "-1.5", "", "a\nb")


def test_the_same_run_gives_the_same_files_and_no_path_of_this_machine(run, files, tmp_path):
    again = export_evidence(run, out=tmp_path / "again", name="us/fair", base_name="us/base")
    for name in again["files"]:
        assert (tmp_path / "again" / name).read_text() == files[name]
        assert str(tmp_path) not in files[name]


def test_a_partial_run_is_marked_in_every_file_of_scores(tmp_path):
    partial = {"limit": 9, "seed": 0, "benchmarks": {"stereoset": {"n": 240, "of": 2106}}}
    path = measured(tmp_path / "run", items({"age": 60, "work": 60}), partial=partial)
    done = export_evidence(path, out=tmp_path / "out", hub_datasets={"stereoset": "a/b"})
    for name in done["files"]:
        if not name.startswith("items") and not name.endswith("_samples.jsonl"):
            words = " ".join((tmp_path / "out" / name).read_text().split())
            assert "PARTIAL: 240 of 2106 items of stereoset" in words, name


@pytest.mark.parametrize(("ends", "expected"), [((48, 57), (0, 7)), ((52, 57), (2, 7)), ((40, 45), (5, 10))])
def test_the_interval_of_a_distance_by_hand(ends, expected):
    value = sum(ends) / 2
    found = Measurement("stereoset", "age", "ss", value, *map(float, ends), 9, 50.0, None)
    assert (found.distance.low, found.distance.high) == expected and found.is_target
    assert found.distance.value == abs(value - 50)


def test_a_hostile_run_and_every_kind_of_benchmark(tmp_path):
    """Names of somebody else become no markup, and what is undefined is listed."""
    content = made_results.content()
    path = Path(measured(tmp_path / "run", [], benchmarks=content["benchmarks"], model="<script>|`x`"))
    done = export_evidence(path, out=tmp_path / "out", organization="<b>us</b>")
    assert "crows_pairs, gender: other" in done["undefined"]
    assert "<b>" not in (tmp_path / "out/audit.md").read_text() and "script>" not in str(done["files"])
    entries = load_results(path).benchmarks.entries
    assert {one.benchmark for one in measurements(entries)} == set(content["benchmarks"])
    if find_spec("every_eval_ever"):
        jsonschema = pytest.importorskip("jsonschema")
        (name,) = [name for name in done["files"] if name.startswith("data/")]
        whole = jsonschema.Draft7Validator(_schema("eval.schema.json"))
        assert list(whole.iter_errors(json.loads((tmp_path / "out" / name).read_text()))) == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--merge"], "--merge has no meaning"),
        (["--name", "x"], "--name x: write OWNER/NAME"),
        (["--hub-dataset", "bbq=a/b"], "this run did not measure it; it measured stereoset, perplexity"),
        (["--hub-dataset", "stereoset=b"], "write OWNER/NAME or OWNER/NAME:TASK"),
    ],
)
def test_wrong_requests(run, tmp_path, capsys, more, message):
    assert main(["export", str(run), "--evidence", "--out", str(tmp_path / "no"), *more]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not (tmp_path / "no").exists()


def test_the_command_lists_its_files(run, tmp_path, capsys):
    assert main(["export", str(run), "--evidence", "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "audit.md" in printed and "bom.cdx.json" in printed
    assert main(["export", str(run), "--evidence", "--out", str(tmp_path / "out")]) == 2
