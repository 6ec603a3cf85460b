"""The benchmark of a CUDA card, on the CPU with tiny shapes: every case runs, and what fails is a row of the table."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "perf/bench_gpu.py"

needs_bitsandbytes = pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed: pip install '.[quantised]'"
)


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import bench
    import bench_gpu

    monkeypatch.setattr(bench, "ROLES", bench.ROLES)
    yield bench_gpu
    for name in ("bench_gpu", "bench", "plain_loop"):
        sys.modules.pop(name, None)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "dtype", "side"),
    [
        ("gpt2-medium", "bfloat16", "ours"),
        ("llama-8b", "bfloat16", "ours"),
        pytest.param("qwen3-8b", "4bit", "ours", marks=needs_bitsandbytes),
        ("qwen3-8b", "bfloat16", "plain"),
    ],
)
def test_every_kind_of_case_runs_with_a_tiny_shape(gpu, model, dtype, side):
    found = gpu.measure(gpu.Case(model, dtype, side), tiny=True)
    assert found["rate"] > 0 and found["memory"] > 0 and found["tokens"] > 4
    what = {"ours": ("scoring", "first", "later"), "plain": ("plain", "plain")}[side]
    assert all(found["scoring" if number == 0 else "step"][name] > 0 for number, name in enumerate(what))


@needs_bitsandbytes
def test_a_model_in_4_bits_has_as_many_weights_and_other_layers(gpu):
    import bench
    import torch

    case = gpu.Case("llama-8b", "bfloat16", "ours")
    clusters = bench._clusters(None)[:40]
    whole = gpu._loaded(case, torch.device("cpu"), clusters, gpu.TINY["llama-8b"]).model
    quantised = gpu._loaded(gpu.Case("llama-8b", "4bit", "ours"), torch.device("cpu"), clusters, gpu.TINY["llama-8b"])
    kinds = [type(one).__name__ for one in quantised.model.modules()]
    assert kinds.count("Linear4bit") == 14 and kinds.count("Linear") == 1  # the output layer
    assert bench._size(quantised.model) == bench._size(whole)


def test_the_shapes_are_the_published_ones(gpu):
    """Weights of the linear layers of Llama-3-8B: 32 (2 4096^2 + 2 4096 1024 + 3 4096 14336) = 6.98e9."""
    shape = gpu.LARGE["llama-8b"]
    width, inner = shape["hidden_size"], shape["intermediate_size"]
    keys = width * shape["num_key_value_heads"] // shape["num_attention_heads"]
    assert shape["num_hidden_layers"] * (2 * width**2 + 2 * width * keys + 3 * width * inner) == 6_979_321_856


def test_a_case_that_fails_or_has_no_time_left_is_a_row_that_says_so(gpu, monkeypatch):
    def run(command, **_):
        if "plain" in command:
            raise subprocess.TimeoutExpired(command, 7)
        return subprocess.CompletedProcess(command, 1, "", "Traceback\ntorch.OutOfMemoryError: CUDA out of memory")

    monkeypatch.setattr(gpu.subprocess, "run", run)
    found = gpu.run_cases(["llama-8b"], 1.0, tiny=True)
    rows = list(gpu.table(found))
    assert "| out of memory |" in rows[2] and "stopped after" in rows[2]
    assert rows[0].count("|") == rows[1].count("|") == rows[2].count("|")
    late = gpu.run_cases(["llama-8b"], 0.0, tiny=True)
    assert set(late.values()) == {"no time left"}


def test_the_shares_by_hand(gpu):
    """100 tokens in 0.1 s are 1,000 per second; 2e9 operations in 0.1 s at 1e11 per second are a share of 20 %."""
    ours = {"tokens": 100, "rate": 1e11, "memory": 3e9, "scoring": {"scoring": 0.1, "operations": 2e9},
            "step": {"first": 0.5, "later": 0.4, "operations": 2e10}}  # fmt: skip
    plain = {"tokens": 100, "rate": 1e11, "memory": 9e9, "scoring": {"plain": 1.0}, "step": {"plain": 4.0}}
    assert gpu._cells(ours, plain) == ["1,000", "20%", "100", "0.50 s", "0.40 s", "50%", "4.00 s", "3.0 GB", "9.0 GB"]
