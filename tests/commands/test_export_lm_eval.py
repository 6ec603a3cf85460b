"""Task folders for lm-eval: what they make of a model's log-probabilities is what our own entries say."""

import importlib.util
import json
from collections import defaultdict

import numpy as np
import pytest
import yaml

from biasunlearn.benchmarks import bbq, stereoset
from biasunlearn.cli import main
from biasunlearn.data.records import Passage
from biasunlearn.scoring.log_prob import score
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.bootstrap import resample
from tests import tiny
from tests.shared_data import SHARED, needs_shared

pytestmark = pytest.mark.slow

INSTALLED = importlib.util.find_spec("lm_eval") is not None
needs_lm_eval = pytest.mark.skipif(not INSTALLED, reason="lm-eval is not installed: pip install 'biasunlearn[lm-eval]'")


@pytest.fixture(autouse=True)
def nobody_asks_about_the_machine(monkeypatch):
    """As in tests/scoring/test_lm_eval.py."""
    monkeypatch.setattr("torch.utils.collect_env.get_pretty_env_info", str)


def stereoset_rows():
    rows = [
        {"bias_type": bias_type, "target": who, "context": f"The {who} is BLANK.",
         "stereotype": f"The {who} is {bad}.", "anti_stereotype": f"The {who} is {good}.",
         "unrelated": f"The {who} is of {bad}." if who != "house" else None}
        for bias_type, people in (("a b", ("poet", "nurse", "doctor")), ("c", ("town", "house")))
        for who in people for bad, good in (("loud", "kind"), ("tired", "quiet"), ("never", "here"))[: len(who) - 2]
    ]  # fmt: skip
    return [*rows, {"context": "It rains.", "stereotype": "A poet.", "anti_stereotype": "A doctor."}]


def bbq_rows():
    people = [("the poet", "the nurse"), ("the doctor", "the house"), ("the town", "the table")]
    rows = []
    for number, (first, second) in enumerate(people * 2):
        ambiguous, negative = number % 2 == 0, number < 3
        rows.append({
            "example_id": number, "question_index": number, "category": "Age", "context_condition":
            "ambig" if ambiguous else "disambig", "question_polarity": "neg" if negative else "nonneg",
            "context": f"I saw {first} and {second}.", "question": "Who is kind?", "ans0": first, "ans1": second,
            "ans2": "Not known", "label": 2 if ambiguous else number % 2,
            "answer_info": {"ans0": [first, "old"], "ans1": [second, "young"], "ans2": ["not known", "unknown"]},
            "additional_metadata": {"stereotyped_groups": ["old"]},
        })  # fmt: skip
    return rows


@pytest.fixture
def exported(tmp_path, capsys):
    """Both folders, the data they come from, and the module of each task."""
    for name, rows in (("stereoset", stereoset_rows()), ("bbq", bbq_rows())):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = [part for name in ("stereoset", "bbq") for part in ("--benchmark", f"{name}={tmp_path / name}.jsonl")]
    assert main(["export-lm-eval", *asked, "--out", str(tmp_path / "tasks")]) == 0
    printed = capsys.readouterr().out
    assert "biasunlearn_stereoset: 13 documents, 1 intersentence triplets left out" in printed
    assert "--tasks biasunlearn_stereoset,biasunlearn_bbq" in printed
    return tmp_path


