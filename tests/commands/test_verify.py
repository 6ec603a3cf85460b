"""A server is believed by its answers: the debiased model is accepted, and the base passed off as it is caught."""

import copy
import json
import socket
from importlib.util import find_spec

import pytest
import torch
from peft import PeftModel

from biasunlearn.cli import main
from biasunlearn.commands.verify import verify
from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_scale import scaled
from biasunlearn.models.adapters import with_lora
from biasunlearn.runs.folder import SCHEMA, RunFolder
from biasunlearn.stats.served import agreement, sign_test
from tests import tiny, variants
from tests.completions_server import Served, completions

pytestmark = pytest.mark.skipif(find_spec("openai") is None, reason="openai is not installed (extra: judge)")


def make_run(place, spread=0.03):
    """A base model, a run folder with a LoRA of it, and what a server would run."""
    tiny.save(tiny.gpt2(n_positions=128), place / "model")
    variants.write_pairs(place / "report.jsonl")
    adapted = with_lora(tiny.gpt2(n_positions=128).model, DebiasConfig(lora_rank=8, lora_alpha=16))
    tiny.perturb(adapted, spread=spread)
    adapted.save_pretrained(place / "run/adapter")
    results = {
        "schema": SCHEMA, "model": str(place / "model"), "adapter": str(place / "run/adapter"), "benchmarks": {},
        "data": {"report": {"path": str(place / "report.jsonl")}},
    }  # fmt: skip
    RunFolder(place / "run").write_json("results.json", results)
    return place


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def served(place):
    base, other = tiny.gpt2(n_positions=128), tiny.gpt2(n_positions=128, seed=7)
    debiased = PeftModel.from_pretrained(tiny.gpt2(n_positions=128).model, place / "run/adapter").eval()
    return {
        "base": Served(base.model, base.tokenizer),
        "debiased": Served(debiased, base.tokenizer),
        "other": Served(other.model, base.tokenizer),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("ids", "with_base"), [(True, False), (False, True)])
def test_log_probabilities_accept_the_debiased_model_and_catch_the_base(place, served, ids, with_base):
    models = {"claimed": served["debiased"], "false": served["base"], "base": served["base"]}
    with completions(models, ids=ids) as url:
        more = {"base": "base"} if with_base else {}
        right = verify(place / "run", endpoint=url, model="claimed", **more)
        wrong = verify(place / "run", endpoint=url, model="false", **more)
    assert (right.verdict, right.how, wrong.verdict) == ("applied", "log-probabilities", "not applied")
    assert right.slope == pytest.approx(1, abs=1e-3) and right.correlation == pytest.approx(1, abs=1e-3)
    assert wrong.slope == pytest.approx(0, abs=1e-3) and (right.p, wrong.p) == (pytest.approx(2**-24), 1.0)
    assert right.noise == 0 and right.control_difference < 1e-4 and right.controls == 8


@pytest.mark.slow
def test_half_of_the_adapter_and_another_model_are_not_accepted(place, served):
    half = copy.deepcopy(served["debiased"].model)
    with scaled(half, 0.5, "default"), completions(
        {"half": Served(half, served["base"].tokenizer), "other": served["other"]}
    ) as url:
        found = verify(place / "run", endpoint=url, model="half")
        assert found.verdict == "partly" and 0.2 < found.slope < 0.8
        assert verify(place / "run", endpoint=url, model="other").verdict == "another model"


@pytest.mark.slow
def test_continuations_decide_where_there_are_no_log_probabilities(place, served):
    said: list[str] = []
    with completions(served, log_probs=False, ids=False) as url:
        right = verify(place / "run", endpoint=url, model="debiased", say=said.append)
        wrong = verify(place / "run", endpoint=url, model="base")
        other = verify(place / "run", endpoint=url, model="other")
    assert (right.verdict, right.how, wrong.verdict) == ("applied", "continuations", "not applied")
    assert other.verdict in ("another model", "partly") and not other.applied
    assert (right.nearer, right.as_base) == (right.n, 0) and (wrong.nearer, wrong.as_base) == (0, wrong.n)
    assert right.p < 0.01 and wrong.p == 1.0
    assert said and "weaker" in said[0]


