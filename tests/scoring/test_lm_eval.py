"""lm-eval's tasks on a model in memory, from a local task folder with local data: no network."""

import importlib.util
import json
import sys

import pytest
import yaml
from peft import LoraConfig, get_peft_model

from biasunlearn.cli import main
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.scoring.log_prob import score
from tests import tiny

INSTALLED = importlib.util.find_spec("lm_eval") is not None
needs_lm_eval = pytest.mark.skipif(not INSTALLED, reason="lm-eval is not installed: pip install 'biasunlearn[lm-eval]'")

DOCS = [
    {"right": f"The {who} is {good}.", "wrong": f"The {who} is {bad}."}
    for who in ("poet", "nurse", "doctor", "town", "house")
    for good, bad in (("kind", "loud"), ("quiet", "tired"), ("here", "never"))
]


@pytest.fixture(autouse=True)
def nobody_asks_about_the_machine(monkeypatch):
    """lm-eval starts pip, lscpu and the like for every evaluation, which takes two seconds. Nothing here reads it."""
    monkeypatch.setattr("torch.utils.collect_env.get_pretty_env_info", str)


@pytest.fixture
def task(tmp_path):
    """A folder with a task that takes the likelier of two sentences."""
    folder = tmp_path / "tasks/likelier"
    folder.mkdir(parents=True)
    (folder / "docs.jsonl").write_text("\n".join(map(json.dumps, DOCS)))
    content = {
        "task": "likelier", "dataset_path": "json", "test_split": "train", "output_type": "multiple_choice",
        "dataset_kwargs": {"data_files": str(folder / "docs.jsonl")}, "doc_to_text": "", "target_delimiter": "",
        "doc_to_choice": "{{[right, wrong]}}", "doc_to_target": 0, "metadata": {"version": 2.0},
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }  # fmt: skip
    (folder / "likelier.yaml").write_text(yaml.safe_dump(content))
    return folder


def accuracy(loaded, docs):
    """The same from our own scores."""
    right, wrong = ([s.log_prob for s in score(loaded, [Passage("", d[side]) for d in docs])] for side in docs[0])
    return sum(a > b for a, b in zip(right, wrong, strict=True)) / len(docs)


