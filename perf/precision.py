"""How far scores in bfloat16, 8 and 4 bits are from float32, on StereoSet: the error of SS, and the time.

    python perf/precision.py /path/to/model dev.json --items 600 --dtypes bfloat16 8bit

The items are the first ones of a random order. For each precision: SS (the mean over items) and its difference from
float32 with a paired standard error, the share of items whose answer differs, the mean absolute difference of a score
in nats per token, and the processor time of a sentence. Everything runs on the CPU with the threads that torch has.
"""

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Triplet
from biasunlearn.models.cpu_bfloat16 import difference_note, support_note
from biasunlearn.models.load import load
from biasunlearn.models.spec import ModelSpec
from biasunlearn.scoring.triplets import score_sentences
from biasunlearn.stats.stereoset import comparisons


@dataclass(frozen=True, slots=True)
class Scored:
    """What one precision gives."""

    scores: np.ndarray
    """[sentences], mean log-probability of a token."""
    stereotyped: np.ndarray
    """[items], 0 or 1."""
    milliseconds: float
    """Processor time of a sentence."""
    note: str


def scored(model: str, triplets: Sequence[Triplet], dtype: str) -> Scored:
    """Scores the items with the model in this precision; the first items are scored twice, so that all is warm."""
    loaded = load(ModelSpec(model, dtype=dtype, device="cpu"))
    score_sentences(loaded, triplets[:4])
    begun = time.process_time()
    items = score_sentences(loaded, triplets)
    spent = 1000 * (time.process_time() - begun) / len(items)
    answers = np.array([one.stereotyped for one in comparisons(items)])
    return Scored(np.array([item.score for item in items]), answers, spent, difference_note(loaded.model))


def lines(model: str, triplets: Sequence[Triplet], dtypes: Sequence[str]) -> Iterator[str]:
    """The table, in Markdown."""
    yield f"{len(triplets)} items. {support_note()}"
    yield ""
    yield "| precision | SS | SS less that of float32 | other answers | score, nats per token | ms per sentence |"
    yield "|---|---|---|---|---|---|"
    exact = scored(model, triplets, "float32")
    yield f"| float32 | {100 * exact.stereotyped.mean():.2f} | | | | {exact.milliseconds:.1f} |"
    for dtype in dtypes:
        found = scored(model, triplets, dtype)
        change = found.stereotyped - exact.stereotyped
        error = 100 * change.std(ddof=1) / len(change) ** 0.5
        yield (
            f"| {dtype} | {100 * found.stereotyped.mean():.2f} | {100 * change.mean():+.2f} +- {error:.2f} | "
            f"{100 * np.abs(change).mean():.1f} % | {np.abs(found.scores - exact.scores).mean():.4f} | "
            f"{found.milliseconds:.1f} |"
        )
        if found.note:
            yield f"| | {found.note} | | | | |"


def main() -> None:
    parser = argparse.ArgumentParser(description="The error of SS in other precisions than float32")
    parser.add_argument("model", help="folder of a model")
    parser.add_argument("stereoset", help="a file of StereoSet items")
    parser.add_argument("--items", type=int, default=600)
    parser.add_argument("--dtypes", nargs="+", default=["bfloat16", "8bit"])
    given = parser.parse_args()
    triplets = [one for one in read_triplets(given.stereoset).triplets if one.kind == "intrasentence"]
    random.Random(0).shuffle(triplets)
    for line in lines(given.model, triplets[: given.items], given.dtypes):
        print(line, flush=True)


if __name__ == "__main__":
    main()
