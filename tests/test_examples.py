"""The scripts in examples/ run as a user runs them, on a tiny model."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import test_cli, tiny

EXAMPLES = Path(__file__).parent.parent / "examples"
QUICK = ("max_steps=3", "first_check=2", "check_every=2", "forget_batch=4", "retain_batch=4", "unrelated_batch=2")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(EXAMPLES, folder / "examples")
    tiny.save(tiny.gpt2(n_positions=128), folder / "model")
    test_cli.write_pairs(folder / "pairs.jsonl")
    return folder


def run(folder: Path, script: str, *more: str):
    return subprocess.run(
        [sys.executable, f"examples/{script}", "model", *more], cwd=folder, capture_output=True, text=True,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


def test_debias_your_model(model):
    settings = [word for one in QUICK for word in ("--set", one)]
    done = run(model, "debias_your_model.py", "runs/age", *settings)
    assert done.returncode == 0, done.stderr
    assert "age: SS " in done.stdout and "next token:" in done.stdout
    assert {"report.html", "again.html", "adapter"} <= {path.name for path in (model / "runs/age").iterdir()}


def test_own_stereotypes(model):
    done = run(model, "own_stereotypes.py", "runs/own")
    assert done.returncode == 0, done.stderr
    assert "The newcomer forgot the keys again.  <->  The veteran forgot the keys again." in done.stdout
    assert "not exchanged, line 6" in done.stdout and "on 5 pairs" in done.stdout


@pytest.mark.parametrize(("limits", "code"), [("{value_at_most: 100}", 0), ("{value_at_most: -1}", 1)])
def test_gate_model(model, limits, code):
    policy = model / f"policy{code}.yaml"
    policy.write_text(f"stereoset: {{overall: {{ss: {limits}}}}}")
    done = run(model, "gate_model.py", "--benchmark", "stereoset=pairs.jsonl", "--policy", policy.name,
               "--out", f"runs/gate{code}")  # fmt: skip
    assert done.returncode == code, done.stderr
    assert ("pass" if code == 0 else "FAIL") in done.stdout


def test_a_wrong_gate_request_is_one_line(model):
    done = run(model, "gate_model.py", "--benchmark", "stereoset=gone.json", "--out", "runs/gone")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1 and "gone.json" in done.stderr


def test_the_workflow_runs_the_example_as_it_is():
    workflow = yaml.safe_load((EXAMPLES / "github_workflow.yml").read_text())
    steps = workflow["jobs"]["gate"]["steps"]
    (command,) = [step["run"] for step in steps if "gate_model.py" in step.get("run", "")]
    for word in command.split():
        if word.startswith("examples/"):
            assert (EXAMPLES.parent / word).exists(), word
    from biasunlearn.commands.gate import read_policy

    assert read_policy(EXAMPLES / "ci_policy.yaml")
