"""The scripts in examples/ run as a user runs them, on a tiny model."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests import test_cli, tiny

pytestmark = pytest.mark.slow

EXAMPLES = Path(__file__).parent.parent / "examples"
QUICK = (
    "max_steps=3", "swap_noise=0",
    "first_evaluation=2", "evaluate_every=2", "forget_batch=4", "retain_batch=4", "unrelated_batch=2",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(EXAMPLES, folder / "examples")
    tiny.save(tiny.gpt2(n_positions=128), folder / "model")
    test_cli.write_pairs(folder / "pairs.jsonl")
    return folder


@pytest.fixture
def run(model, warm):
    """Runs a script on the model and returns its exit code, its output and its messages."""

    def run_script(script: str, *more: str) -> tuple[int, str, str]:
        code = warm.run(model, ["model", *more], script=model / "examples" / script)
        return code, (model / "stdout").read_text(), (model / "stderr").read_text()

    return run_script


def test_debias_your_model(model, run):
    settings = [word for one in QUICK for word in ("--set", one)]
    code, out, messages = run("debias_your_model.py", "runs/age", *settings)
    assert code == 0, messages
    assert "age: SS " in out and "next token:" in out
    assert {"report.html", "again.html", "adapter"} <= {path.name for path in (model / "runs/age").iterdir()}


def test_own_stereotypes(run):
    code, out, messages = run("own_stereotypes.py", "runs/own")
    assert code == 0, messages
    assert "The newcomer forgot the keys again.  <->  The veteran forgot the keys again." in out
    assert "not exchanged, line 6" in out and "on 5 pairs" in out


@pytest.mark.parametrize(("limits", "expected"), [("{value_at_most: 100}", 0), ("{value_at_most: -1}", 1)])
def test_gate_model(model, run, limits, expected):
    policy = model / f"policy{expected}.yaml"
    policy.write_text(f"stereoset: {{overall: {{ss: {limits}}}}}")
    code, out, messages = run("gate_model.py", "--benchmark", "stereoset=pairs.jsonl", "--policy", policy.name,
                              "--out", f"runs/gate{expected}")  # fmt: skip
    assert code == expected, messages
    assert ("pass" if code == 0 else "FAIL") in out


def test_a_wrong_gate_request_is_one_line(model):
    """In a Python started afresh, as a user starts it; the other tests fork one that has imported everything."""
    command = [sys.executable, "examples/gate_model.py", "model"]
    done = subprocess.run([*command, "--benchmark", "stereoset=gone.json", "--out", "runs/gone"], cwd=model,
                          capture_output=True, text=True)  # fmt: skip
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


def test_the_notebook_of_a_model_in_memory(model, tmp_path, monkeypatch):
    """Every code cell in its order, on a tiny model and with a shorter training; nothing else is changed."""
    matplotlib = pytest.importorskip("matplotlib", reason="needs the extra [plot]")
    matplotlib.use("Agg")
    notebook = json.loads((EXAMPLES / "debias_in_memory.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert not any(cell.get("outputs") for cell in notebook["cells"])
    code = "\n".join(cells)
    changes = {
        '"openai-community/gpt2"': repr(str(model / "model")),
        "DebiasConfig()": f"DebiasConfig({', '.join(QUICK)})",
    }
    for old, new in changes.items():
        assert code.count(old) == 1
        code = code.replace(old, new)
    for name in ("age_train.csv", "age_report.csv"):
        shutil.copy(EXAMPLES / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    values = {}
    exec(compile(code, "debias_in_memory.ipynb", "exec"), values)
    assert values["results"].verdict is not None and values["results"].model_source == "memory"
    assert "age" in values["results"]._repr_html_()
    assert set(values["debiased"].peft_config) == {"default"}
    assert sum(bool(line.strip()) for line in "\n".join(cells).splitlines()) <= 15
