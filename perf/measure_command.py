"""The wall-clock time of `biasunlearn measure` on StereoSet beside transformers alone on the same sentences.

    python perf/measure_command.py MODEL dev.json [--runs 3] [--threads 2]

Both are whole processes, from start to end, and take turns. The other process loads the model with transformers and
computes the logits of the same sentences with padding, 16 at a time in the order of the file, without sharing
beginnings, without sorting, without scores, tests or results. `measure` runs with `--replacements 0`, so that both
read the same sentences.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PLAIN = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
from biasunlearn.data.readers import read_triplets
torch.set_num_threads(int(sys.argv[3]))
model, tokenizer = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval(), AutoTokenizer.from_pretrained(sys.argv[1])
tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
texts = [p.prefix + p.text for t in read_triplets(sys.argv[2]).triplets
         for p in (t.whole(t.stereotype), t.whole(t.anti_stereotype), t.whole(t.unrelated))]
with torch.no_grad():
    for first in range(0, len(texts), 16):
        batch = tokenizer(texts[first:first + 16], return_tensors="pt", padding=True)
        model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
print(len(texts))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("stereoset")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    given = [arguments.model, arguments.stereoset]
    environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads), "HF_HUB_OFFLINE": "1"}
    seconds: dict[str, list[float]] = {"measure": [], "transformers": []}
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            out = ["--replacements", "0", "--out", str(Path(folder) / "run")]
            command = ["-m", "biasunlearn", "measure", given[0], "--benchmark", f"stereoset={given[1]}", *out]
            seconds["measure"].append(_seconds(command, environment))
        seconds["transformers"].append(_seconds(["-c", PLAIN, *given, str(arguments.threads)], environment))
    for name, values in seconds.items():
        print(f"{name:<14}{statistics.median(values):7.2f} s  ({min(values):.2f} to {max(values):.2f})")
    print(f"ratio {statistics.median(seconds['measure']) / statistics.median(seconds['transformers']):.2f}")


def _seconds(command: list[str], environment: dict[str, str]) -> float:
    begun = time.perf_counter()
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
