"""Bias neurons: which are chosen by hand, the sum of attributions, a planted one, the search, and the adapter."""

from pathlib import Path
from typing import Any

import pytest
import torch

from biasunlearn.data.records import Passage
from biasunlearn.models.adapters import reference, with_adapter, with_scaled_inputs
from biasunlearn.models.mlp import mlp_outputs
from biasunlearn.scoring.log_prob import score
from biasunlearn.unlearn.evaluation import StopScores
from biasunlearn.unlearn.methods import bias_neurons
from biasunlearn.unlearn.methods.task import Task
from tests import tiny
from tests.unlearn.evaluations import score as score_of
from tests.unlearn.test_trainer import SETS, config

PAIRS = [
    (Passage("The nurse is", " tired."), Passage("The nurse is", " loud.")),
    (Passage("The poet", " sat still."), Passage("The poet", " ran.")),
]


def gaps(model: Any, pairs: Any = PAIRS) -> list[float]:
    """|margin| of each pair, in nats per token."""
    loaded = tiny.gpt2().with_model(model)
    one, other = (score(loaded, [pair[side] for pair in pairs]) for side in (0, 1))
    return [abs(a.mean - b.mean) for a, b in zip(one, other, strict=True)]


def scaled(names: list[str], factors: list[torch.Tensor]) -> Any:
    model, parameters = with_scaled_inputs(tiny.gpt2().model, names)
    with torch.no_grad():
        for parameter, factor in zip(parameters, factors, strict=True):
            parameter.copy_(factor.reshape(parameter.shape))
    return model


def test_the_chosen_neurons_by_hand() -> None:
    attributed = [torch.tensor([4.0, 1.0]), torch.tensor([0.5, -2.0])]
    suppressed, amplified = (bias_neurons.scales(attributed, what, 0.2) for what in ("suppress", "amplify"))
    assert [one.tolist() for one in suppressed] == [[0.0, 0.0], [1.0, 1.0]]
    assert [one.tolist() for one in amplified] == [[1.0, 1.0], [1.0, 2.0]]
    none = bias_neurons.scales([torch.tensor([-1.0, 0.0])], "suppress", 0.2)
    assert none[0].tolist() == [1.0, 1.0]  # no neuron makes the gap


@pytest.mark.slow
@pytest.mark.by_day("0")  # the layer behind which there is another one
@pytest.mark.parametrize("layer", [0, 1])
def test_attributions_add_up_to_what_the_layer_makes_of_the_gap(layer: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The completeness of integrated gradients: their sum is the gap less the gap with all neurons at 0."""
    monkeypatch.setattr(bias_neurons, "STEPS", 200)
    loaded = tiny.gpt2()
    name = mlp_outputs(loaded.model, "bias_neurons")[layer]
    found = bias_neurons.attributions(loaded, name, PAIRS)
    assert found.shape == (4 * tiny.WIDTH,)
    without = gaps(scaled([name], [torch.zeros(4 * tiny.WIDTH)]))
    expected = sum(gaps(tiny.gpt2().model)) - sum(without)
    assert float(found.sum()) * len(PAIRS) == pytest.approx(expected, abs=0.02)


def planted() -> Any:
    """A tiny GPT-2 in which neuron 5 of the last layer is always on and makes one word likely in place of another."""
    loaded = tiny.gpt2()
    model = loaded.model
    tired, loud = (loaded.tokenizer.encode(word, add_special_tokens=False)[0] for word in (" tired", " loud"))
    output = model.get_output_embeddings().weight
    last = model.transformer.h[1].mlp
    with torch.no_grad():
        last.c_fc.weight[:, 5] = 0.0
        last.c_fc.bias[5] = 3.0
        last.c_proj.weight[5] = 3.0 * (output[tired] - output[loud])
    return loaded


def test_a_planted_neuron_is_found_and_suppressing_it_takes_its_gap_away() -> None:
    loaded = planted()
    pair = [(Passage("The nurse is", " tired"), Passage("The nurse is", " loud"))]
    names = mlp_outputs(loaded.model, "bias_neurons")
    attributed = [bias_neurons.attributions(loaded, name, pair) for name in names]
    assert int(attributed[1].argmax()) == 5 and attributed[1][5] > attributed[0].max()
    before = gaps(loaded.model, pair)[0]
    chosen = [torch.ones_like(one) for one in attributed]
    chosen[1][5] = 0.0
    other = [torch.ones_like(one) for one in attributed]
    other[1][6] = 0.0  # the negative control: another neuron of the same layer
    after = []
    for factors in (chosen, other):
        model, parameters = with_scaled_inputs(planted().model, names)
        with torch.no_grad():
            for parameter, factor in zip(parameters, factors, strict=True):
                parameter.copy_(factor.reshape(parameter.shape))
        after.append(gaps(model, pair)[0])
    assert after[0] < before / 2 and abs(after[1] - before) < before / 4


@pytest.mark.by_day("gpt2", "llama", "opt", "gemma3")
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_factors_of_1_are_the_base_and_others_are_stored_as_a_plain_adapter(family: str, tmp_path: Path) -> None:
    base, loaded = tiny.causal(family), tiny.causal(family)
    passages = [side for pair in PAIRS for side in pair]

    def log_probs(model: Any) -> list[float]:
        return [found.log_prob for found in score(base.with_model(model), passages)]

    plain = log_probs(base.model)
    model, parameters = with_scaled_inputs(loaded.model, mlp_outputs(loaded.model, "bias_neurons"))
    assert log_probs(model) == pytest.approx(plain, abs=1e-5)
    with torch.no_grad():
        parameters[0][..., ::2] = 0.0
        parameters[1][..., ::3] = 2.0
    changed = log_probs(model)
    assert max(abs(a - b) for a, b in zip(changed, plain, strict=True)) > 1e-3
    with reference(model):
        assert log_probs(model) == pytest.approx(plain, abs=1e-5)
    model.save_pretrained(tmp_path)
    assert log_probs(with_adapter(tiny.causal(family).model, tmp_path)) == pytest.approx(changed, abs=1e-5)


@pytest.mark.slow
def test_the_search_takes_what_moves_ss_to_50_and_nothing_where_nothing_does() -> None:
    pairs = [pair for b in SETS.bias_types for pair in SETS.pairs[b] if pair[0] != pair[1]]
    base = sum(gaps(tiny.gpt2().model, pairs))

    def search(better: bool) -> Any:
        def evaluate(model: Any) -> StopScores:
            far = 10 * sum(gaps(model, pairs)) / base if better else 20.0
            return StopScores({"gender": score_of(50.0 + far, width=0.1)}, 90.0)

        first = StopScores({"gender": score_of(60.0, width=0.1)}, 90.0)
        return bias_neurons.run(Task(tiny.gpt2(), SETS, config(), None, evaluate, first))  # type: ignore[arg-type]

    done = search(better=True)
    assert len(done.search) == 1 + len(bias_neurons.FACTORS) * len(bias_neurons.THRESHOLDS)
    assert sum(gaps(done.model, pairs)) < base and "neurons" in done.outcome.reason
    kept = search(better=False)
    assert kept.search[0].candidate is None and gaps(kept.model, pairs) == pytest.approx(
        gaps(tiny.gpt2().model, pairs), abs=1e-6
    )
