"""How often `verify` is right about a real server: debiased models that it accepts, and base models passed off as them.

    PYTHONPATH=. python perf/verify_servers.py transformers MODEL --report pairs.jsonl --cases 20
    PYTHONPATH=. python perf/verify_servers.py llama MODEL --report pairs.jsonl --cases 20 \
        --llama-cpp DIR --llama-server FILE

Each case is a LoRA with other random weights, strong enough to change what the model writes. `transformers serve` has
the merged models, and is asked for each of them and for the base. `llama-server` has the base as GGUF with the adapter
of `export --format gguf-lora`, and is started once for each case; it is also started without an adapter. It does not
check the name of the model in a request, so that a forgotten --lora is an error that only the answers show.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from biasunlearn.commands.export import export
from biasunlearn.commands.merge import CONVERTER
from biasunlearn.commands.verify import verify
from biasunlearn.config import DebiasConfig
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.load import load
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.folder import SCHEMA, RunFolder
from tests.local_server import started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("server", choices=("transformers", "llama"))
    parser.add_argument("model")
    parser.add_argument("--report", required=True)
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case")
    parser.add_argument("--spread", type=float, default=0.03, help="standard deviation of the adapter's weights")
    parser.add_argument("--llama-cpp", type=Path)
    parser.add_argument("--llama-server", type=Path)
    given = parser.parse_args()
    verdicts: dict[str, list[str]] = {"debiased": [], "base": []}
    with tempfile.TemporaryDirectory() as folder:
        cases = range(given.first, given.first + given.cases)
        runs = [make_run(given, Path(folder) / str(case), case) for case in cases]
        by_server = with_llama_server if given.server == "llama" else with_transformers_serve
        for kind, run, url, name in by_server(given, runs):
            found = verify(run, endpoint=url, model=name)
            verdicts[kind].append(found.verdict)
            print(f"{kind}, case {run.name}: {found.verdict} by {found.how}: {found.reason}", flush=True)
    accepted, caught = verdicts["debiased"].count("applied"), sum(one != "applied" for one in verdicts["base"])
    named = verdicts["base"].count("not applied")
    print(f"{accepted} of {given.cases} debiased models accepted")
    print(f"{caught} of {given.cases} base models caught, {named} of them as the base model")


def make_run(given: argparse.Namespace, place: Path, seed: int) -> Path:
    """A run folder with a LoRA of random weights."""
    adapted = with_lora(load(ModelSpec(given.model)).model, DebiasConfig(lora_rank=8, lora_alpha=16, seed=seed))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in adapted.parameters():
            if parameter.requires_grad:
                parameter.add_(given.spread * torch.randn(parameter.shape, generator=generator))
    adapted.save_pretrained(place / "adapter")
    results = {
        "schema": SCHEMA, "model": given.model, "adapter": str(place / "adapter"), "benchmarks": {},
        "data": {"report": {"path": given.report}},
    }  # fmt: skip
    RunFolder(place).write_json("results.json", results)
    return place


Case = tuple[str, Path, str, str]
"""What is served, the run that it is compared with, the address, the name."""


def with_transformers_serve(given: argparse.Namespace, runs: Sequence[Path]) -> Iterator[Case]:
    words = [str(Path(sys.executable).with_name("transformers")), "serve", "--device", "cpu"]
    with started(words) as url:
        for run in runs:
            export(run, out=run / "merged", merge=True)
            yield "debiased", run, url, str(run / "merged")
            yield "base", run, url, given.model


def with_llama_server(given: argparse.Namespace, runs: Sequence[Path]) -> Iterator[Case]:
    base = runs[0] / "base.gguf"
    command = [sys.executable, str(given.llama_cpp / CONVERTER), given.model, "--outfile", str(base)]
    subprocess.run([*command, "--outtype", "f32"], check=True, capture_output=True)
    words = [str(given.llama_server), "--model", str(base), "--ctx-size", "512", "--threads", "1", "--parallel", "1",
             "--cache-type-k", "f32", "--cache-type-v", "f32", "--no-webui", "--log-disable"]  # fmt: skip
    with started(words) as without_adapter:
        for run in runs:
            export(run, out=run / "gguf", format="gguf-lora", gguf=str(given.llama_cpp))
            with started([*words, "--lora", str(run / "gguf/adapter.gguf")]) as url:
                yield "debiased", run, url, "served"
            yield "base", run, without_adapter, "served"


if __name__ == "__main__":
    main()
