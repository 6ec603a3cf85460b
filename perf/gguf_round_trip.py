"""SS and LMS of a run by this package and by llama.cpp: what the way through GGUF changes.

    python perf/gguf_round_trip.py RUN --stereoset dev.json --llama-cpp path/to/llama.cpp --items 300

The base is converted by llama.cpp's own script in float32, float16 and 8 bits, and the adapter by `export --format
gguf-lora`. llama.cpp then scores the same token ids through the package llama-cpp-python, without and with the adapter.
The last line is the control: how far the adapter moves the scores.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from biasunlearn.benchmarks.stereoset import entry
from biasunlearn.commands.export import export
from biasunlearn.commands.merge import CONVERTER
from biasunlearn.data.readers import read_triplets
from biasunlearn.models.adapter_scale import scaled
from biasunlearn.models.batches import TokenRow, encode
from biasunlearn.scoring.log_prob import Score, score
from biasunlearn.scoring.side_by_side import open_run
from biasunlearn.scoring.triplets import RoleSentence, role_sentences, sentence_items

PRECISIONS = ("f32", "f16", "q8_0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--stereoset", required=True)
    parser.add_argument("--llama-cpp", type=Path, required=True)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=PRECISIONS)
    given = parser.parse_args()
    triplets = [one for one in read_triplets(given.stereoset).triplets if one.kind == "intrasentence"]
    asked = role_sentences(triplets[:: max(1, len(triplets) // given.items)][: given.items])
    passages = [triplet.whole(sentence) for triplet, _, sentence in asked]
    loaded, adapter = open_run(given.run)
    rows = encode(loaded.tokenizer, passages)
    here = {}
    for on in (False, True):
        with scaled(loaded.model, float(on), adapter):
            here[on] = score(loaded, passages)
    print(f"{len(asked)} sentences\n| GGUF | model | SS, LMS here | SS, LMS by llama.cpp | pairs in another order | "
          "difference per token, mean and largest |\n|---|---|---|---|---|---|")  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        export(given.run, out=Path(place) / "lora", format="gguf-lora", gguf=str(given.llama_cpp))
        for precision in given.precisions:
            base = converted(str(loaded.model.name_or_path), given.llama_cpp, Path(place) / f"{precision}.gguf")
            for on, name in ((False, "base"), (True, "debiased")):
                there = by_llama_cpp(base, Path(place) / "lora/adapter.gguf" if on else None, rows)
                print(f"| {precision} | {name} | {compared(asked, here[on], there)} |", flush=True)
    moved = max(abs(one.mean - other.mean) for one, other in zip(here[False], here[True], strict=True))
    print(f"control: the adapter moves a score by up to {moved:.2g} nats a token")


def converted(model: str, llama_cpp: Path, to: Path) -> Path:
    command = [sys.executable, str(llama_cpp / CONVERTER), model, "--outfile", str(to), "--outtype", to.stem]
    subprocess.run(command, check=True, capture_output=True)
    return to


def by_llama_cpp(base: Path, lora: Path | None, rows: Sequence[TokenRow]) -> list[Score]:
    """log p of the scored tokens of each row; keys and values are stored in float32."""
    import llama_cpp

    model = llama_cpp.Llama(
        str(base), lora_path=None if lora is None else str(lora), n_ctx=512, n_threads=1, n_threads_batch=1,
        logits_all=True, type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32, verbose=False,
    )  # fmt: skip
    found = []
    for row in rows:
        model.reset()
        model.eval(list(row.ids))
        values = torch.tensor(model.scores[: len(row.ids) - 1]).double().log_softmax(-1)
        scored = values.gather(1, torch.tensor(row.ids[1:])[:, None])[row.first_scored - 1 :]
        found.append(Score(float(scored.sum()), row.scored))
    return found


def compared(asked: Sequence[RoleSentence], here: Sequence[Score], there: Sequence[Score]) -> str:
    """The cells of a row of the table."""
    scores = []
    for found in (here, there):
        overall = entry(sentence_items(asked, found)).overall
        scores.append(", ".join(f"{value.value:.2f}" for name in ("ss", "lms") if (value := overall.interval(name))))
    off = [abs(one.mean - other.mean) for one, other in zip(here, there, strict=True)]
    order = [[found[place].mean > found[place + 1].mean for place, (_, role, _) in enumerate(asked)
              if role == "stereotype"] for found in (here, there)]  # fmt: skip
    changed = sum(one != other for one, other in zip(*order, strict=True))
    return f"{scores[0]} | {scores[1]} | {changed} of {len(order[0])} | {sum(off) / len(off):.1e}, {max(off):.1e}"


if __name__ == "__main__":
    main()