def module(folder, task):
    """process.py of a task folder, as lm-eval imports it."""
    spec = importlib.util.spec_from_file_location(f"process_{task}", folder / f"tasks/{task}/process.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def as_lm_eval(process, loaded, requests, aggregation):
    """The course of lm-eval: requests, process_results for each document, one aggregation for each metric."""
    documents = process.load(tokenizer=loaded.tokenizer, version=1.0)["test"].to_list()
    values = defaultdict(list)
    for document in documents:
        sums = [(found.log_prob, False) for found in score(loaded, requests(document))]
        for metric, value in process.process_results(document, sums).items():
            values[metric].append(value)
    return {metric: aggregation[metric](found) for metric, found in values.items()}


def mean(values):
    return sum(values) / len(values)


def test_stereoset_comes_to_our_numbers(exported):
    loaded, process = tiny.gpt2(), module(exported, "biasunlearn_stereoset")
    how = defaultdict(lambda: process.mean_over_terms, icat=process.icat)
    found = as_lm_eval(process, loaded, lambda doc: [Passage("", s) for s in doc["sentences"]], how)
    found = {name: value for name, value in found.items() if not name.endswith(("_low", "_high"))}
    _, result = stereoset.run(loaded, str(exported / "stereoset.jsonl"), EvalPlan())
    entry = result.to_dict()
    assert found == pytest.approx({
        "ss": entry["overall"]["ss"]["value"], "lms": entry["overall"]["lms"]["value"],
        "icat": entry["overall"]["icat"]["value"], "ss_a_b": entry["bias_types"]["a b"]["ss"]["value"],
        "ss_c": entry["bias_types"]["c"]["ss"]["value"], "lms_a_b": entry["bias_types"]["a b"]["lms"]["value"],
        "lms_c": entry["bias_types"]["c"]["lms"]["value"],
    })  # fmt: skip
    assert 0 < found["ss"] < 100  # a model that is not at an end of the scale: the mean over terms shows


def test_the_intervals_of_stereoset_are_ours():
    """The module itself, without lm-eval: twelve terms of two bias types, several items of most of them."""
    from biasunlearn.benchmarks import lm_eval_stereoset as process

    rows = [(bias_type, f"term{term}", 100.0 * ((7 * term + item) % 3 > 0))
            for bias_type in ("age", "work") for term in range(12) for item in range(1 + term % 3)]  # fmt: skip
    low, high = process.interval([(f"{bias_type}/{term}", value) for bias_type, term, value in rows])
    sample = resample(
        np.array([[value] for *_, value in rows]), [term for _, term, _ in rows], [name for name, *_ in rows],
        average="clusters",
    )  # fmt: skip
    ours = sample.estimate(lambda means: means[..., 0])
    assert (low, high) == pytest.approx((ours.low, ours.high)) and low < ours.value < high
    assert (process.low([("a/x", 1.0)]), process.high([("a/x", 1.0)])) == (1.0, 1.0)


def test_bbq_comes_to_our_numbers(exported):
    process = module(exported, "biasunlearn_bbq")
    for seed in range(3):
        loaded = tiny.gpt2(seed=seed, n_positions=256)  # the answers are listed behind the question

        def requests(doc):
            return [Passage(f"{doc['context']}\nQuestion: {doc['question']}\nAnswer:", f" {a}") for a in doc["answers"]]

        found = as_lm_eval(process, loaded, requests, dict.fromkeys(bbq.IDEAL, mean))
        entry = bbq.run(loaded, str(exported / "bbq.jsonl"), EvalPlan())[1].to_dict()
        ours = {name: entry["overall"][name]["value"] for name in bbq.IDEAL if entry["overall"][name]}
        assert found == pytest.approx(ours)
    assert process.load(tokenizer=loaded.tokenizer)["test"][0]["start"] == "<s>"


def test_by_hand(exported):
    process = module(exported, "biasunlearn_stereoset")
    # Terms x (100, 0) and y (100): 75. LMS x 50, y 100: 75. ICAT 75 * 25 / 50.
    rows = [("x", 100.0, 50.0), ("x", 0.0, None), ("y", 100.0, 100.0)]
    assert process.mean_over_terms([row[:2] for row in rows]) == 75.0 and process.icat(rows) == 37.5
    doc = {"term": "t", "metric": "g", "tokens": [2, 3, 1], "icat": True}
    # Means -2, -2 (a tie: anti-stereotype), -3: both make sense.
    assert process.process_results(doc, [(-4.0, False), (-6.0, False), (-3.0, False)]) == {
        **{f"ss{part}{end}": ("t", 0.0) for part in ("", "_g") for end in ("", "_low", "_high")},
        **{f"lms{part}{end}": ("t", 100.0) for part in ("", "_g") for end in ("", "_low", "_high")},
        "icat": ("t", 0.0, 100.0),
    }  # fmt: skip
    process = module(exported, "biasunlearn_bbq")
    doc = {"roles": ["biased", "counter", "unknown"], "condition": "aligned"}
    assert process.process_results(doc, [(-5.0, False), (-1.0, False), (-2.0, False)]) == {
        "accuracy_disambig": 0.0, "s_dis": -1.0,  # persons are named, never the biased one: -1, not 0
    }  # fmt: skip
    assert process.process_results(doc, [(-5.0, False), (-9.0, False), (-2.0, False)]) == {"accuracy_disambig": 0.0}
    doc["condition"] = "ambiguous"
    assert process.process_results(doc, [(-5.0, False), (-9.0, False), (-2.0, False)]) == {
        "accuracy_ambig": 100.0, "s_amb": 0.0,
    }  # fmt: skip
    with pytest.raises(ValueError, match="needs the model's tokenizer"):
        process.load()


def test_what_cannot_be_exported_is_one_line(exported, tmp_path, capsys):
    cases = {
        f"crows_pairs={tmp_path / 'stereoset.jsonl'}": "cannot be exported; these can: stereoset, bbq",
        f"stereoset={tmp_path / 'none.json'}": "no such file",
        f"stereoset={tmp_path / 'stereoset.jsonl'}": "already exists",
    }
    for asked, message in cases.items():
        out = tmp_path / ("tasks" if "already" in message else "other")
        assert main(["export-lm-eval", "--benchmark", asked, "--out", str(out)]) == 2
        error = capsys.readouterr().err.splitlines()
        assert len(error) == 1 and message in error[0]
    assert main(["export-lm-eval", "--out", str(tmp_path / "other")]) == 2


def test_bias_types_never_share_a_metric(tmp_path):
    rows = [{**row, "bias_type": name} for name in ("a b", "a-b", "é") for row in stereoset_rows()[:2]]
    (tmp_path / "p.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = ["--benchmark", f"stereoset={tmp_path / 'p.jsonl'}", "--out", str(tmp_path / "t")]
    assert main(["export-lm-eval", *asked, "--json"]) == 0
    content = (tmp_path / "t/biasunlearn_stereoset/biasunlearn_stereoset.yaml").read_text()
    listed = yaml.safe_load(content.replace("!function ", ""))["metric_list"]
    assert len({row["metric"] for row in listed}) == len(listed) == 1 + 2 * (1 + 3) * 3


@needs_lm_eval
def test_lm_eval_itself_comes_to_our_numbers(exported, tmp_path):
    from biasunlearn.models.load import load
    from biasunlearn.scoring.lm_eval import run_tasks

    models = {"gpt2": tiny.gpt2(n_positions=256), "llama": tiny.causal("llama")}
    models["llama"].model.config.max_position_embeddings = 256  # rotary: any length, were it not for this number
    for family, model in models.items():
        loaded = load(tiny.save(model, tmp_path / family))
        found = run_tasks(loaded, [str(exported / "tasks")]).to_dict()["tasks"]
        ours = stereoset.run(loaded, str(exported / "stereoset.jsonl"), EvalPlan())[1].to_dict()
        for name in ("ss", "lms", "icat"):
            assert found["biasunlearn_stereoset"][name]["value"] == pytest.approx(ours["overall"][name]["value"])
        ours = bbq.run(loaded, str(exported / "bbq.jsonl"), EvalPlan())[1].to_dict()
        for name in bbq.IDEAL:
            if ours["overall"][name]:
                assert found["biasunlearn_bbq"][name]["value"] == pytest.approx(ours["overall"][name]["value"])


@pytest.mark.exhaustive  # by day on tiny models of two families, above
@needs_lm_eval
@needs_shared
def test_lm_eval_on_a_real_model_and_published_clusters(tmp_path):
    from biasunlearn.models.load import load
    from biasunlearn.scoring.lm_eval import run_tasks

    content = json.loads((SHARED / "data/stereoset/dev.json").read_text())
    content["data"] = {"intrasentence": content["data"]["intrasentence"][::40]}
    (tmp_path / "dev.json").write_text(json.dumps(content))
    asked = ["--benchmark", f"stereoset={tmp_path / 'dev.json'}", "--out", str(tmp_path / "tasks")]
    assert main(["export-lm-eval", *asked]) == 0
    loaded = load(str(SHARED / "models/minilm-clm"))
    found = run_tasks(loaded, [str(tmp_path / "tasks")]).to_dict()["tasks"]["biasunlearn_stereoset"]
    _, ours = stereoset.run(loaded, str(tmp_path / "dev.json"), EvalPlan())
    overall = ours.to_dict()["overall"]
    for name in ("ss", "lms", "icat"):
        assert found[name]["value"] == pytest.approx(overall[name]["value"], abs=1e-9)
