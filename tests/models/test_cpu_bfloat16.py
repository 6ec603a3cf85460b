"""bfloat16 on a CPU: what is said about the processor, and the comparison of the first batch with float32."""

from pathlib import Path

import pytest
import torch

from biasunlearn.config import DebiasConfig
from biasunlearn.models import cpu_bfloat16
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.load import Loaded, load
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.score_cache import ScoreCache
from biasunlearn.scoring.chat import protocol
from biasunlearn.scoring.log_prob import score
from tests import tiny
from tests.models.test_packed_forward import PASSAGES


@pytest.mark.parametrize(
    ("capabilities", "said"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "AMX instructions"),
        ({"amx_bf16": False, "avx512_bf16": True}, "AVX-512 BF16 instructions"),
        ({"avx512_f": True}, "no bfloat16 instructions"),
        ({}, "no bfloat16 instructions"),
    ],
)
def test_one_line_says_what_bfloat16_means_on_a_processor(capabilities: dict[str, bool], said: str) -> None:
    line = cpu_bfloat16.support_note(capabilities)
    assert said in line and "\n" not in line


def test_this_processor_is_one_of_the_two_kinds() -> None:
    found = torch.cpu.get_capabilities()
    has = any(found.get(name) for name in cpu_bfloat16.INSTRUCTIONS)
    assert ("is slower" in cpu_bfloat16.support_note()) != has


@pytest.mark.parametrize("family", ["gpt2", "llama", "gemma3", "bert"])
def test_the_first_batch_is_compared_with_float32_and_the_model_stays_as_it_is(family: str) -> None:
    loaded = tiny.masked() if family == "bert" else tiny.causal(family)
    exact = score(loaded, PASSAGES)
    assert cpu_bfloat16.difference_note(loaded.model) == ""  # float32 needs no comparison
    half = loaded.with_model(loaded.model.bfloat16())
    before = {name: p.detach().clone() for name, p in half.model.named_parameters()}
    found = score(half, PASSAGES)
    difference = cpu_bfloat16._differences[half.model]
    assert difference is not None and 0 < difference.mean <= difference.largest < 0.1
    measured = max(abs(one.mean - other.mean) for one, other in zip(found, exact, strict=True))
    assert measured < 0.2  # with the rounding of the weights
    for name, parameter in half.model.named_parameters():
        assert parameter.dtype == torch.bfloat16 and torch.equal(parameter, before[name])
    assert f"{difference.largest:.4f} at most" in " ".join(protocol(half)["notes"])


def test_the_comparison_computes_what_a_model_in_float32_does() -> None:
    """The same weights, rounded to bfloat16, in a float32 model give the score that the comparison is made with."""
    half = tiny.causal("llama")
    half = half.with_model(half.model.bfloat16())
    ids = torch.tensor([[1, 2, 3, 4]])
    with torch.no_grad(), cpu_bfloat16.in_float32(half.model):
        inside = half.model(ids).logits
    outside = half.model.float()(ids).logits
    assert inside.dtype == torch.float32
    assert torch.allclose(inside, outside, atol=1e-5)


def test_a_model_whose_comparison_fails_is_scored_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("expected mat1 and mat2 to have the same dtype")

    half = tiny.causal("gpt2")
    half = half.with_model(half.model.bfloat16())
    monkeypatch.setattr(cpu_bfloat16, "in_float32", fails)
    assert len(score(half, PASSAGES)) == len(PASSAGES)
    assert cpu_bfloat16.difference_note(half.model) == ""


def test_scores_that_are_known_from_before_do_not_hide_the_difference(tmp_path: Path) -> None:
    """A resumed run reads its scores from the cache, and says the same as an undisturbed one."""
    notes = []
    for _ in range(2):
        half = tiny.causal("gpt2")
        half = half.with_model(half.model.bfloat16()).with_cache(ScoreCache(tmp_path / "scores"))
        score(half, PASSAGES)
        notes.append(cpu_bfloat16.difference_note(half.model))
    assert notes[0] == notes[1] != ""


def test_an_adapter_does_not_make_another_model_of_it() -> None:
    half = tiny.causal("gpt2")
    half = half.with_model(half.model.bfloat16())
    score(half, PASSAGES)
    said = cpu_bfloat16.difference_note(half.model)
    adapted = with_lora(half.model, DebiasConfig())
    assert not cpu_bfloat16.unchecked(adapted) and cpu_bfloat16.difference_note(adapted) == said != ""


def test_loading_in_bfloat16_says_so_and_in_float32_does_not(tmp_path: Path) -> None:
    tiny.save(tiny.gpt2(), tmp_path)
    half: Loaded = load(ModelSpec(str(tmp_path), dtype="bfloat16", device="cpu"))
    assert half.notes == (cpu_bfloat16.support_note(),)
    assert load(ModelSpec(str(tmp_path), device="cpu")).notes == ()
