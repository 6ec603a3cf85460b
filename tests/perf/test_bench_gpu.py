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


@pytest.mark.slow
@pytest.mark.parametrize("model", ["gpt2-medium", "llama-8b", "qwen3-8b"])
def test_long_contexts_with_a_tiny_shape(gpu, model):
    """Four lines: a context of 150 tokens and 8 times 20 tokens behind it. Scores differ as bfloat16 does."""
    found = gpu.measure_long(gpu.Case(model, "bfloat16", "long"), tiny=True)
    assert (found["lines"], found["width"]) == (4, 310)
    assert all(found[way]["first"] > 0 and found[way]["memory"] > 0 for way in ("pairs", "blocks"))
    assert found["difference"] < 0.5
    (row,) = list(gpu.long_table({gpu.Case(model, "bfloat16", "long"): found}))[2:]
    assert row.startswith(f"| {model} | 4 of 310 |") and row.count("|") == gpu.LONG_HEADER.count("|")


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


def test_a_way_that_fails_is_a_cell_that_says_so(gpu):
    pairs = {"first": 2.0, "best": 1.25, "memory": 3e9}
    found = {"pairs": pairs, "blocks": {"error": "no Triton"}, "lines": 4, "width": 1184, "difference": None}
    assert gpu._long_cells(found) == ["4 of 1,184", "1.250 s", "no Triton", "", "3.0 GB", "", ""]
    rows = list(gpu.long_table({gpu.Case("llama-8b", "bfloat16", "long"): "out of memory"}))
    assert rows[2].startswith("| llama-8b | out of memory |") and rows[2].count("|") == rows[0].count("|")


def test_the_shares_by_hand(gpu):
    """100 tokens in 0.1 s are 1,000 per second; 2e9 operations in 0.1 s at 1e11 per second are a share of 20 %."""
    ours = {"tokens": 100, "rate": 1e11, "memory": 3e9, "scoring": {"scoring": 0.1, "operations": 2e9},
            "step": {"first": 0.5, "later": 0.4, "operations": 2e10}}  # fmt: skip
    plain = {"tokens": 100, "rate": 1e11, "memory": 9e9, "scoring": {"plain": 1.0}, "step": {"plain": 4.0}}
    assert gpu._cells(ours, plain) == ["1,000", "20%", "100", "0.50 s", "0.40 s", "50%", "4.00 s", "3.0 GB", "9.0 GB"]
