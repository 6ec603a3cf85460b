"""`verify` against `llama-server`, a real server with a GGUF base and a GGUF LoRA: on, at half strength, and off.

The server lists its adapter in all three cases. It is started without its two caches of prompts: after a change of the
scale they would still hold keys and values of the scale before. Needs llama.cpp: its folder in $LLAMA_CPP, and
llama-server in $LLAMA_SERVER or on PATH.
"""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest

from biasunlearn.commands.export import export
from biasunlearn.commands.merge import CONVERTER
from biasunlearn.commands.verify import verify
from biasunlearn.config import DebiasConfig
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.load import load
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.folder import SCHEMA, RunFolder
from tests import tiny, variants
from tests.local_server import started
from tests.shared_data import SHARED

MODEL = SHARED / "models/stories260K"
LLAMA_CPP = Path(os.environ.get("LLAMA_CPP", "missing"))
SERVER = os.environ.get("LLAMA_SERVER") or shutil.which("llama-server")


def make_run(place):
    """A run folder with a LoRA of random weights, strong enough to change what the model writes."""
    variants.write_pairs(place / "report.jsonl")
    adapted = with_lora(load(ModelSpec(str(MODEL))).model, DebiasConfig(lora_rank=8, lora_alpha=16))
    tiny.perturb(adapted, spread=0.015)
    adapted.save_pretrained(place / "run/adapter")
    results = {
        "schema": SCHEMA, "model": str(MODEL), "adapter": str(place / "run/adapter"), "benchmarks": {},
        "data": {"report": {"path": str(place / "report.jsonl")}},
    }  # fmt: skip
    RunFolder(place / "run").write_json("results.json", results)
    return place / "run"


def adapters(url, scale=None):
    """What the server lists; with a scale, after setting that of its only adapter."""
    address = url.removesuffix("/v1") + "/lora-adapters"
    if scale is not None:
        body = json.dumps([{"id": 0, "scale": scale}]).encode()
        headers = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(address, body, headers), timeout=30).close()
    with urllib.request.urlopen(address, timeout=30) as reply:
        return json.load(reply)


@pytest.mark.slow
@pytest.mark.skipif(
    not (LLAMA_CPP / CONVERTER).exists() or SERVER is None or not MODEL.is_dir()
    or not all(find_spec(name) for name in ("openai", "sentencepiece")),
    reason="no llama.cpp in $LLAMA_CPP, no llama-server in $LLAMA_SERVER, no sentencepiece, no openai or no model",
)  # fmt: skip
def test_llama_server_with_the_adapter_on_at_half_strength_and_off(tmp_path):
    run = make_run(tmp_path)
    base = tmp_path / "base.gguf"
    converter = [sys.executable, str(LLAMA_CPP / CONVERTER), str(MODEL)]
    subprocess.run([*converter, "--outfile", str(base), "--outtype", "f32"], check=True, capture_output=True)
    export(run, out=tmp_path / "gguf", format="gguf-lora", gguf=str(LLAMA_CPP))
    words = [str(SERVER), "--model", str(base), "--ctx-size", "256", "--threads", "1", "--parallel", "1",
             "--cache-type-k", "f32", "--cache-type-v", "f32", "--no-cache-prompt", "--cache-ram", "0",
             "--log-disable"]  # fmt: skip
    found, listed = {}, {}
    with started([*words, "--lora", str(tmp_path / "gguf/adapter.gguf")]) as url:
        for scale in (1.0, 0.5, 0.0):
            listed[scale] = [(Path(one["path"]).name, one["scale"]) for one in adapters(url, scale)]
            found[scale] = verify(run, endpoint=url, model="served")
    assert listed == {scale: [("adapter.gguf", scale)] for scale in (1.0, 0.5, 0.0)}
    verdicts = {scale: (one.verdict, one.reason) for scale, one in found.items()}
    assert [verdicts[scale][0] for scale in (1.0, 0.0)] == ["applied", "not applied"], verdicts
    assert verdicts[0.5][0] == "partly", verdicts
    assert {one.how for one in found.values()} == {"continuations"}
    assert (found[1.0].nearer, found[0.0].as_base) == (found[1.0].n, found[0.0].n)
