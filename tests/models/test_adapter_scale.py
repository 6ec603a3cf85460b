"""Adapters at another strength: restored afterwards, searched on the stop split, saved so that peft sees it."""

import json

import pytest
import torch

from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_scale import GRID, ScaleScores, check_scales, nearest, save_scaled, scaled, search
from biasunlearn.models.adapters import with_adapter, with_lora
from biasunlearn.models.spec import ModelSpec
from biasunlearn.models.weights_hash import weights_hash
from tests import tiny


def adapted():
    loaded = tiny.gpt2()
    model = with_lora(loaded.model, DebiasConfig())
    tiny.perturb(model)
    return model


def logits(model):
    with torch.no_grad():
        return model(torch.tensor([[1, 5, 9, 40, 7]])).logits


def test_0_is_the_model_without_the_adapter_and_the_scale_comes_back():
    model, bare = adapted(), tiny.gpt2().model
    own, state = logits(model), weights_hash(model)
    with scaled(model, 0.0, "default"):
        assert torch.equal(logits(model), logits(bare))
        assert weights_hash(model) != state  # stored scores of one scale are never taken for another's
    with pytest.raises(ZeroDivisionError), scaled(model, 3.0, "default"):
        raise ZeroDivisionError
    assert torch.equal(logits(model), own) and weights_hash(model) == state
    assert (own - logits(bare)).abs().max() > 0.1  # negative control: the adapter does something
    with pytest.raises(RequestError, match="no LoRA adapter called 'other'"), scaled(model, 1.0, "other"):
        pass


def test_a_saved_scale_is_what_was_measured(tmp_path):
    model = adapted()
    model.save_pretrained(tmp_path / "run")
    base = ModelSpec("owner/target", revision="v2")
    save_scaled(tmp_path / "run", tmp_path / "new", 0.5, base, lambda place: (place / "x").write_text("y"))
    again = with_adapter(tiny.gpt2().model, tmp_path / "new").eval()
    with scaled(model, 0.5, "default"):
        assert torch.allclose(logits(again), logits(model), atol=1e-5)
    config = json.loads((tmp_path / "new/adapter_config.json").read_text())
    assert (config["lora_alpha"], config["base_model_name_or_path"], config["revision"]) == (16, "owner/target", "v2")
    weights = [(tmp_path / name / "adapter_model.safetensors").read_bytes() for name in ("run", "new")]
    assert weights[0] == weights[1] and (tmp_path / "new/x").exists()


def test_search_finds_the_bottom_of_a_curve_within_the_lms_floor():
    """SS falls by 8 a unit of scale from 59, LMS by 1: the bottom is at 1.125, and with a floor of 1 at 1."""

    def look(scale):
        return ScaleScores(scale, 59 - 8 * scale, abs(9 - 8 * scale), 90 - scale)

    looks = search(look, 1.5)
    assert nearest(looks, 1.5).scale == 1.125 and [one.scale for one in looks] == sorted({*GRID, 0.875, 1.125})
    assert nearest(search(look, 1.0), 1.0).scale == 1.0
    assert nearest(search(look, 0.0), 0.0).scale == 0.0
    assert nearest(looks, 1.5, (0.5, 2.0)).scale == 0.5
    assert nearest(looks, 0.1, (0.5, 2.0)).scale == 0.5  # none keeps the floor: the least harm
    assert nearest([ScaleScores(s, 50, 1.0, None) for s in (1.0, 0.5)], 1.5).scale == 0.5  # a tie: the weaker


def test_scales_that_make_no_sense_are_refused():
    assert check_scales([1, 0, 1, 0.5]) == (0, 0.5, 1)
    for scale in (-1.0, 11.0, float("nan")):
        with pytest.raises(RequestError, match="must lie between 0"):
            check_scales([scale])
