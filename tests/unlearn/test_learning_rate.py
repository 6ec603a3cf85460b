"""The learning rate that a recipe leaves open: by hand for some sizes."""

import pytest

from biasunlearn.config import DebiasConfig, load_config
from biasunlearn.method_defaults import RATES, SETTINGS
from biasunlearn.models.adapters import with_lora
from biasunlearn.unlearn import learning_rate
from biasunlearn.unlearn.learning_rate import rate_finding, rate_for, weight_count, with_rate
from tests.tiny import causal, gpt2

RECIPE = DebiasConfig()


@pytest.mark.parametrize(
    ("weights", "rate"),
    [(1, 1e-3), (11_000_000, 1e-3), (44_000_000, 5e-4), (1_100_000_000, 1e-4), (106_203_456, 3.22e-4)],
)
def test_it_falls_with_the_square_root_of_the_size(weights: int, rate: float) -> None:
    """44 million: 1e-3 * sqrt(11 / 44); 1.1 billion: 1e-3 * sqrt(1 / 100); the last is SmolLM2-135M."""
    assert rate_for(weights) == pytest.approx(rate, rel=1e-3)


def test_every_method_has_its_own_rate_and_it_falls_alike() -> None:
    """npo: 2e-4 * sqrt(11 / 44) = 1e-4."""
    assert rate_for(1, "npo") == 2e-4 and rate_for(44_000_000, "npo") == pytest.approx(1e-4)
    assert rate_for(44_000_000, "sft") == rate_for(44_000_000)
    assert set(RATES) <= set(SETTINGS)
    assert not any("learning_rate" in settings for settings in SETTINGS.values())  # those would not fall
    model = gpt2().model
    for method in SETTINGS:
        config = load_config("biasunlearn", [f"method={method}"])
        assert with_rate(config, model).learning_rate == RATES.get(method, 1e-3)


def test_embeddings_and_the_adapter_do_not_count() -> None:
    model = causal("llama").model
    tables = {id(p) for p in (model.get_input_embeddings().weight, model.get_output_embeddings().weight)}
    tied = model.get_input_embeddings().weight is model.get_output_embeddings().weight
    body = sum(p.numel() for p in model.parameters() if id(p) not in tables)
    body += 0 if tied else model.get_output_embeddings().weight.numel()
    assert weight_count(model) == body
    assert weight_count(with_lora(model, RECIPE)) == body


def test_a_given_rate_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    model = causal("llama").model
    monkeypatch.setattr(learning_rate, "SMALL_MODEL", weight_count(model) // 4)
    assert with_rate(RECIPE, model).learning_rate == pytest.approx(5e-4, rel=0.01)
    given = DebiasConfig(learning_rate=0.002)
    assert with_rate(given, model) == given and rate_finding(given, model) == []
    assert [line.split(":")[1] for line in rate_finding(RECIPE, model)] == [
        " the learning rate is 0.0005, and 0.001 for a small model (learning_rate"
    ]


def test_a_small_model_has_the_rate_on_which_the_recipe_was_chosen() -> None:
    model = gpt2().model
    assert with_rate(load_config("biasunlearn"), model).learning_rate == 1e-3 and rate_finding(RECIPE, model) == []
