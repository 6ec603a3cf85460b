"""Models that would be measured without any error, and measured wrongly: they are refused, or it is said."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.load import load
from biasunlearn.models.load_checks import CHAIN_TOLERANCE_HALF, _apart
from biasunlearn.models.spec import ModelSpec
from biasunlearn.scoring.chat import protocol
from biasunlearn.scoring.embed import embed
from biasunlearn.scoring.generate import generate
from biasunlearn.scoring.log_prob import score, score_windows
from biasunlearn.scoring.protocol import Sampling
from tests import tiny
from tests.models.test_forward import CONFIG


def changed(folder: Path, name: str = "config.json", **values: Any) -> str:
    """The folder, with other values in one of its JSON files."""
    path = folder / name
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return str(folder)


def refusal(name: str | ModelSpec) -> str:
    with pytest.raises(RequestError) as caught:
        load(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- stored weights without a place ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("family", "values", "first"),
    [
        ("llama", {"num_hidden_layers": 1}, "layers.1."),
        ("gpt2", {"n_layer": 1}, "h.1."),
        ("qwen3", {"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, "k_norm"),
    ],
)
def test_a_configuration_that_drops_stored_weights_is_refused(
    family: str, values: dict[str, Any], first: str, tmp_path: Path
) -> None:
    tiny.save(tiny.causal(family), tmp_path / "model")
    message = refusal(changed(tmp_path / "model", **values))
    assert first in message and "its config.json does not fit its weights" in message


def test_a_configuration_that_drops_biases_is_refused(tmp_path: Path) -> None:
    made = tiny.causal("llama")
    made.model.config.attention_bias = True
    tiny.save(tiny._build(type(made.model), made.model.config, made.tokenizer, 0), tmp_path / "model")
    load(str(tmp_path / "model"))
    assert "bias" in refusal(changed(tmp_path / "model", attention_bias=False))


def test_heads_of_other_tasks_may_be_left_over(tmp_path: Path) -> None:
    """A BERT of the hub has a pooler and a head for the next sentence, and old GPT-2s their causal mask."""
    folder = tmp_path / "bert"
    tiny.save(tiny.masked(), folder)
    weights = load_file(folder / "model.safetensors")
    for name in ("bert.pooler.dense.weight", "cls.seq_relationship.bias", "bert.embeddings.position_ids"):
        weights[name] = torch.zeros(2)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    assert load(str(folder)).masked
    save_file({**weights, "bert.encoder.layer.5.output.dense.bias": torch.zeros(2)}, folder / "model.safetensors")
    assert "layer.5" in refusal(str(folder))


# --- models that see ahead -------------------------------------------------------------------------------------------


def xlm(folder: Path, *, causal: bool) -> str:
    config = transformers.XLMConfig(
        vocab_size=tiny.VOCABULARY, emb_dim=32, n_layers=1, n_heads=2, causal=causal, max_position_embeddings=64,
        embed_init_std=0.3, init_std=0.3, pad_index=0, mask_token_id=None, n_langs=1, use_lang_emb=False,
    )  # fmt: skip
    torch.manual_seed(0)
    model = transformers.XLMWithLMHeadModel(config)
    model.config.architectures = ["XLMWithLMHeadModel"]
    model.save_pretrained(folder)
    tiny.byte_level().save_pretrained(folder)
    return str(folder)


def test_a_model_that_sees_ahead_is_refused(tmp_path: Path) -> None:
    message = refusal(xlm(tmp_path / "both", causal=False))
    assert "reads in both directions" in message


def test_a_bidirectional_gemma_is_refused(tmp_path: Path) -> None:
    config = transformers.Gemma3TextConfig(
        vocab_size=tiny.VOCABULARY, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=64, sliding_window=8, initializer_range=0.3,
        bos_token_id=None, eos_token_id=None, pad_token_id=None,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.Gemma3ForCausalLM(config).save_pretrained(tmp_path / "model")
    tiny.byte_level().save_pretrained(tmp_path / "model")
    load(str(tmp_path / "model"))  # the control
    assert "reads in both directions" in refusal(changed(tmp_path / "model", use_bidirectional_attention=True))


def test_rare_tokens_count_by_their_probability_where_numbers_are_rounded() -> None:
    """One token of 2 in 1,000 is off by a factor of e: 0.002 nats, and 1 nat where every token counts the same.

    The control predicts another token.
    """
    alone = torch.tensor([[0.95, 0.048, 0.002]]).log()
    noisy, other = alone.clone(), torch.tensor([[0.05, 0.948, 0.002]]).log()
    noisy[0, 2] -= 1.0
    assert _apart(alone, noisy[None], exactly=True) == pytest.approx(1.0)
    assert _apart(alone, noisy[None], exactly=False) == pytest.approx(0.002, abs=1e-5)
    by_hand = 0.95 * math.log(0.95 / 0.05) + 0.048 * math.log(0.048 / 0.948)
    assert by_hand > CHAIN_TOLERANCE_HALF
    assert _apart(alone, other[None], exactly=False) == pytest.approx(by_hand, rel=1e-4)


def test_a_model_that_sees_ahead_is_refused_in_half_precision_too(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="reads in both directions"):
        load(ModelSpec(xlm(tmp_path / "both", causal=False), dtype="bfloat16"))
    load(ModelSpec(xlm(tmp_path / "causal", causal=True), dtype="bfloat16"))


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_the_chain_rule_holds_for_every_family_that_loads(family: str, tmp_path: Path) -> None:
    loaded = load(tiny.save(tiny.causal(family), tmp_path / "model"))
    head, whole = score(loaded, [Passage("", "The nurse"), Passage("", "The nurse was tired.")])
    (tail,) = score(loaded, [Passage("The nurse", " was tired.")])
    assert whole.log_prob == pytest.approx(head.log_prob + tail.log_prob, abs=1e-3)


# --- scores that are no numbers --------------------------------------------------------------------------------------


def broken(made: Any, folder: Path, value: float) -> str:
    """The model with a damaged row of its embeddings: that of a token of "It rains" which "A doctor came." lacks."""
    inside, other = (made.tokenizer.encode(text, add_special_tokens=False) for text in ("It rains", "A doctor came."))
    with torch.no_grad():
        made.model.get_input_embeddings().weight[next(token for token in inside if token not in other)] = value
    return tiny.save(made, folder)


SCORERS: dict[str, Callable[[Any], Any]] = {
    "score": lambda loaded: score(loaded, [Passage("", "A doctor came."), Passage("", "It rains.")]),
    "windows": lambda loaded: score_windows(loaded, "It rains.", stride=1),
    "embed": lambda loaded: embed(loaded, ["A doctor came.", "It rains."]),
    "generate": lambda loaded: generate(
        loaded, ["It rains"], Sampling(continuations=1, new_tokens=2, temperature=1.0, top_p=0.9, seed=0)
    ),
}


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_stops_and_names_the_sentence(value: float, scorer: str, tmp_path: Path) -> None:
    loaded = load(broken(tiny.gpt2(tie_word_embeddings=False), tmp_path / "model", value))
    with pytest.raises(RequestError, match="no finite number") as caught:
        SCORERS[scorer](loaded)
    assert "It rains" in str(caught.value) and "\n" not in str(caught.value)


def test_a_masked_model_whose_score_is_no_number(tmp_path: Path) -> None:
    made = tiny.masked(tie_word_embeddings=False)
    with torch.no_grad():
        made.model.get_input_embeddings().weight[made.tokenizer.convert_tokens_to_ids("nurse")] = float("nan")
    loaded = load(tiny.save(made, tmp_path / "model"))
    assert score(loaded, [Passage("", "it rains.")])[0].log_prob < 0  # the control: other sentences are scored
    with pytest.raises(RequestError, match="the nurse is loud"):
        score(loaded, [Passage("", "it rains."), Passage("", "the nurse is loud.")])


def test_a_state_in_training_may_diverge(tmp_path: Path) -> None:
    loaded = load(broken(tiny.gpt2(tie_word_embeddings=False), tmp_path / "model", float("nan")))
    found = score(loaded.in_training(loaded.model), [Passage("", "It rains.")])
    assert found[0].log_prob != found[0].log_prob


# --- a tokenizer without a start token -------------------------------------------------------------------------------


def test_a_tokenizer_without_its_configuration_uses_the_models_start_token_and_says_so(tmp_path: Path) -> None:
    made = tiny.causal("llama")
    made.model.config.bos_token_id = made.tokenizer.bos_token_id
    tiny.save(made, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "lost")
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (tmp_path / "lost" / name).unlink(missing_ok=True)
    whole, lost = load(str(tmp_path / "whole")), load(str(tmp_path / "lost"))
    passages = [Passage("", text) for text in tiny.TEXTS]
    assert score(lost, passages) == score(whole, passages)
    assert "notes" not in protocol(whole)
    assert "has no start token" in protocol(lost)["notes"][0] and "<s>" in protocol(lost)["notes"][0]


def test_no_start_token_anywhere_is_said(tmp_path: Path) -> None:
    made = tiny.gpt2(tiny.byte_level(bos=False, eos=False))
    loaded = load(tiny.save(made, tmp_path / "model"))
    assert "the first token of every sentence is not scored" in protocol(loaded)["notes"][0]


# --- folders that hold no model --------------------------------------------------------------------------------------


def test_an_adapter_in_the_place_of_a_model(tmp_path: Path) -> None:
    with_lora(tiny.gpt2().model, CONFIG).save_pretrained(tmp_path / "adapter")
    assert "this is an adapter; use --adapter" in refusal(str(tmp_path / "adapter"))


def test_a_model_with_an_adapter_in_its_folder(tmp_path: Path) -> None:
    """transformers would put the adapter on the model, which would then be measured as the base."""
    tiny.save(tiny.gpt2(), tmp_path / "model")
    with_lora(tiny.gpt2().model, CONFIG).save_pretrained(tmp_path / "model")
    assert "holds a model and an adapter" in refusal(str(tmp_path / "model"))


@pytest.mark.damaged_results
def test_a_run_in_the_place_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text("{}")
    (tmp_path / "adapter").mkdir()
    assert f"use --adapter {tmp_path / 'adapter'}" in refusal(str(tmp_path))
