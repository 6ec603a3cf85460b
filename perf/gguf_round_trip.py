"""SS of a run by transformers and by llama.cpp: what the way through GGUF changes.

    python perf/gguf_round_trip.py RUN --stereoset dev.json --llama-cpp path/to/llama.cpp --items 300

Base and adapter are converted with llama.cpp's own scripts (`export --format gguf-lora` for the adapter). llama.cpp
then scores the same token ids, in float32, through the package llama-cpp-python, without and with the adapter.
Printed are the largest difference of a sentence's mean log-probability, the SS of each of the four, and, as a control,
how far the adapter moves the scores.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from biasunlearn.commands.export import export
from biasunlearn.commands.merge import CONVERTER
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Triplet
from biasunlearn.models.adapter_scale import scaled
from biasunlearn.models.batches import TokenRow, collate
from biasunlearn.models.forward import evaluating, logits_at
from biasunlearn.models.load import Loaded
from biasunlearn.models.logprobs import token_log_probs
from biasunlearn.scoring.side_by_side import open_run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--stereoset", required=True)
    parser.add_argument("--llama-cpp", type=Path, required=True)
    parser.add_argument("--items", type=int, default=300)
    given = parser.parse_args()
    triplets = read_triplets(given.stereoset).triplets
    triplets = triplets[:: max(1, len(triplets) // given.items)][: given.items]
    loaded, adapter = open_run(given.run)
    ids = [tuple(loaded.tokenizer(side.text)["input_ids"]) for one in triplets
           for side in (one.stereotype, one.anti_stereotype)]  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        base, lora = converted(given.run, loaded, given.llama_cpp, Path(place))
        there = {False: by_llama_cpp(base, None, ids), True: by_llama_cpp(base, lora, ids)}
    here = {on: by_transformers(loaded, adapter, on, ids) for on in (False, True)}
    for on, name in ((False, "base"), (True, "debiased")):
        off = (there[on] - here[on]).abs()
        print(f"{name}: largest difference {off.max():.2g} nats a token, mean {off.mean():.2g}")
        print(f"  SS {ss(triplets, here[on]):.2f} by transformers, {ss(triplets, there[on]):.2f} by llama.cpp")
    print(f"control: the adapter moves a score by up to {(here[True] - here[False]).abs().max():.2g} nats a token")


def converted(run: Path, loaded: Loaded, llama_cpp: Path, place: Path) -> tuple[Path, Path]:
    """The base model and the adapter of a run as GGUF files."""
    base = place / "base.gguf"
    command = [sys.executable, str(llama_cpp / CONVERTER), loaded.model.name_or_path, "--outfile", str(base)]
    subprocess.run([*command, "--outtype", "f32"], check=True, capture_output=True)
    export(run, out=place / "lora", format="gguf-lora", gguf=str(llama_cpp))
    return base, place / "lora/adapter.gguf"


def by_llama_cpp(base: Path, lora: Path | None, rows: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """[rows], the mean log-probability of the tokens after the first."""
    import llama_cpp

    model = llama_cpp.Llama(
        str(base), lora_path=None if lora is None else str(lora), n_ctx=512, n_threads=1, logits_all=True,
        type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32, verbose=False,
    )  # fmt: skip
    found = []
    for ids in rows:
        model.reset()
        model.eval(list(ids))
        values = torch.tensor(model.scores[: len(ids) - 1]).log_softmax(-1)
        found.append(float(values.gather(1, torch.tensor(ids[1:])[:, None]).mean()))
    return torch.tensor(found)


def by_transformers(loaded: Loaded, adapter: str, on: bool, rows: Sequence[tuple[int, ...]]) -> torch.Tensor:
    """The same by this package."""
    found = []
    with scaled(loaded.model, float(on), adapter), evaluating(loaded.model):
        for ids in rows:
            batch = collate([TokenRow(ids, 1)], device=loaded.device)
            values = token_log_probs(logits_at(loaded.model, batch), batch.targets)
            found.append(float(values.mean()))
    return torch.tensor(found)


def ss(triplets: Sequence[Triplet], scores: torch.Tensor) -> float:
    """Share of the pairs in which the stereotype is the likelier sentence, in percent; pools the items."""
    return float((scores[::2] > scores[1::2]).double().mean() * 100)


if __name__ == "__main__":
    main()
