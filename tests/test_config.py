"""Every recipe is loaded and complete; unknown keys, wrong types and values are errors with the mend."""

import dataclasses
from pathlib import Path

import pytest
import yaml

from biasunlearn.config import RECIPES, DebiasConfig, config_from, load_config, recipe_names, to_dict
from biasunlearn.errors import RequestError

FIELDS = [field.name for field in dataclasses.fields(DebiasConfig)]
FILES = sorted(Path(str(RECIPES)).rglob("*.yaml"))


def test_every_recipe_file_is_shipped_by_name():
    assert {path.stem for path in FILES} == set(recipe_names())
    models = {"gpt2-medium", "gpt2-large", "llama-3-8b", "mistral-7b"}
    assert {"biasunlearn", "paper", "paper-code", "demo", *models} <= set(recipe_names())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_recipe_loads_is_complete_and_commented(path):
    config = load_config(path.stem)
    content = yaml.safe_load(path.read_text())
    assert list(content) == FIELDS, "a recipe lists every key, in the order of the fields"
    assert to_dict(config) == to_dict(config_from(content))
    assert path.read_text().count("\n# ") > 30


def test_the_default_is_the_recipe_of_our_name():
    assert load_config("biasunlearn") == DebiasConfig() == load_config()


def test_paper_code_sets_every_deviation():
    config = load_config("paper-code")
    released = {
        "npo_ratio": "batch_mean", "kl": "padded_cross_entropy", "dropout_after_evaluation": "disabled",
        "stop_items": 100,
        "supervised_from": "early", "batch_follows": "sentences", "focus": "farthest", "optimizer_at_swap": "rebuilt",
        "stop_on": "report", "swap": "hard", "forget_batch": 4, "retain_batch": 28,
    }  # fmt: skip
    assert {name: getattr(config, name) for name in released} == released
    assert all(getattr(DebiasConfig(), name) != value for name, value in released.items())


def test_paper_has_the_equations_as_written():
    """And what the paper does not state is as in the default, so that a comparison of the two shows the equations."""
    config, default = load_config("paper"), DebiasConfig()
    written = {
        "forget_weight": 0.4, "retain_weight": 0.4, "kl_weight": 0.2, "swap": "hard", "swap_noise": 0.0,
        "stop_rule": "point", "margin": 2.0, "confirm": 1, "batch_pairs": "independent", "batch_allocation": "even",
        "supervised_from": "blank", "supervised_to": "end", "train_kinds": "both", "npo_ratio": "sentence",
        "retain_mean": "sentence", "kl": "real_tokens", "adversarial_share": 0.25, "average": 0.0, "lms_floor": 100.0,
    }  # fmt: skip
    assert {name: getattr(config, name) for name in written} == written
    ours = {"stop_share", "shared_terms", "stop_on", "stop_items", "beta", "lora_rank", "lora_targets", "schedule",
            "forget_batch", "retain_batch", "unrelated_batch", "max_steps", "evaluate_every"}  # fmt: skip
    assert all(getattr(config, name) == getattr(default, name) for name in ours)


def test_overrides_and_numbers_as_yaml_writes_them(tmp_path):
    (tmp_path / "c.yaml").write_text("learning_rate: 1e-4\nlora_targets: q_proj v_proj\n")
    config = load_config(tmp_path / "c.yaml", ["beta=0.2", "stop_items=7", "lora_targets=[k_proj]"])
    assert (config.learning_rate, config.beta, config.stop_items) == (1e-4, 0.2, 7)
    assert config.lora_targets == ("k_proj",)


def test_config_yaml_of_a_run_is_read_back(tmp_path):
    content = {"debias": {"model": "m"}, "recipe": to_dict(DebiasConfig(beta=0.3))}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(content))
    assert load_config(tmp_path / "config.yaml").beta == 0.3


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"betta": 1}, "did you mean beta"),
        ({"xyzzy": 1}, "known keys: .*adversarial_share"),
        ({"beta": "much"}, "beta: 'much'; must be a number"),
        ({"beta": True}, "must be a number"),
        ({"beta": float("nan")}, "must be a number"),
        ({"beta": 0}, "must be above 0"),
        ({"seed": 1.5}, "seed: 1.5; must be a whole number"),
        ({"seed": True}, "must be a whole number"),
        ({"swap": "soft"}, "must be one of pi, proportional, hard, none"),
        ({"adversarial_share": 2}, "between 0 and 1"),
        ({"stop_share": 0.9}, "between 0.05 and 0.8"),
        ({"average": 1}, "below 1"),
        ({"forget_weight": -1}, "must not be negative"),
        ({"max_steps": 0}, "must be at least 1"),
        ({"stop_items": 0}, "or null"),
        ({"lora_targets": []}, "list of names"),
    ],
)
def test_wrong_values(values, message):
    with pytest.raises(RequestError, match=message):
        config_from(values)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"places": "even"}, {"batch_allocation": "even"}),
        ({"check_every": 7, "first_check": 3}, {"evaluate_every": 7, "first_evaluation": 3}),
        ({"dropout_after_check": "lost"}, {"dropout_after_evaluation": "disabled"}),
        ({"swap": "steady"}, {"swap": "pi"}),
    ],
)
def test_names_of_version_0_1_0_are_accepted_with_a_notice(old, new):
    with pytest.warns(FutureWarning, match="is now written"):
        assert config_from(old) == DebiasConfig(**new)


def test_a_key_under_both_names_is_refused():
    with pytest.raises(RequestError, match="evaluate_every.*given too"), pytest.warns(FutureWarning):
        config_from({"check_every": 7, "evaluate_every": 8})
    with pytest.raises(RequestError, match="check_every is the earlier name of evaluate_every"):
        config_from({"evaluate_every": 8, "check_every": 7})
