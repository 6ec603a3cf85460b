"""The tasks of inspect_ai: the scores in its log are those of `measure` for the same model and file."""

import importlib
import json
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from biasunlearn.benchmarks import bbq, stereoset
from biasunlearn.config import DebiasConfig
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.load import load
from biasunlearn.models.spec import ModelSpec
from biasunlearn.scoring.protocol import EvalPlan
from tests import tiny
from tests.commands.test_export_lm_eval import bbq_rows, stereoset_rows
from tests.completions_server import Served, completions

pytestmark = pytest.mark.slow

needs_inspect = pytest.mark.skipif(
    find_spec("inspect_ai") is None, reason="inspect_ai is not installed: pip install 'biasunlearn[inspect]'"
)


@pytest.fixture
def files(tmp_path):
    for name, rows in (("stereoset", stereoset_rows()), ("bbq", bbq_rows())):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {name: str(tmp_path / f"{name}.jsonl") for name in ("stereoset", "bbq")}


def run(task, model, tmp_path):
    """The log of one task, and its scores by name."""
    import inspect_ai

    [log] = inspect_ai.eval(task, model=model, log_dir=str(tmp_path / "logs"), display="none", log_level="error")
    return log, {name: one.value for name, one in log.results.scores[0].metrics.items()} if log.results else {}


def on_this_machine(folder):
    from inspect_ai.model import get_model

    return get_model("hf/local", model_path=str(folder), device="cpu", memoize=False)


def served(url, name):
    from inspect_ai.model import get_model

    return get_model(f"openai-api-completions/here/{name}", base_url=url, api_key="none", memoize=False)


def ours(benchmark, loaded, path):
    """The scores of `measure` by the names that they have in the log."""
    result = benchmark.run(loaded, path, EvalPlan())[1]
    rows = {"": result.overall, **{f"_{name}": row for name, row in result.bias_types.items()}}
    return {
        f"{name}{suffix}{end}": value
        for suffix, row in rows.items() for name in benchmark.IDEAL if (found := row.interval(name))
        for end, value in (("", found.value), ("_low", found.low), ("_high", found.high))
    }  # fmt: skip


def tiny_llama(folder):
    model = tiny.causal("llama")
    model.model.config.max_position_embeddings = 256  # rotary: any length, were it not for this number
    return tiny.save(model, folder)


@needs_inspect
def test_a_local_model_has_our_scores(files, tmp_path):
    from biasunlearn.benchmarks import inspect_tasks as tasks

    folder = tiny_llama(tmp_path / "llama")
    loaded = load(folder)
    log, found = run(tasks.stereoset(data=files["stereoset"]), on_this_machine(folder), tmp_path)
    assert log.status == "success" and len(log.samples) == 14  # the intersentence pair is scored, and has no place here
    assert found == pytest.approx(ours(stereoset, loaded, files["stereoset"]))
    assert 0 < found["ss"] < 100 and found["ss_low"] < found["ss"] < found["ss_high"] and "lms_a b_high" in found
    _, found = run(tasks.bbq(data=files["bbq"]), on_this_machine(folder), tmp_path)
    assert found == pytest.approx(ours(bbq, loaded, files["bbq"])) and "accuracy_ambig_Age_low" in found


@needs_inspect
def test_an_adapter_is_on(files, tmp_path):
    from biasunlearn.benchmarks import inspect_tasks as tasks

    folder = tiny_llama(tmp_path / "llama")
    adapted = with_lora(load(folder).model, DebiasConfig(lora_rank=4, lora_alpha=16, seed=0))
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    adapted.save_pretrained(tmp_path / "adapter")
    adapter = str(tmp_path / "adapter")
    log, found = run(tasks.stereoset(data=files["stereoset"], adapter=adapter), on_this_machine(folder), tmp_path)
    expected = ours(stereoset, load(ModelSpec(folder, adapter=adapter)), files["stereoset"])
    assert found == pytest.approx(expected) and expected != ours(stereoset, load(folder), files["stereoset"])


@needs_inspect
def test_a_served_model_has_our_scores(files, tmp_path):
    from biasunlearn.benchmarks import inspect_tasks as tasks

    loaded = tiny.gpt2(n_positions=256)
    folder = tiny.save(loaded, tmp_path / "gpt2")
    with completions({"tiny": Served(loaded.model, loaded.tokenizer)}) as url:
        log, found = run(tasks.stereoset(data=files["stereoset"], tokenizer=folder), served(url, "tiny"), tmp_path)
        assert log.status == "success" and found == pytest.approx(ours(stereoset, loaded, files["stereoset"]))
        _, found = run(tasks.bbq(data=files["bbq"], tokenizer=folder), served(url, "tiny"), tmp_path)
        assert found == pytest.approx(ours(bbq, loaded, files["bbq"]))
        log, _ = run(tasks.bbq(data=files["bbq"]), served(url, "tiny"), tmp_path)
        assert log.status == "error" and "-T tokenizer=FOLDER" in log.error.message
        log, _ = run(tasks.bbq(data=files["bbq"], tokenizer=folder, adapter="x"), served(url, "tiny"), tmp_path)
        assert log.status == "error" and "a server has to load the adapter itself" in log.error.message
    with completions({"tiny": Served(loaded.model, loaded.tokenizer)}, log_probs=False) as url:
        log, _ = run(tasks.stereoset(data=files["stereoset"], tokenizer=folder), served(url, "tiny"), tmp_path)
        assert log.status == "error" and "0 log-probabilities for a prompt of" in log.error.message


@needs_inspect
def test_what_cannot_be_scored_is_an_error_or_counted(files, tmp_path):
    from inspect_ai._util.error import PrerequisiteError

    from biasunlearn.benchmarks import inspect_tasks as tasks

    with pytest.raises(PrerequisiteError, match="no such file"):
        tasks.stereoset(data=str(tmp_path / "none.json"))
    folder = tiny.save(tiny.gpt2(n_positions=32), tmp_path / "short")
    rows = stereoset_rows()
    rows[0]["stereotype"] = " ".join([rows[0]["stereotype"]] * 20)
    Path(files["stereoset"]).write_text("\n".join(map(json.dumps, rows)))
    log, _ = run(tasks.stereoset(data=files["stereoset"]), on_this_machine(folder), tmp_path)
    assert log.status == "error" and "the model takes 32" in log.error.message
    log, found = run(tasks.stereoset(data=files["stereoset"], skip_invalid=True), on_this_machine(folder), tmp_path)
    assert log.results.scores[0].unscored_samples == 1 and log.results.scores[0].scored_samples == 13
    result = stereoset.run(load(folder), files["stereoset"], EvalPlan(skip_invalid=True))[1]
    assert found["ss"] == pytest.approx(result.overall.interval("ss").value)


def test_the_name_under_which_inspect_ai_finds_the_tasks():
    """A plugin of inspect_ai is a module in the entry points of the package; its name is in front of the tasks'."""
    content = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    module = content["project"]["entry-points"]["inspect_ai"]["biasunlearn"]
    assert find_spec(module) is not None
    if find_spec("inspect_ai"):
        assert {"stereoset", "bbq"} <= set(vars(importlib.import_module(module)))
