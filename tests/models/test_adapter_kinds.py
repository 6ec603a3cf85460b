"""Every kind of PEFT adapter that is accepted: scored as PEFT itself scores it, and refused where a part is missing."""

import warnings
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from biasunlearn.data.records import Passage
from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_effect import effect_note
from biasunlearn.models.adapters import KINDS, SHIFTING
from biasunlearn.models.load import load
from biasunlearn.models.spec import ModelSpec
from biasunlearn.scoring.chat import protocol
from biasunlearn.scoring.embed import embed
from biasunlearn.scoring.generate import generate
from biasunlearn.scoring.log_prob import score, score_windows
from biasunlearn.scoring.protocol import Sampling
from tests import tiny

TARGETS = ["q_proj", "v_proj"]
CONFIGS: dict[str, Any] = {
    "LORA": peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=TARGETS),
    "LORA with DoRA": peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=TARGETS, use_dora=True),
    "LORA with a saved head": peft.LoraConfig(
        task_type="CAUSAL_LM", r=2, target_modules=TARGETS, modules_to_save=["lm_head"]
    ),
    "ADALORA": peft.AdaLoraConfig(task_type="CAUSAL_LM", init_r=2, target_modules=TARGETS, total_step=10),
    "IA3": peft.IA3Config(
        task_type="CAUSAL_LM", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"]
    ),
    "LN_TUNING": peft.LNTuningConfig(task_type="CAUSAL_LM", target_modules=["input_layernorm"]),
    "LOHA": peft.LoHaConfig(task_type="CAUSAL_LM", r=2, target_modules=TARGETS),
    "LOKR": peft.LoKrConfig(task_type="CAUSAL_LM", r=2, target_modules=TARGETS),
    "OFT": peft.OFTConfig(task_type="CAUSAL_LM", oft_block_size=8, target_modules=["q_proj"]),
    "VERA": peft.VeraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj"]),
    "PREFIX_TUNING": peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
}
REFUSED = {
    "PROMPT_TUNING": peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    "P_TUNING": peft.PromptEncoderConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_hidden_size=8),
    "FOURIERFT": peft.FourierFTConfig(task_type="CAUSAL_LM", n_frequency=8, target_modules=TARGETS),
}
DAMAGES = ("missing", "unexpected", "elsewhere", "another shape")
SENTENCES = ("The nurse said that she was tired.", "The nurse said that he was tired.", "It rains.")
PASSAGES = [Passage("", SENTENCES[0]), Passage("The nurse said", " that he was tired."), Passage("", SENTENCES[2])]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny.save(tiny.causal("llama"), tmp_path_factory.mktemp("kinds") / "model")


def adapter_of(config: Any, base: str, folder: Path) -> Path:
    """A saved adapter of a kind, with random weights that act."""
    torch.manual_seed(0)
    model = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(base), config)
    tiny.perturb(model, spread=0.3)
    model.save_pretrained(folder)
    return folder


def by_peft(base: str, adapter: Path) -> Any:
    return peft.PeftModel.from_pretrained(transformers.AutoModelForCausalLM.from_pretrained(base), adapter).eval()


@pytest.mark.parametrize(
    "kind", ["LORA" if kind == "LORA" else pytest.param(kind, marks=pytest.mark.slow) for kind in CONFIGS]
)
@torch.no_grad()
def test_every_scorer_gives_what_peft_gives(kind: str, base: str, tmp_path: Path) -> None:
    adapter = adapter_of(CONFIGS[kind], base, tmp_path / "adapter")
    loaded, plain = load(ModelSpec(base, adapter=adapter)), by_peft(base, adapter)
    tokenizer = loaded.tokenizer

    def log_probs(ids: list[int]) -> torch.Tensor:
        row = torch.tensor([ids])
        return plain(input_ids=row).logits[0, :-1].log_softmax(-1).gather(1, row[0, 1:, None])[:, 0]

    start = [tokenizer.bos_token_id]
    ids = [start + tokenizer.encode(one.prefix + one.text, add_special_tokens=False) for one in PASSAGES]
    scores = score(loaded, PASSAGES)
    expected = [float(log_probs(row)[-found.tokens :].sum()) for row, found in zip(ids, scores, strict=True)]
    assert [one.log_prob for one in scores] == pytest.approx(expected, abs=1e-4)
    off = [one.log_prob for one in score(load(base), PASSAGES)]
    assert max(abs(a - b) for a, b in zip(off, expected, strict=True)) > 0.01  # the control: the adapter does act

    text = " ".join(SENTENCES)
    whole = tokenizer.encode(text, add_special_tokens=False)
    if len(whole) < 60:
        assert score_windows(loaded, text, stride=1)[0] == pytest.approx(float(log_probs(whole).sum()), abs=1e-3)

    greedy = Sampling(continuations=1, new_tokens=4, temperature=1e-4, top_p=1.0, seed=0)
    row = start + tokenizer.encode(SENTENCES[2], add_special_tokens=False)
    written = list(row)
    for _ in range(4):
        written.append(int(plain(input_ids=torch.tensor([written])).logits[0, -1].argmax()))
        if written[-1] == tokenizer.eos_token_id:
            break
    expected_text = tokenizer.decode(written, skip_special_tokens=True)
    ours = generate(loaded, [SENTENCES[2]], greedy)[0][0].text
    assert f"{SENTENCES[2]}{ours}".split() == expected_text.split() or ours == ""

    states = plain(input_ids=torch.tensor([row]), output_hidden_states=True).hidden_states[-1][0, 1:]
    assert torch.allclose(torch.tensor(embed(loaded, [SENTENCES[2]])["mean"][0]).float(), states.mean(0), atol=1e-4)


