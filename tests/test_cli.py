"""The commands end to end on a tiny model, and every wrong request as one line with exit code 2."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet
import pytest
import yaml

from biasunlearn.cli import main
from tests import tiny

TARGETS = ("baker", "pilot", "nurse", "judge", "clerk", "guard", "coach", "miner")
FILLERS = (("slow", "quick"), ("rude", "kind"), ("dull", "sharp"), ("weak", "strong"))


def write_pairs(path: Path, bias_types=("age", "work"), unrelated=True) -> str:
    rows = [
        {
            "bias_type": bias_type, "target": target, "context": f"The {bias_type} {target} is BLANK.",
            "stereotype": f"The {bias_type} {target} is {bad}.",
            "anti_stereotype": f"The {bias_type} {target} is {good}.",
            **({"unrelated": f"The {bias_type} {target} is of {bad}."} if unrelated else {}),
        }
        for bias_type in bias_types for target in TARGETS for bad, good in FILLERS
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a tiny model, training pairs, report pairs and a text."""
    folder = tmp_path_factory.mktemp("place")
    tiny.save(tiny.gpt2(), folder / "model")
    write_pairs(folder / "train.jsonl")
    write_pairs(folder / "report.jsonl", bias_types=("old", "new"))
    (folder / "text.txt").write_text("The baker is quick and the pilot is kind. " * 10)
    return folder


def request(place, out, *more):
    return ["debias", str(place / "model"), "--train", str(place / "train.jsonl"), "--report",
            str(place / "report.jsonl"), "--out", str(out), "--set", "max_steps=4", "--set", "first_evaluation=2",
            "--set", "evaluate_every=2", "--set", "forget_batch=4", "--set", "retain_batch=4",
            "--set", "unrelated_batch=2", "--set", "swap_noise=0", "--replacements", "1", *more]  # fmt: skip


@pytest.mark.slow
def test_measure_writes_the_run_folder_and_twice_the_same(place, tmp_path, capsys):
    for out in ("a", "b"):
        code = main(["measure", str(place / "model"), "--benchmark", f"stereoset={place / 'report.jsonl'}",
                     "--benchmark", f"perplexity={place / 'text.txt'}", "--out", str(tmp_path / out)])  # fmt: skip
        assert code == 0
    assert "overall" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {"config.yaml", "results.json", "items.parquet", "report.html"}
    first, second = (json.loads((tmp_path / out / "results.json").read_text()) for out in "ab")
    assert first["benchmarks"] == second["benchmarks"]  # a base model scored twice: identical numbers
    assert first["schema"] == 2 and first["benchmarks"]["stereoset"]["n"] == 64
    table = pyarrow.parquet.read_table(tmp_path / "a/items.parquet")
    assert table.num_rows == 3 * 64
    assert {"benchmark", "item_id", "cluster_id", "bias_type", "target", "kind", "role", "score", "tokens"} <= set(
        table.column_names
    )


@pytest.mark.slow
def test_rescore_of_stored_items_gives_the_same_table(place, tmp_path):
    assert main(["measure", str(place / "model"), "--benchmark", f"stereoset={place / 'report.jsonl'}", "--out",
                 str(tmp_path / "m")]) == 0  # fmt: skip
    assert main(["rescore", "--scores", str(tmp_path / "m/items.parquet"), "--out", str(tmp_path / "r")]) == 0
    measured, again = (json.loads((tmp_path / d / "results.json").read_text()) for d in "mr")
    for key in ("n", "overall", "bias_types"):
        assert measured["benchmarks"]["stereoset"][key] == again["benchmarks"]["stereoset"][key]


