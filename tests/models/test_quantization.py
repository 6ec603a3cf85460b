"""A base in 4 and 8 bits: trained on, measured, saved, taken elsewhere; and what is refused."""

import importlib.util
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from biasunlearn.cli import main
from biasunlearn.config import DebiasConfig
from biasunlearn.errors import RequestError
from biasunlearn.models import quantization
from biasunlearn.models.adapters import reference, trainable, with_lora
from biasunlearn.models.compatibility import distances
from biasunlearn.models.load import Loaded, load
from biasunlearn.models.packed_forward import read
from biasunlearn.models.spec import ModelSpec
from biasunlearn.models.weights_hash import weights_hash
from biasunlearn.scoring.log_prob import score
from tests import tiny, variants
from tests.models.test_packed_forward import PASSAGES, plain
from tests.unlearn.test_trainer import config

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install '.[quantised]'"
)
FAMILIES = ("gpt2", "llama", "bert-decoder")  # Conv1D; MLPs of three matrices; a head with a matrix of its own


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quantised")
    for family in FAMILIES:
        tiny.save(tiny.causal(family), folder / family)
    variants.write_pairs(folder / "train.jsonl")
    variants.write_pairs(folder / "report.jsonl", ("old", "new"))
    return folder


def adapted(place: Path, family: str, dtype: str) -> Loaded:
    loaded = load(ModelSpec(str(place / family), dtype=dtype))
    loaded = loaded.with_model(with_lora(loaded.model, config()))
    tiny.perturb(loaded.model)
    return loaded


def report_scores(run: Path) -> dict[str, Any]:
    results = json.loads((run / "results.json").read_text())
    return {when: results[key]["stereoset"]["overall"] for when, key in (("before", "before"), ("after", "benchmarks"))}


# --- the model -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@needs_bitsandbytes
@pytest.mark.parametrize("family", FAMILIES)
def test_the_packed_step_on_four_bits_is_that_of_one_sentence_at_a_time(family: str, place: Path) -> None:
    """Values and gradients, also after a measurement: that is when bitsandbytes may pack weights for other kernels."""
    loaded = adapted(place, family, "4bit")
    score(loaded, PASSAGES)
    parameters = list(trainable(loaded.model).values())
    weights = torch.linspace(0.1, 1.0, len(PASSAGES))
    found = read(loaded.model, loaded.tokenizer, PASSAGES).log_probs
    expected = torch.stack([plain(loaded, passage) for passage in PASSAGES])
    assert torch.allclose(found, expected, atol=1e-4)
    ours = torch.autograd.grad((found * weights).mean(), parameters)
    theirs = torch.autograd.grad((expected * weights).mean(), parameters)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(ours, theirs, strict=True))
    assert max(float(b.abs().max()) for b in theirs) > 1e-2  # the control