def test_the_kinds_that_are_tested_are_those_that_are_accepted() -> None:
    assert {name.split()[0] for name in CONFIGS} == set(KINDS)
    assert not set(KINDS) & set(SHIFTING)


@pytest.mark.parametrize("kind", REFUSED)
def test_other_kinds_are_refused_in_one_line(kind: str, base: str, tmp_path: Path) -> None:
    adapter = adapter_of(REFUSED[kind], base, tmp_path / "adapter")
    with pytest.raises(RequestError, match=f"a {kind} adapter") as caught:
        load(ModelSpec(base, adapter=adapter))
    assert "\n" not in str(caught.value)


@pytest.mark.by_day(
    *(f"{damage}-LORA" for damage in DAMAGES), *(f"missing-{kind}" for kind in CONFIGS if kind != "PREFIX_TUNING")
)
@pytest.mark.parametrize("kind", [
    "LORA" if kind == "LORA" else pytest.param(kind, marks=pytest.mark.slow)
    for kind in CONFIGS if kind != "PREFIX_TUNING"
])  # fmt: skip
@pytest.mark.parametrize("damage", DAMAGES)
def test_an_adapter_whose_tensors_are_not_all_in_place_is_refused(
    damage: str, kind: str, base: str, tmp_path: Path
) -> None:
    path = adapter_of(CONFIGS[kind], base, tmp_path / "adapter") / "adapter_model.safetensors"
    weights = load_file(path)
    last = max(weights)
    if damage == "missing":
        del weights[last]
    elif damage == "unexpected":
        weights[last.replace("layers.1", "layers.7").replace("lm_head", "other_head")] = weights[last].clone()
        weights["base_model.model.model.layers.7.self_attn.q_proj.weight"] = torch.ones(2, 2)
    elif damage == "elsewhere":  # a text model inside a multimodal one
        inside = "base_model.model.", "base_model.model.language_model."
        weights = {key.replace(*inside): weight for key, weight in weights.items()}
    else:
        weights[last] = torch.ones(*(size + 1 for size in weights[last].shape))
    save_file(weights, path)
    with warnings.catch_warnings(), pytest.raises(RequestError, match="does not fit the model"):
        warnings.simplefilter("ignore")
        load(ModelSpec(base, adapter=path.parent))


# --- the proof that an adapter acts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["LORA", "IA3"])
def test_an_adapter_that_changes_nothing_is_said_in_capitals(kind: str, base: str, tmp_path: Path) -> None:
    model = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(base), CONFIGS[kind])
    model.save_pretrained(tmp_path / "adapter")  # as it was made: B is zero, the factors are one
    loaded = load(ModelSpec(base, adapter=tmp_path / "adapter"))
    assert protocol(loaded)["notes"][0].startswith("THE ADAPTER CHANGES NOTHING")


def test_an_adapter_that_acts_and_a_model_without_one_have_no_note(base: str, tmp_path: Path) -> None:
    adapter = adapter_of(CONFIGS["LORA"], base, tmp_path / "adapter")
    for spec in (ModelSpec(base, adapter=adapter), ModelSpec(base)):
        loaded = load(spec)
        assert "notes" not in protocol(loaded)
        assert effect_note(loaded.model, loaded.tokenizer) == ""


def test_an_adapter_that_acts_on_a_single_token_acts(base: str, tmp_path: Path) -> None:
    """Its first row of tokens is that of the base: the others have to be tried."""
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=1, target_modules=["embed_tokens"])
    model = peft.get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(base), config)
    with torch.no_grad():
        layer = model.base_model.model.model.embed_tokens
        layer.lora_embedding_A["default"].zero_()
        layer.lora_embedding_A["default"][0, 150] = 1.0
        layer.lora_embedding_B["default"].fill_(1.0)
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    loaded = load(ModelSpec(base, adapter=tmp_path / "adapter"))
    assert effect_note(loaded.model, loaded.tokenizer) == ""