@pytest.mark.slow
def test_debias_leaves_a_complete_run_that_can_be_measured_and_started_again(place, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(request(place, out, "--benchmark", f"perplexity={place / 'text.txt'}", "--json")) == 0
    printed = json.loads(capsys.readouterr().out)  # --json: the result object and nothing else
    stored = json.loads((out / "results.json").read_text())
    assert printed == stored
    assert {"before", "benchmarks", "stopped", "data", "config", "environment"} <= stored.keys()
    assert stored["stopped"]["step"] == 4
    assert {p.name for p in out.iterdir()} == {
        "config.yaml", "results.json", "items.parquet", "metrics.jsonl", "report.html", "adapter",
    }  # fmt: skip
    assert (out / "adapter/adapter_model.safetensors").exists()
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4] and "decision" in rows[2] and "ss" in rows[4]
    assert set(pyarrow.parquet.read_table(out / "items.parquet")["stage"].to_pylist()) == {"before", "after"}

    # The adapter is a plain one, and measuring what it was trained on is stamped.
    for data, contaminated in (("report", False), ("train", True)):
        folder = tmp_path / f"measured-{data}"
        assert main(["measure", str(place / "model"), "--adapter", str(out / "adapter"), "--benchmark",
                     f"stereoset={place / data}.jsonl", "--replacements", "1", "--out", str(folder)]) == 0  # fmt: skip
        entry = json.loads((folder / "results.json").read_text())["benchmarks"]["stereoset"]
        assert ("contaminated" in entry) == contaminated
        if not contaminated:
            for score in ("ss", "lms", "icat"):
                expected = stored["benchmarks"]["stereoset"]["overall"][score]
                assert entry["overall"][score] == pytest.approx(expected, abs=1e-4)

    # config.yaml alone starts the run again, to the same numbers.
    content = yaml.safe_load((out / "config.yaml").read_text())
    assert content["debias"]["train"] == str(place / "train.jsonl")
    again = request(place, tmp_path / "again", "--config", str(out / "config.yaml"))
    assert main([*again, "--benchmark", f"perplexity={place / 'text.txt'}"]) == 0
    second = json.loads((tmp_path / "again/results.json").read_text())
    assert second["benchmarks"] == stored["benchmarks"]


@pytest.mark.slow
def test_full_fine_tuning_saves_a_whole_model(place, tmp_path):
    assert main(request(place, tmp_path / "run", "--set", "lora_rank=0", "--set", "learning_rate=1e-3")) == 0
    results = json.loads((tmp_path / "run/results.json").read_text())
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert rows[1]["loss_kl"] == pytest.approx(0, abs=1e-4) and rows[1]["log_ratio"] == pytest.approx(0, abs=1e-3)
    assert rows[4]["loss_kl"] > 1e-4  # and it moved
    assert results["adapter"] is None and Path(results["trained_model"], "model.safetensors").exists()
    assert main(["measure", results["trained_model"], "--benchmark", f"stereoset={place / 'train.jsonl'}", "--out",
                 str(tmp_path / "m")]) == 0  # fmt: skip
    assert json.loads((tmp_path / "m/results.json").read_text())["benchmarks"]["stereoset"]["contaminated"]


@pytest.mark.slow
def test_the_released_code_s_recipe_runs_and_its_result_is_stamped(place, tmp_path):
    few = ["--set", "max_steps=6", "--config", "paper-code"]
    assert main(request(place, tmp_path / "no", *few)) == 2  # it stops on the report file, which has other bias types
    report = ["--report", str(place / "train.jsonl")]
    assert main(request(place, tmp_path / "run", *few, *report)) == 0
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert results["data"]["stopped_on_report"] and results["config"]["npo_ratio"] == "batch_mean"
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    weights = [row["decision"]["swap_weights"] for row in rows if "decision" in row]
    assert all(sum(value != 0 for value in one.values()) == 1 for one in weights)  # the farthest alone


@pytest.mark.slow
def test_several_unrelated_files_are_stored_and_the_run_can_be_transferred(place, tmp_path):
    """The stop split of a run is made again by `transfer`, from what config.yaml stores."""
    (tmp_path / "text.txt").write_text("Rain fell on the roof.\nThe train was late.\n")
    files = [str(place / "train.jsonl"), str(tmp_path / "text.txt")]
    more = [part for file in files for part in ("--unrelated", file)]
    assert main(request(place, tmp_path / "run", *more)) == 0
    assert yaml.safe_load((tmp_path / "run/config.yaml").read_text())["debias"]["unrelated"] == files
    facts = json.loads((tmp_path / "run/results.json").read_text())["data"]["unrelated"]
    assert facts["path"] == ", ".join(files) and facts["sentences"] >= 2
    moved = ["transfer", str(tmp_path / "run"), "--to", str(place / "model"), "--scale", "0.5", "1"]
    assert main([*moved, "--report", str(place / "report.jsonl"), "--out", str(tmp_path / "moved")]) == 0
    assert main(request(place, tmp_path / "run", *more, "--resume")) == 0
    changed = [*more[:2], "--resume"]
    assert main(request(place, tmp_path / "run", *changed)) == 2


def test_a_layer_that_the_model_does_not_have_is_reported_before_anything_is_measured(place, tmp_path, capsys):
    assert main(request(place, tmp_path / "run", "--set", "lora_targets=q_proj")) == 2
    shown = capsys.readouterr().err
    assert "lora_targets: q_proj: no layer of this model has this name" in shown and "before:" not in shown


