"""Two processes on one CPU: the same trajectory, decisions, scores and adapter as one, and one of them writes."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from biasunlearn.cli import main
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models import distributed
from biasunlearn.unlearn.sampler import StepBatch
from tests import tiny
from tests.warm_client import Warm

pytestmark = pytest.mark.slow

LAUNCHERS = {
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
    "accelerate": ["accelerate.commands.launch", "--cpu", "--num_processes", "2", "--num_machines", "1",
                   "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"],
}  # fmt: skip
"""Started as a user starts them, for the night: two Python processes and the launcher itself import everything. Other
pairs of processes are forked, with the environment that torchrun gives them."""


def pairs(path: Path, bias_types: tuple[str, ...]) -> str:
    rows = [
        {
            "bias_type": bias_type, "target": who, "context": f"The {bias_type} {who} is BLANK.",
            "stereotype": f"The {bias_type} {who} is {bad}.", "anti_stereotype": f"The {bias_type} {who} is {good}.",
            "unrelated": f"The {bias_type} {who} is of {bad}.",
        }
        for bias_type in bias_types for who in ("baker", "pilot", "nurse", "judge", "clerk", "guard")
        for bad, good in (("slow", "quick"), ("rude", "kind"), ("dull", "sharp"))
    ]  # fmt: skip
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("processes")
    tiny.save(tiny.gpt2(), folder / "model")
    pairs(folder / "train.jsonl", ("age", "work"))
    pairs(folder / "report.jsonl", ("old", "new"))
    request(folder, "one", main_of_this_process=True)
    return folder


def request(place: Path, out: str, *, main_of_this_process: bool = False) -> list[str]:
    """Five sentences of a role for two processes: the shares are unequal."""
    settings = (
        "max_steps=6", "swap_noise=0",
        "first_evaluation=2", "evaluate_every=2", "forget_batch=5", "unrelated_batch=3", "confirm=9",
    )  # fmt: skip
    command = ["debias", str(place / "model"), "--train", str(place / "train.jsonl"),
               "--report", str(place / "report.jsonl"), "--out", str(place / out)]  # fmt: skip
    command += [part for setting in settings for part in ("--set", setting)]
    if main_of_this_process:
        assert main(command) == 0
    return command


@dataclass(frozen=True)
class Done:
    """How two processes ended: the larger exit code, and what both of them wrote."""

    code: int
    out: str
    messages: str


def launch(how: str, command: list[str], place: Path, warm: Warm) -> Done:
    """Two processes, by a launcher or (`forked`, `split`) without one; `split` shards the model with FSDP2."""
    if how in LAUNCHERS:
        whole = [sys.executable, "-m", *LAUNCHERS[how], "-m", "biasunlearn", *command]
        done = subprocess.run(whole, capture_output=True, text=True, timeout=1200)
        return Done(done.returncode, done.stdout, done.stderr)
    folders = [place / f"{how}-rank{rank}" for rank in range(2)]
    codes = warm.run_ranks(folders, command, **({"ACCELERATE_USE_FSDP": "true"} if how == "split" else {}))
    out, messages = ("".join((folder / name).read_text() for folder in folders) for name in ("stdout", "stderr"))
    return Done(max(codes), out, messages)


def close(one: Any, other: Any) -> None:
    """Equal but for 1e-4 in numbers, through dicts and lists."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            close(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            close(a, b)
    else:
        assert other == (pytest.approx(one, abs=1e-4) if isinstance(one, float) else one)