@needs_bitsandbytes
@pytest.mark.parametrize("family", FAMILIES)
def test_four_bits_compute_with_what_they_stand_for(family: str, place: Path) -> None:
    """By hand: every layer's numbers, dequantised, in the whole model, give the same scores; its own weights do not."""
    small, whole = load(ModelSpec(str(place / family), dtype="4bit")), load(str(place / family))
    before = score(whole, PASSAGES)
    layers = dict(small.model.named_modules())
    changed = 0
    for name, module in whole.model.named_modules():
        if type(layers[name]).__name__ == "Linear4bit":
            weight = quantization.dequantised(layers[name].weight, layers[name])
            assert len(weight.unique()) <= 16 * -(-weight.numel() // 64)  # 16 levels, scaled per block of 64
            module.weight.data = weight.T.contiguous() if type(module).__name__ == "Conv1D" else weight
            changed += 1
    assert changed == quantization.facts(small.model)["quantised"]["layers"] > 4
    found, expected = score(small, PASSAGES), score(whole, PASSAGES)
    assert [s.log_prob for s in found] == pytest.approx([s.log_prob for s in expected], abs=1e-3)
    assert [s.log_prob for s in found] != pytest.approx([s.log_prob for s in before], abs=1e-1)


@needs_bitsandbytes
@pytest.mark.parametrize("dtype", quantization.BITS)
def test_the_reference_is_the_quantised_base(dtype: str, place: Path) -> None:
    alone, loaded = load(ModelSpec(str(place / "gpt2"), dtype=dtype)), adapted(place, "gpt2", dtype)
    expected = [found.log_prob for found in score(alone, PASSAGES)]
    with reference(loaded.model):
        assert [found.log_prob for found in score(loaded, PASSAGES)] == pytest.approx(expected, abs=1e-5)
    assert [found.log_prob for found in score(loaded, PASSAGES)] != pytest.approx(expected, abs=1e-1)
    assert {weight.dtype for weight in trainable(loaded.model).values()} == {torch.float32}


@needs_bitsandbytes
@pytest.mark.parametrize("dtype", quantization.BITS)
def test_a_hash_knows_the_scales_and_a_measurement_changes_neither_it_nor_the_distance(dtype: str, place: Path) -> None:
    loaded, base = load(ModelSpec(str(place / "gpt2"), dtype=dtype)), load(str(place / "gpt2"))
    told, apart = weights_hash(loaded.model), distances(base.model, loaded.model)
    assert 0.001 < apart["layer 0"] < 0.2
    score(loaded, PASSAGES)
    assert weights_hash(loaded.model) == told and distances(base.model, loaded.model) == apart
    next(scale for _, scale in quantization.scales(loaded.model)).mul_(2)  # a base twice as large has the same numbers
    assert weights_hash(loaded.model) != told


@needs_bitsandbytes
def test_what_a_base_in_four_bits_takes(tmp_path: Path) -> None:
    """Half a byte a weight, and 4 for every 64 of them."""
    tiny.save(tiny.gpt2(n_embd=64), tmp_path / "model")
    told = quantization.facts(load(ModelSpec(str(tmp_path / "model"), dtype="4bit")).model)["quantised"]
    linear = 2 * (64 * 192 + 64 * 64 + 2 * 64 * 256)
    whole = sum(weight.nbytes for weight in load(str(tmp_path / "model")).model.parameters())
    assert told == {"kind": "4bit", "layers": 8, "rest": "float32", "bytes": whole - linear * 4 + linear * 9 // 16}
    assert quantization.facts(load(str(tmp_path / "model")).model) == {}


# --- the run ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    pytest.importorskip("bitsandbytes")
    settings = "dtype=4bit confirm=9 seed=0 lora_rank=8 lora_alpha=16".split()  # an evaluation is better than the base
    settings = [part for value in settings for part in ("--set", value)]
    return Path(variants.debias(place, "run", str(place / "gpt2"), *settings))


@pytest.mark.slow
def test_a_run_says_what_it_was_trained_on_and_measure_finds_the_same(run: Path, place: Path, tmp_path: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert results["config"]["dtype"] == results["protocol"]["dtype"] == "4bit"
    assert results["protocol"]["quantised"]["layers"] == 8
    for when, adapter in (("before", []), ("after", ["--adapter", str(run / "adapter")])):
        out = tmp_path / when
        assert main(["measure", str(place / "gpt2"), *adapter, "--dtype", "4bit", "--out", str(out), "--benchmark",
                     f"stereoset={place / 'report.jsonl'}", *variants.ONE_OTHER]) == 0  # fmt: skip
        found = json.loads((out / "results.json").read_text())
        expected = dict(report_scores(run)[when])
        if when == "before":  # a base model on its own has no training words
            del expected["unseen_wording"]
        assert found["benchmarks"]["stereoset"]["overall"] == expected
        assert found["protocol"] == results["protocol"]


@needs_bitsandbytes
def test_the_adapter_loads_in_plain_peft_on_either_base(place: Path, tmp_path: Path) -> None:
    """GPT-2's Conv1D has its weights the other way round, and its quantised layers do not."""
    adapted(place, "gpt2", "4bit").model.save_pretrained(tmp_path)
    ours = load(ModelSpec(str(place / "gpt2"), dtype="4bit", adapter=tmp_path))
    whole = load(ModelSpec(str(place / "gpt2"), adapter=tmp_path))
    four = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32)
    ids = torch.arange(5, 25)[None]
    for expected, options in ((ours, {"quantization_config": four}), (whole, {})):
        base = AutoModelForCausalLM.from_pretrained(place / "gpt2", dtype=torch.float32, **options)
        for layer in base.modules():
            if hasattr(layer, "support_avx512bf16_for_cpu"):
                layer.support_avx512bf16_for_cpu = False
        with torch.no_grad():
            alone = base.eval()(ids).logits
            found = PeftModel.from_pretrained(base, str(tmp_path)).eval()(ids).logits
            assert torch.allclose(found, expected.model(ids).logits, atol=1e-4)
        assert (found - alone).abs().max() > 1e-2


@pytest.mark.slow
def test_a_run_on_four_bits_goes_elsewhere_and_back(run: Path, place: Path, tmp_path: Path) -> None:
    """To the whole base, as float32; and without asking, to the base as it was trained on."""
    scores = {}
    for name, more in (("whole", ["--dtype", "float32"]), ("same", [])):
        asked = ["transfer", str(run), "--to", str(place / "gpt2"), "--report", str(place / "report.jsonl"),
                 "--out", str(tmp_path / name), "--scale", "1", *variants.ONE_OTHER, *more]  # fmt: skip
        assert main(asked) == 0
        told = json.loads((tmp_path / name / "results.json").read_text())
        apart = told["transferred"]["compatibility"]["distances"]["adapted"]
        assert 0.001 < apart < 0.2 if name == "whole" else apart == 0
        scores[name] = report_scores(tmp_path / name)
    assert scores["same"] == report_scores(run) != scores["whole"]


@pytest.mark.slow
@needs_bitsandbytes
def test_debias_on_eight_bits(place: Path) -> None:
    out = Path(variants.debias(place, "eight", str(place / "gpt2"), "--set", "dtype=8bit", "--set", "confirm=9"))
    told = json.loads((out / "results.json").read_text())
    assert told["protocol"]["quantised"]["kind"] == "8bit" and told["stopped"]["step"] == 4


# --- what is refused -------------------------------------------------------------------------------------------------


def refused(place: Path, capsys: pytest.CaptureFixture[str], model: str, *more: str) -> str:
    asked = ["debias", str(place / model), "--train", str(place / "train.jsonl"), "--report",
             str(place / "report.jsonl"), "--out", str(place / "never"), *more]  # fmt: skip
    capsys.readouterr()
    assert main(asked) == 2
    assert not (place / "never").exists()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize("dtype", quantization.BITS)
def test_without_bitsandbytes_it_says_what_to_install(
    dtype: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    said = refused(place, capsys, "gpt2", "--set", f"dtype={dtype}")
    assert f"dtype: {dtype} needs bitsandbytes: pip install 'biasunlearn[quantised]'" in said


def test_without_bitsandbytes_so_does_a_model_that_was_saved_quantised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(RequestError, match="m: saved quantised, which needs bitsandbytes: pip install"):
        quantization.check_request(ModelSpec("m"), {"quant_method": "bitsandbytes", "load_in_4bit": True})
    quantization.check_request(ModelSpec("m"), {"quant_method": "gptq"})  # no business of ours


def test_what_was_saved_quantised_otherwise_is_not_quantised_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", SimpleNamespace(__spec__=object()))  # as if it were here
    four = {"quant_method": "bitsandbytes", "load_in_4bit": True, "load_in_8bit": False}
    quantization.check_request(ModelSpec("m", dtype="4bit"), four)
    for saved in (four, {"quant_method": "gptq", "bits": 8}):
        with pytest.raises(RequestError, match="m: dtype: 8bit, but it was saved quantised"):
            quantization.check_request(ModelSpec("m", dtype="8bit"), saved)


def test_a_quantised_base_is_not_split() -> None:
    with pytest.raises(RequestError, match="m: a quantised base cannot be split"):
        quantization.check_request(ModelSpec("m", dtype="4bit"), split=True)
    quantization.check_request(ModelSpec("m"), split=True)


def test_all_weights_of_a_quantised_model_cannot_be_trained() -> None:
    with pytest.raises(RequestError, match="lora_rank: 0 trains all weights, and those in 4 bits are frozen"):
        DebiasConfig(dtype="4bit", lora_rank=0)


@needs_bitsandbytes
def test_a_model_with_nothing_to_quantise(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny.save(tiny.gpt2(n_layer=0), place / "no-layers")
    assert "no linear layers that could be quantised" in refused(place, capsys, "no-layers", "--set", "dtype=4bit")


@pytest.mark.slow
@needs_bitsandbytes
def test_a_model_saved_in_four_bits_is_measured_and_trained_as_it_is(place: Path) -> None:
    load(ModelSpec(str(place / "gpt2"), dtype="4bit")).model.save_pretrained(place / "saved")
    load(str(place / "gpt2")).tokenizer.save_pretrained(place / "saved")
    again, first = load(str(place / "saved")), load(ModelSpec(str(place / "gpt2"), dtype="4bit"))
    assert quantization.kind(again.model) == "4bit"
    found = [s.log_prob for s in score(again, PASSAGES)]
    assert found == pytest.approx([s.log_prob for s in score(first, PASSAGES)], abs=1e-4)
    out = variants.debias(place, "saved-run", str(place / "saved"), "--set", "confirm=9")
    told = json.loads((Path(out) / "results.json").read_text())["protocol"]
    assert told["dtype"] == "float32" and told["quantised"]["kind"] == "4bit"


@pytest.mark.parametrize("device", ["cpu", "cuda:1"])
def test_a_quantised_model_goes_to_the_first_accelerator(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization, "on_cpu", lambda: False)
    with pytest.raises(RequestError, match=f"--device {device}: bitsandbytes places a quantised model on the first"):
        quantization.check_request(ModelSpec("m", dtype="8bit", device=device), {"quant_method": "gptq"})
    quantization.check_request(ModelSpec("m", device="cuda:0"), {"quant_method": "gptq"})
    quantization.check_request(ModelSpec("m", device=device))
