"""The speed-up of scoring and of training steps by two processes of one thread each, beside one process of one thread.

    python perf/two_processes.py MODEL dev.json --train train_pairs.jsonl --unrelated unrelated.json [--runs 3]

Both are processes of their own that take turns: one process alone, and two that torch's launcher starts and that share
the work over gloo. Loading the model is not part of the times. Scoring: the seconds for `--items` random items.
Steps: the median seconds between two steps of the default recipe, whose batch the two processes divide. The
control: the scores of both, and the losses of the last step, must be the same but for rounding.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from biasunlearn.config import DebiasConfig
from biasunlearn.data.readers import read_triplets
from biasunlearn.models.adapters import with_lora
from biasunlearn.models.load import load
from biasunlearn.scoring.triplets import score_sentences
from biasunlearn.stats.stereoset import comparisons
from biasunlearn.unlearn.checkpoint import Checkpointer
from biasunlearn.unlearn.evaluation import BaseAnswers, base_pairs, stop_scores
from biasunlearn.unlearn.prepare import training_data
from biasunlearn.unlearn.trainer import train

LOSSES = ("loss_forget", "loss_retain", "loss_kl", "loss_invariance")


def main() -> None:
    given = arguments()
    if given.result:
        measured = measure(given)
        if int(os.environ.get("RANK", "0")) == 0:
            given.result.write_text(json.dumps(measured))
        return
    found: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for _ in range(given.runs):
        for processes, results in found.items():
            results.append(in_processes(processes))
    print(f"{time.strftime('%Y-%m-%d %H:%M')}, one thread per process, load {os.getloadavg()[0]:.1f}")
    for name in ("scoring", "step"):
        times = {processes: [one[name] for one in results] for processes, results in found.items()}
        ratio = statistics.median(times[1]) / statistics.median(times[2])
        one, two = (f"{statistics.median(v):.2f} s ({min(v):.2f} to {max(v):.2f})" for v in times.values())
        print(f"{name}: one process {one}, two processes {two}, speed-up {ratio:.2f}")
    for name in ("scores", "losses"):
        alone, shared = found[1][0][name], found[2][0][name]
        print(f"{name}: largest difference {max(abs(a - b) for a, b in zip(alone, shared, strict=True)):.1e}")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("stereoset")
    parser.add_argument("--train", required=True)
    parser.add_argument("--unrelated", required=True)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def in_processes(number: int) -> dict[str, Any]:
    """What `measure` finds in so many processes."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(number)] if number > 1 else []
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, *launcher, __file__, *sys.argv[1:], "--result", str(result)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(command)}\n{done.stderr}")
        return dict(json.loads(result.read_text()))


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of scoring and of a step in this process, which may be one of several."""
    config = DebiasConfig(
        max_steps=given.steps, stop_items=5, first_evaluation=given.steps, evaluate_every=given.steps, warmup=2
    )
    loaded = load(given.model)
    triplets = [one for one in read_triplets(given.stereoset).triplets if one.kind == "intrasentence"]
    random.Random(0).shuffle(triplets)
    score_sentences(loaded, triplets[:8])
    waited()
    begun = time.perf_counter()
    items = score_sentences(loaded, triplets[8 : 8 + given.items])
    waited()
    scoring = time.perf_counter() - begun
    rows, times = steps(loaded, given, config)
    return {
        "scoring": scoring,
        "step": statistics.median(b - a for a, b in zip(times[1:], times[2:], strict=False)),
        "scores": [one.score for one in items],
        "losses": [rows[-1][name] for name in LOSSES],
    }


def steps(loaded: Any, given: argparse.Namespace, config: DebiasConfig) -> tuple[list[dict[str, Any]], list[float]]:
    """The rows of the steps and the moments at which they ended; the last one, after which SS is evaluated, apart."""
    data = training_data(given.train, None, given.unrelated, config)

    def compared(model: Any, pairs: Any) -> Any:
        return comparisons(score_sentences(loaded.in_training(model), pairs))

    base = BaseAnswers(
        compared(loaded.model, data.stop), compared(loaded.model, base_pairs(data.train, data.stop, config.stop_items))
    )
    model, times, rows = with_lora(loaded.model, config), [], []

    def noted(row: dict[str, Any]) -> None:
        if "loss_forget" in row:
            rows.append(row)
            times.append(time.perf_counter())

    train(
        model, loaded.tokenizer, data.sets, lambda: stop_scores(compared(model, data.stop), seed=0, base=base), config,
        Checkpointer(None), on_step=noted,
    )  # fmt: skip
    return rows, times[:-1]


def waited() -> None:
    """All processes are here."""
    if torch.distributed.is_initialized():
        torch.distributed.barrier()


if __name__ == "__main__":
    main()