class OtherTokens:
    """A tokenizer that divides a text in another way than the one here: without its first token."""

    def __init__(self, tokenizer):
        self.tokenizer, self.eos_token_id, self.decode = tokenizer, tokenizer.eos_token_id, tokenizer.decode

    def __call__(self, text):
        return {"input_ids": self.tokenizer(text)["input_ids"][1:]}


@pytest.mark.slow
def test_the_tokens_of_a_prompt_are_those_here_where_the_server_takes_token_ids(place, served):
    here = served["debiased"]
    models = {"debiased": Served(here.model, OtherTokens(here.tokenizer))}
    with completions(models, log_probs=False) as by_ids, completions(models, log_probs=False, ids=False) as by_text:
        right = verify(place / "run", endpoint=by_ids, model="debiased")
        control = verify(place / "run", endpoint=by_text, model="debiased")
    assert (right.how, right.verdict, right.nearer) == ("continuations", "applied", right.n)
    assert control.nearer < control.n and not control.applied  # the tokens of the text are other ones there


def test_the_ratio_of_a_seeded_continuation_by_hand(place, served):
    from biasunlearn.scoring.served import Prompt
    from biasunlearn.scoring.served_prompts import TwoStates, likelihood_ratio
    from biasunlearn.scoring.side_by_side import open_run

    tokenizer = served["base"].tokenizer
    whole, head = tokenizer("The nurse said that she")["input_ids"], tokenizer("The nurse")["input_ids"]
    both = [served[name].logits(whole)[:-1].gather(1, torch.tensor(whole[1:])[:, None])[len(head) - 1 :].sum()
            for name in ("base", "debiased")]  # fmt: skip
    states, prompt = TwoStates(*open_run(place / "run")), Prompt("The nurse", tuple(head))
    assert likelihood_ratio(states, prompt, " said that she") == pytest.approx(float(both[1] - both[0]), abs=1e-4)
    assert likelihood_ratio(states, prompt, "") is None and likelihood_ratio(states, prompt, "\ufffd") is None


@pytest.mark.slow
def test_a_server_that_sends_something_else_is_no_proof(place, served, capsys):
    def without_choices(reply):
        return {**reply, "choices": []}

    with completions(served, change=without_choices) as url:
        assert main(["verify", str(place / "run"), "--endpoint", url, "--model", "debiased"]) == 2
    assert "no valid reply" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_s_exit_codes_and_its_json(place, served, capsys):
    request = ["verify", str(place / "run"), "--endpoint"]
    with completions(served) as url:
        assert main([*request, url, "--model", "debiased", "--json"]) == 0
        result = json.loads(capsys.readouterr().out)
        assert result["verdict"] == "applied" and len(result["items"]) == 32
        assert main([*request, url, "--model", "base"]) == 1
        assert "not applied: the answers are those of the base model" in capsys.readouterr().out
        assert main([*request, url, "--model", "unknown"]) == 2
        error = capsys.readouterr().err
        assert "--model unknown" in error and "no model unknown" in error and error.count("\n") == 1


@pytest.mark.slow
def test_an_unreachable_server_is_one_line(place, capsys):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for url, message in (
        (f"http://127.0.0.1:{port}/v1", "the server cannot be reached"),
        ("http://me:secret@127.0.0.1/v1", "holds a name, a password"),
    ):
        assert main(["verify", str(place / "run"), "--endpoint", url, "--model", "m"]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1 and "secret" not in error


@pytest.mark.slow
def test_an_adapter_without_effect_cannot_be_told_from_its_base(tmp_path, served):
    make_run(tmp_path, spread=0.0)
    with completions(served, log_probs=False) as url, pytest.raises(RequestError, match="differ on 0 texts only"):
        verify(tmp_path / "run", endpoint=url, model="base")


def test_agreement_by_hand():
    found = agreement([2, -2, 4], [1, -1, 2])
    assert (found.slope, found.nearer, found.p) == (0.5, 0, 1.0) and found.correlation == pytest.approx(1)
    assert agreement([2, -2, 4], [0, 0, 0]).slope == 0 and agreement([1, 2], [1, 2]).p == 0.25
    assert (sign_test(5, 5), sign_test(0, 5), sign_test(0, 0)) == (1 / 32, 1.0, 1.0)