@pytest.mark.slow
@needs_lm_eval
def test_tasks_run_on_base_and_adapter_and_agree_with_our_own_scores(task):
    from biasunlearn.scoring.lm_eval import run_tasks

    loaded = tiny.gpt2()
    found = run_tasks(loaded, [str(task)]).to_dict()
    row = found["tasks"]["likelier"]
    assert row["acc"]["value"] == pytest.approx(accuracy(loaded, DOCS)) and row["n"] == len(DOCS)
    assert row["version"] == 2.0 and row["shots"] == 0 and found["lm_eval"]
    # 95 %: 1.96 standard errors of a mean, with n - 1.
    p, n = row["acc"]["value"], len(DOCS)
    assert row["acc"]["high"] - p == pytest.approx(1.959964 * (p * (1 - p) / (n - 1)) ** 0.5)

    model = get_peft_model(loaded.model, LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    seen = {p}
    for seed in (1, 2):
        tiny.perturb(model, seed=seed, spread=0.3)
        adapted = loaded.with_model(model.eval())
        again = run_tasks(adapted, [str(task / "likelier.yaml")]).tasks["likelier"].metrics["acc"].value
        assert again == pytest.approx(accuracy(adapted, DOCS))
        seen.add(again)
    assert len(seen) > 1  # the adapter is really on
    limited = run_tasks(loaded, [str(task)], limit=4).to_dict()
    assert limited["tasks"]["likelier"]["n"] == 4 and limited["limit"] == 4
    assert limited["tasks"]["likelier"]["acc"]["value"] == pytest.approx(accuracy(loaded, DOCS[:4]))


@pytest.mark.slow
@needs_lm_eval
def test_what_is_not_there_is_one_line(task, tmp_path):
    from biasunlearn.scoring.lm_eval import find_tasks, run_tasks

    loaded = tiny.gpt2()

    (task / "docs.jsonl").unlink()
    with pytest.raises(RequestError, match="cannot be loaded"):
        find_tasks([str(tmp_path)], loaded)
    (tmp_path / "empty").mkdir()
    with pytest.raises(RequestError, match="no task in this folder"):
        find_tasks([str(tmp_path / "empty")], loaded)
    with pytest.raises(RequestError, match="needs a causal model"):
        run_tasks(tiny.masked(), [str(task)])


@pytest.mark.exhaustive  # lm-eval reads all of its own tasks to find that this one is not among them
@needs_lm_eval
def test_an_unknown_task_is_one_line(tmp_path, capsys):
    model = tiny.save(tiny.gpt2(), tmp_path / "model")
    assert main(["measure", model, "--lm-eval", "no_such_task_at_all", "--out", str(tmp_path / "o")]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("biasunlearn:")]
    assert "knows no such task" in line


def test_without_lm_eval_it_says_how_to_install_it(tmp_path, capsys, monkeypatch):
    for module in ("lm_eval", "lm_eval.tasks"):
        monkeypatch.setitem(sys.modules, module, None)
    model = tiny.save(tiny.gpt2(), tmp_path / "model")
    assert main(["measure", model, "--lm-eval", "glue", "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1 and "pip install 'biasunlearn[lm-eval]'" in error[0]


def test_nothing_to_measure_is_one_line(tmp_path, capsys):
    assert main(["measure", "model", "--out", str(tmp_path / "o")]) == 2
    assert "give --benchmark NAME=PATH or --lm-eval TASK" in capsys.readouterr().err


def write_pairs(path, bias_types):
    rows = [
        {"bias_type": bias_type, "target": who, "context": f"The {bias_type} {who} is BLANK.",
         "stereotype": f"The {bias_type} {who} is {bad}.", "anti_stereotype": f"The {bias_type} {who} is {good}.",
         "unrelated": f"The {bias_type} {who} is of {bad}."}
        for bias_type in bias_types for who in ("baker", "pilot", "nurse", "judge", "clerk")
        for bad, good in (("slow", "quick"), ("rude", "kind"))
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.mark.slow
@needs_lm_eval
def test_debias_runs_them_before_and_after_and_a_gate_reads_them(task, tmp_path, capsys):
    model = tiny.save(tiny.gpt2(), tmp_path / "model")
    settings = ("max_steps=4", "swap_noise=0",
                "first_evaluation=2", "evaluate_every=2", "lora_dropout=0.2", "learning_rate=0.05")
    base = ["debias", model, "--train", write_pairs(tmp_path / "t.jsonl", ("age", "work")), "--report",
            write_pairs(tmp_path / "r.jsonl", ("old", "new"))]  # fmt: skip
    base += [part for setting in settings for part in ("--set", setting)]
    assert main([*base, "--out", str(tmp_path / "with"), "--lm-eval", str(task)]) == 0
    assert "likelier" in capsys.readouterr().out
    assert main([*base, "--out", str(tmp_path / "without")]) == 0
    # lm-eval seeds everything; training goes its way all the same.
    with_it, without = ((tmp_path / out / "metrics.jsonl").read_text() for out in ("with", "without"))
    assert with_it == without
    found = json.loads((tmp_path / "with/results.json").read_text())["capability"]
    assert found["before"]["likelier"]["acc"]["value"] == pytest.approx(accuracy(tiny.gpt2(), DOCS))
    assert found["tasks"]["likelier"]["n"] == len(DOCS)
    for bound, code in ((1.0, 0), (-1.0, 1)):
        limits = {"capability": {"overall": {"likelier acc": {"falls_at_most": bound}}}}
        (tmp_path / "policy.yaml").write_text(yaml.safe_dump(limits))
        assert main(["gate", str(tmp_path / "with"), "--policy", str(tmp_path / "policy.yaml")]) == code
