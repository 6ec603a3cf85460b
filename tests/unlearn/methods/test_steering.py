"""Activation steering: the vector by hand, where it is added, what a gate does, its file, and the control vector."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from biasunlearn.commands.export_control_vector import NAME, export_control_vector
from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import reference, with_adapter
from biasunlearn.models.blocks import blocks
from biasunlearn.models.steered import FILE, Steered, Steering, read_steering
from biasunlearn.scoring.log_prob import score
from biasunlearn.unlearn.evaluation import StopScores
from biasunlearn.unlearn.methods import steering
from biasunlearn.unlearn.methods.task import Task
from tests import tiny
from tests.unlearn.evaluations import score as score_of
from tests.unlearn.test_trainer import SETS, config

PASSAGES = [Passage("The nurse is", " tired."), Passage("It", " rains.")]


def log_probs(model: Any) -> list[float]:
    return [found.log_prob for found in score(tiny.gpt2().with_model(model), PASSAGES)]


def test_the_vector_is_the_mean_difference_and_bias_types_count_equally() -> None:
    one = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [6.0]])  # mean difference 2
    other = torch.tensor([[0.0]]), torch.tensor([[-4.0]])
    assert steering.mean_difference([one]).item() == 2.0
    assert steering.mean_difference([one, other]).item() == -1.0


def test_the_probe_has_its_threshold_between_the_sides() -> None:
    sides = torch.full((4, 1), 3.0, dtype=torch.float64), torch.full((4, 1), 1.0, dtype=torch.float64)
    weight, bias = steering.stereotype_probe([sides])
    assert weight.item() > 0 and bias.item() == pytest.approx(-2 * weight.item())


@pytest.mark.by_day("gpt2", "llama", "opt", "gemma3")
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_vector_is_added_behind_its_layer_at_every_token(family: str) -> None:
    loaded = tiny.causal(family)
    ids = torch.tensor([loaded.tokenizer("The nurse is tired.").input_ids])
    width, entering = loaded.model.config.hidden_size, []

    def take(_module: Any, args: Any, kwargs: Any) -> None:
        entering.append(args[0] if args else kwargs["hidden_states"])

    blocks(loaded.model)[1].register_forward_pre_hook(take, with_kwargs=True)
    vector = torch.arange(width) / width
    with torch.no_grad():
        plain = loaded.model(ids).logits
        steered = Steered(loaded.model, Steering(0, vector))
        changed = steered(ids).logits
        with reference(steered):
            off = steered(ids).logits
    assert torch.equal(off, plain) and not torch.allclose(changed, plain)
    assert torch.allclose(entering[1], entering[0] + vector, atol=1e-5) and torch.equal(entering[2], entering[0])


def test_a_vector_of_zeros_leaves_the_model_bit_for_bit() -> None:
    """The negative control, and the model after it is detached."""
    plain = log_probs(tiny.gpt2().model)
    model = tiny.gpt2().model
    steered = Steered(model, Steering(1, torch.zeros(tiny.WIDTH)))
    assert log_probs(steered) == plain
    strong = Steered(steered.detach_steering(), Steering(1, torch.arange(tiny.WIDTH) / 8))
    assert log_probs(strong) != plain
    assert log_probs(strong.detach_steering()) == plain


def test_a_gate_opens_only_where_the_probe_says_so() -> None:
    vector, weight = torch.arange(tiny.WIDTH) / 8, torch.zeros(tiny.WIDTH)
    plain, open_for_all = (log_probs(m) for m in (tiny.gpt2().model, Steered(tiny.gpt2().model, Steering(1, vector))))
    for bias, expected in ((-1.0, plain), (1.0, open_for_all)):
        gated = Steered(tiny.gpt2().model, Steering(1, vector, weight, torch.tensor([bias])))
        assert log_probs(gated) == expected


def test_it_is_stored_as_safetensors_and_attached_as_it_was(tmp_path: Path) -> None:
    gated = Steering(1, torch.randn(tiny.WIDTH), torch.randn(tiny.WIDTH), torch.randn(1))
    model = Steered(tiny.gpt2().model, gated)
    model.save_pretrained(tmp_path)
    assert set(load_file(tmp_path / FILE)) == {"block", "vector", "gate_weight", "gate_bias"}
    assert log_probs(with_adapter(tiny.gpt2().model, tmp_path)) == log_probs(model)
    with pytest.raises(RequestError, match="the model has 2 layers and 16"):
        with_adapter(tiny.gpt2(n_embd=16).model, tmp_path)
    (tmp_path / FILE).write_bytes(b"no tensors")
    with pytest.raises(RequestError, match="cannot be read"):
        read_steering(tmp_path)


def margin(model: Any) -> float:
    """The mean margin of the pairs, stereotype minus anti-stereotype, in nats per token."""
    pairs = [pair for b in SETS.bias_types for pair in SETS.pairs[b] if pair[0] != pair[1]]
    loaded = tiny.gpt2().with_model(model)
    one, other = (score(loaded, [pair[side] for pair in pairs]) for side in (0, 1))
    return sum(a.mean - b.mean for a, b in zip(one, other, strict=True)) / len(pairs)


def search(*, gated: bool, better: bool = True) -> tuple[Any, Any]:
    """A search whose SS on the stop split is 50 plus ten times the margin, and never better than the base if not."""
    loaded = tiny.gpt2()
    base = margin(loaded.model)

    def evaluate(model: Any) -> StopScores:
        far = 10 * max(0.0, margin(model)) if better else 10 * abs(base) + 5
        return StopScores({"gender": score_of(50.0 + far, width=0.1)}, 90.0)

    first = StopScores({"gender": score_of(50.0 + 10 * abs(base), width=0.1)}, 90.0)
    task = Task(loaded, SETS, config(), None, evaluate, first)  # type: ignore[arg-type]
    run = steering.steering_gated if gated else steering.steering
    return run(task), base


@pytest.mark.slow
def test_the_search_takes_what_moves_ss_to_50_and_nothing_where_nothing_does() -> None:
    for gated in (False, True):
        done, base = search(gated=gated)
        distances = [row.distance for row in done.search]
        assert len(distances) == 1 + len(steering.STRENGTHS) and min(distances[1:]) < distances[0]
        assert margin(done.model) < base
        assert (done.model.gate_weight is not None) == gated
    unchanged, base = search(gated=False, better=False)
    assert unchanged.search[0].candidate is None and margin(unchanged.model) == base
    assert not unchanged.model.vector.any()


def test_every_family_has_one_list_of_layers() -> None:
    for family in tiny.FAMILIES:
        assert len(blocks(tiny.causal(family).model)) == 2


def test_a_control_vector_has_the_direction_of_its_layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gguf = pytest.importorskip("gguf")
    from types import SimpleNamespace

    from biasunlearn.runs.folder import RunFolder

    model = tiny.save(tiny.gpt2(), tmp_path / "model")
    monkeypatch.setattr(RunFolder, "read_results", lambda _self: SimpleNamespace(model=model))
    adapter = tmp_path / "run/adapter"
    adapter.mkdir(parents=True)
    with pytest.raises(RequestError, match="no steering vector"):
        export_control_vector(tmp_path / "run", out=tmp_path / "out")
    vector = torch.randn(tiny.WIDTH)
    Steered(tiny.gpt2().model, Steering(1, vector)).save_pretrained(adapter)
    done = export_control_vector(tmp_path / "run", out=tmp_path / "out")
    reader = gguf.GGUFReader(tmp_path / "out" / NAME)
    (tensor,) = reader.tensors
    assert tensor.name == "direction.1" and done["layer"] == 1
    assert torch.equal(torch.tensor(tensor.data), vector)
    assert bytes(reader.fields["controlvector.model_hint"].parts[-1]) == b"gpt2"
    for wrong, reason in (
        (Steering(1, torch.zeros(tiny.WIDTH)), "there is no vector"),
        (Steering(0, vector), "layer 0"),
        (Steering(1, vector, vector.clone(), torch.zeros(1)), "has a gate"),
    ):
        Steered(tiny.gpt2().model, wrong).save_pretrained(adapter)
        with pytest.raises(RequestError, match=reason):
            export_control_vector(tmp_path / "run", out=tmp_path / "other")