# accelerate's launcher is torchrun with more environment, of which `split` has the part that we read.
@pytest.mark.by_day("forked", "split")
@pytest.mark.parametrize("launcher", ["forked", "torchrun", "accelerate", "split"])
def test_two_processes_follow_the_trajectory_of_one(launcher: str, place: Path, warm: Warm) -> None:
    done = launch(launcher, request(place, launcher), place, warm)
    assert done.code == 0, done.messages[-3000:]
    assert done.out.count("stored in") == 1  # only one of them speaks

    def rows(out: str) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in (place / out / "metrics.jsonl").read_text().splitlines()]
        for row in found:
            row.pop("tokens", None)  # two processes share fewer beginnings of sentences, so that they read more
        return found

    close(rows("one"), rows(launcher))
    ours, theirs = (load_file(place / out / "adapter" / "adapter_model.safetensors") for out in ("one", launcher))
    assert ours.keys() == theirs.keys() and all((ours[n] - theirs[n]).abs().max() < 1e-4 for n in ours)
    assert any(weight.abs().max() > 1e-3 for name, weight in theirs.items() if "lora_B" in name)  # it did learn
    results = [json.loads((place / out / "results.json").read_text()) for out in ("one", launcher)]
    close(results[0]["benchmarks"], results[1]["benchmarks"])
    assert sorted(p.name for p in (place / launcher).iterdir()) == sorted(p.name for p in (place / "one").iterdir())


def test_a_split_model_s_adapter_loads_in_plain_peft(place: Path, warm: Warm) -> None:
    """The base was in two halves, one in each process; what was saved needs none of this package."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = place / "split/adapter"
    if not folder.exists():
        assert launch("split", request(place, "split"), place, warm).code == 0
    base = AutoModelForCausalLM.from_pretrained(place / "model").eval()
    ids = torch.arange(5, 15)[None]
    with torch.no_grad():
        before = base(ids).logits
        with_ours = PeftModel.from_pretrained(base, str(folder)).eval()(ids).logits
        alone = AutoModelForCausalLM.from_pretrained(place / "model").eval()
        of_one = PeftModel.from_pretrained(alone, str(place / "one/adapter")).eval()(ids).logits
    assert torch.allclose(with_ours, of_one, atol=1e-3) and (with_ours - before).abs().max() > 1e-2


def test_a_model_without_named_blocks_is_not_split() -> None:
    with pytest.raises(RequestError, match="fsdp_transformer_layer_cls_to_wrap"):
        distributed.split(torch.nn.Linear(2, 2), torch.device("cpu"))


def test_a_wrong_request_to_two_processes_is_still_one_that_says_what(place: Path, warm: Warm) -> None:
    """The second process finds it first. A launcher would then end the first one, which has to speak before."""
    folders = [place / f"wrong-rank{rank}" for rank in range(2)]
    codes = warm.run_ranks(folders, [*request(place, "wrong"), "--set", "betta=1"], first_waits=1)
    messages = "".join((folder / "stderr").read_text() for folder in folders)
    assert max(codes) == 2
    assert messages.count("unknown configuration key 'betta'; did you mean beta?") == 1, messages


def test_shares_are_disjoint_and_whole_and_their_means_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three processes played by one: seven pieces, and the mean of seven numbers from three parts."""
    values = torch.arange(7.0)
    shares = []
    for rank in range(3):
        monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 3)
        monkeypatch.setattr(torch.distributed, "get_rank", lambda rank=rank: rank)
        shares.append(distributed.mine(range(7)))
    assert sorted(sum(shares, [])) == list(range(7)) and max(map(len, shares)) - min(map(len, shares)) <= 1

    def as_if_seven(total: torch.Tensor) -> None:
        total.fill_(7.0)

    monkeypatch.setattr(torch.distributed, "all_reduce", as_if_seven)
    parts = [float(distributed.mean(values[share])) for share in shares]
    assert sum(parts) == pytest.approx(float(values.mean()))


def test_one_process_has_everything() -> None:
    sentence = Passage("", "a")
    batch = StepBatch((sentence,) * 3, (sentence,), (), (1.0, 0.5, 1.0), (1.0,))
    assert batch.share() == batch
    assert float(distributed.mean(torch.tensor([1.0, 2.0]))) == 1.5
    assert float(distributed.mean(torch.zeros(0))) == 0.0
