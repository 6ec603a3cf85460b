"""Products through oneDNN: the values and gradients of torch's own, on every shape that a step has and every family."""

import pytest
import torch
import torch.nn.functional as F

from biasunlearn.models import cpu_kernels
from biasunlearn.models.adapters import trainable
from biasunlearn.models.cpu_kernels import Products
from biasunlearn.models.load import Loaded
from biasunlearn.models.packed_forward import read
from tests import tiny
from tests.models.test_packed_forward import PASSAGES, adapted

SHAPES = [(8, 300), (300, 8), (64, 96), (1, 5)]
"""Columns of x and of the product: LoRA's second factor, its first, a layer, and a very small one."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The weights that oneDNN was asked to multiply with."""
    seen, before = [], cpu_kernels._product

    def noted(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
        seen.append(weight.shape)
        return before(x, weight, bias)

    monkeypatch.setattr(cpu_kernels, "_product", noted)
    return seen


@pytest.fixture
def present() -> None:
    if not cpu_kernels.available():
        pytest.skip("this torch has no oneDNN product: the package falls back to torch's own")


def drawn(columns: int, width: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(columns)
    sizes = (3, 20, columns), (width, columns), (width,)
    x, weight, bias = (torch.randn(size, generator=generator).requires_grad_() for size in sizes)
    return x, weight, bias


def conv1d(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
    """As transformers writes GPT-2's layers."""
    return torch.addmm(bias, x.view(-1, x.shape[-1]), weight.t()).view(*x.shape[:-1], -1)


@pytest.mark.usefixtures("present")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("layer", [F.linear, conv1d])
@pytest.mark.parametrize("transposed_by_mkl", [True, False])
def test_values_and_gradients_are_those_of_torch(layer, shape, transposed_by_mkl, asked, monkeypatch) -> None:
    monkeypatch.setattr(cpu_kernels, "_prefers_mkl", lambda: transposed_by_mkl)
    given = drawn(*shape)
    expected = layer(*given)
    with Products():
        found = layer(*given)
    assert torch.allclose(found, expected, atol=1e-4) and len(asked) == 1
    slope = torch.linspace(-1, 1, expected.numel()).view_as(expected)
    for one, other in zip(torch.autograd.grad(found, given, slope), torch.autograd.grad(expected, given, slope),
                          strict=True):  # fmt: skip
        assert torch.allclose(one, other, atol=1e-4)
    assert len(asked) == 3 and float(expected.detach().abs().max()) > 1  # the control: 1e-4 is little beside it


@pytest.mark.usefixtures("present")
def test_a_frozen_weight_costs_one_product_on_the_way_back(asked) -> None:
    x, weight, bias = drawn(64, 96)
    with Products():
        found = F.linear(x, weight.detach(), bias.detach())
    torch.autograd.grad(found.sum(), x)
    assert asked == [(96, 64), (64, 96)]


@pytest.mark.parametrize("kind", ["half", "vector", "empty", "autocast", "subclass", "double"])
def test_what_does_not_suit_is_left_to_torch(kind: str, asked) -> None:
    x, weight, bias = (tensor.detach() for tensor in drawn(64, 96))
    match kind:
        case "half" | "double":
            dtype = torch.bfloat16 if kind == "half" else torch.float64
            x, weight, bias = x.to(dtype), weight.to(dtype), bias.to(dtype)
        case "vector":
            x = x[0, 0]
        case "empty":
            x = x[:0]
        case "subclass":
            weight = weight.as_subclass(type("Split", (torch.Tensor,), {}))
    with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
        expected = F.linear(x, weight, bias)
        with Products():
            found = F.linear(x, weight, bias)
    assert torch.equal(found, expected) and not asked


def slopes_of(loaded: Loaded) -> list[torch.Tensor]:
    found = read(loaded.model, loaded.tokenizer, PASSAGES).log_probs
    weights = torch.linspace(0.1, 1.0, len(PASSAGES))
    return [found.detach(), *torch.autograd.grad((found * weights).mean(), list(trainable(loaded.model).values()))]


@pytest.mark.by_day("gpt2", "llama", "opt", "gemma3")
@pytest.mark.usefixtures("present")
@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_step_of_every_family_with_it_and_without_it(family, asked, monkeypatch) -> None:
    loaded = adapted(family)
    ours = slopes_of(loaded)
    assert len(asked) > 10
    asked.clear()
    monkeypatch.setattr(cpu_kernels, "available", lambda: False)
    theirs = slopes_of(loaded)
    assert not asked
    for one, other in zip(ours, theirs, strict=True):
        assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)