@pytest.mark.slow
def test_without_forget_and_retain_weight_nothing_moves(place, tmp_path):
    """Negative control: KL alone, at theta = ref, has no gradient."""
    off = ["--set", "forget_weight=0", "--set", "retain_weight=0"]
    assert main(request(place, tmp_path / "run", *off)) == 0
    stages = pyarrow.parquet.read_table(tmp_path / "run/items.parquet").to_pylist()
    half = len(stages) // 2
    assert max(abs(a["score"] - b["score"]) for a, b in zip(stages[:half], stages[half:], strict=True)) < 1e-4


def test_swapped_labels_are_noticed(tmp_path):
    """A model taught the stereotypes, then given a file with the labels exchanged."""
    from biasunlearn.data.checks import check_labels
    from biasunlearn.stats.stereoset import Comparison

    right = [Comparison("x", f"t{n % 9}", 1.0, None, 0.2 + 0.01 * (n % 5)) for n in range(40)]
    wrong = [Comparison("x", r.target, 0.0, None, -r.margin) for r in right]
    assert check_labels(right) == []
    assert "look swapped" in check_labels(wrong)[0]


@pytest.mark.slow
def test_ctrl_c_saves_and_resume_gives_the_uninterrupted_run(place, tmp_path, warm):
    steps = ["--set", "max_steps=8", "--set", "stop_rule=interval", "--set", "interval_margin=0.1"]
    assert main(request(place, tmp_path / "whole", *steps)) == 0
    process = warm.start(tmp_path / "process", request(place, tmp_path / "cut", *steps))
    messages = tmp_path / "process/stderr"
    latest = time.monotonic() + 300
    while not (messages.exists() and "\nstep 4" in messages.read_text()):
        assert time.monotonic() < latest, messages.read_text()
        time.sleep(0.001)
    os.kill(process, signal.SIGINT)
    assert warm.wait(process) == 130, messages.read_text()
    assert "--resume" in messages.read_text()
    assert (tmp_path / "cut/checkpoint.pt").exists()
    assert main(request(place, tmp_path / "cut", *steps)) == 2  # not without saying so
    assert main(request(place, tmp_path / "cut", *steps, "--resume")) == 0
    for name in ("metrics.jsonl", "adapter/adapter_model.safetensors"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes(), name


def bad_requests(place, tmp_path):
    model, report, train = str(place / "model"), str(place / "report.jsonl"), str(place / "train.jsonl")
    files = {
        "nojson.json": "{", "shape.json": "{}", "empty.jsonl": '{"stereotype": "", "anti_stereotype": "x"}',
        "one.jsonl": Path(train).read_text() + "\n" + json.dumps(
            {"bias_type": "lonely", "stereotype": "A b.", "anti_stereotype": "A c."}),
        "config.yaml": "max_stepz: 3\n", "notyaml.yaml": "a: [",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (tmp_path / "noweights").mkdir()
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / "noweights" / name).write_bytes((place / "model" / name).read_bytes())
    (tmp_path / "full").mkdir()
    (tmp_path / "full/results.json").write_text("{}")

    def debias(model=model, train=train, report=report, out=tmp_path / "new", *more):
        return ["debias", model, "--train", str(train), "--report", str(report), "--out", str(out), *more]

    def measure(model=model, benchmark=f"stereoset={report}", out=tmp_path / "new"):
        return ["measure", model, "--benchmark", benchmark, "--out", str(out)]

    return {
        "missing file": (debias(train=tmp_path / "none.jsonl"), "none.jsonl: no such file"),
        "not JSON": (debias(report=tmp_path / "nojson.json"), "nojson.json:1: not JSON"),
        "another shape": (measure(benchmark=f"stereoset={tmp_path / 'shape.json'}"), "JSON of another shape"),
        "empty side": (debias(train=tmp_path / "empty.jsonl"), "empty.jsonl:1: field stereotype: empty"),
        "one pair": (debias(train=tmp_path / "one.jsonl"), "bias type 'lonely' has one pair"),
        "unknown key": ([*debias(), "--config", str(tmp_path / "config.yaml")], "did you mean max_steps?"),
        "unknown set": ([*debias(), "--set", "betta=1"], "did you mean beta?"),
        "bad value": ([*debias(), "--set", "beta=-1"], "beta: -1.0; must be above 0"),
        "not YAML": ([*debias(), "--config", str(tmp_path / "notyaml.yaml")], "not YAML"),
        "no recipe": ([*debias(), "--config", "nothing"], "no recipe of that name"),
        "no weights": (measure(model=str(tmp_path / "noweights")), "no weights in this folder"),
        "no model": (measure(model="./nowhere"), "no such folder"),
        "run folder": (measure(out=tmp_path / "full"), "already holds a finished run"),
        "resume nothing": ([*debias(), "--resume"], "nothing to resume"),
        "benchmark": (measure(benchmark="glue=x"), "--benchmark glue: unknown"),
        "benchmark form": (measure(benchmark="winobias"), "give its file, as in winobias=PATH"),
        "option": (["measure"], "MODEL is required"),
        "command": (["meassure"], "unknown command meassure; did you mean measure?"),
        "masked": ([*debias(model=str(place / "masked")), "--method", "leace"],
                   "a masked model, for which the method leace is not defined"),
        "no adapter": ([*measure(), "--adapter", str(tmp_path)], "no adapter here"),
        "predictions": (["rescore", "--benchmark", f"stereoset={report}", "--scores", str(tmp_path / "shape.json"),
                         "--out", str(tmp_path / "new")], "not a prediction file"),
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.damaged_results  # one request is about a folder with an empty results.json
def test_bad_requests_are_one_line_and_exit_code_2(place, tmp_path, capsys):
    tiny.save(tiny.masked(), place / "masked")
    for name, (arguments, message) in bad_requests(place, tmp_path).items():
        capsys.readouterr()
        code = main(arguments)
        error = [line for line in capsys.readouterr().err.splitlines() if not line.startswith(("note:", "before:"))]
        assert code == 2, name
        assert len(error) == 1 and message in error[0], (name, error)
        assert not (tmp_path / "new/results.json").exists()


def test_a_tokenizer_that_does_not_fit_is_refused(tmp_path, capsys):
    from tests import tiny as models

    loaded = models.gpt2()
    folder = Path(models.save(loaded, tmp_path / "model"))
    loaded.tokenizer.add_tokens([f"<extra{n}>" for n in range(400)])
    loaded.tokenizer.save_pretrained(folder)
    (tmp_path / "p.jsonl").write_text('{"stereotype": "a b", "anti_stereotype": "a c"}')
    arguments = ["measure", str(folder), "--benchmark", f"stereoset={tmp_path / 'p.jsonl'}", "--out"]
    assert main([*arguments, str(tmp_path / "o")]) == 2
    assert "the tokenizer does not fit the model" in capsys.readouterr().err


def test_skip_invalid_drops_counts_and_lists(place, tmp_path, capsys):
    text = (place / "report.jsonl").read_text() + '\n{"stereotype": "x", "anti_stereotype": ""}\n'
    (tmp_path / "p.jsonl").write_text(text)
    arguments = ["measure", str(place / "model"), "--benchmark", f"stereoset={tmp_path / 'p.jsonl'}"]
    assert main([*arguments, "--out", str(tmp_path / "a")]) == 2
    assert main([*arguments, "--out", str(tmp_path / "b"), "--skip-invalid"]) == 0
    assert "p.jsonl:65: field anti_stereotype: empty" in capsys.readouterr().out
    entry = json.loads((tmp_path / "b/results.json").read_text())["benchmarks"]["stereoset"]
    assert entry["skipped"] == 1 and entry["n"] == 64


def test_counterfactual_writes_pairs_that_can_be_read_and_lists_the_rest(tmp_path, capsys):
    from biasunlearn.data.readers import read_triplets

    (tmp_path / "s.txt").write_text("He is a strong man.\n\nIt rained.\n")
    arguments = ["counterfactual", "--sentences", str(tmp_path / "s.txt"), "--terms", "gender", "--out"]
    assert main([*arguments, str(tmp_path / "pairs.jsonl")]) == 0
    printed = capsys.readouterr()
    assert "1 pairs written" in printed.out and "s.txt:3" in printed.err and "It rained." in printed.err
    (pair,) = read_triplets(tmp_path / "pairs.jsonl").triplets
    assert (pair.stereotype.text, pair.anti_stereotype.text) == ("He is a strong man.", "She is a strong woman.")
    assert main([*arguments, str(tmp_path / "pairs.jsonl")]) == 2  # never written over


def test_help_is_quick():
    """Not a timed test of ours: only that nothing heavy is on the way (test_imports says what)."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "biasunlearn", "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "debias" in done.stdout
    assert time.monotonic() - began < 30
