"""Kills every command that writes, at random moments, and resumes it: the results must be those of a run left alone.

    PYTHONPATH=. nice -n 15 .venv/bin/python perf/kills.py --kills 100 [--seed 0] [--only measure,transfer]

Every command is a process of its own that runs the command line on a tiny model (tests/warm.py forks them from one that
has imported everything). It is killed with SIGKILL once it has used a random amount of processor time, started again
with --resume (or as it was, for commands that need no option for it), and perhaps killed again. What it leaves in the
end is compared with the run that nobody killed: every file, bit for bit, except for times, costs and the command line.
Of `sweep`, which draws its settings without a seed, the trials that had finished before a kill must still be there.

One line is printed per run, and at the end the kills, the runs, the adapters compared, and the losses, with exit code 1
if there are any.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet

from tests import tiny, variants
from tests.warm_client import Warm

KILLED = -signal.SIGKILL

VARIES = {"environment", "cost", "seconds", "processor_seconds", "memory"}
"""Keys of a JSON file that differ between any two runs."""

SHORT = (
    "max_steps=4", "first_evaluation=2", "evaluate_every=2", "forget_batch=4", "retain_batch=4", "unrelated_batch=2",
    "learning_rate=0.02", "batch_tokens=500",
)  # fmt: skip


@dataclass(frozen=True)
class Command:
    """A command that writes to `out` in its working folder, and how it is called again after a kill."""

    words: tuple[str, ...]
    option: tuple[str, ...] = ()
    """--resume, where the command has it; it is given once there is something to resume."""
    compare: Callable[[Path], Any] | None = None
    """What is compared, where it is not everything."""
    last: str = ""
    """The file that is written last, where a command that has written it refuses to be called again."""


def commands(place: Path) -> dict[str, Command]:
    """All commands that write, on the files that `prepare` made."""
    model, run, other = (str(place / name) for name in ("model", "run", "other"))
    train, report, text = (str(place / name) for name in ("train.jsonl", "report.jsonl", "text.txt"))
    resume = ("--resume",)
    data = ("--train", train, "--report", report, "--out", "out")
    short = tuple(part for value in SHORT for part in ("--set", value))
    also = ("--benchmark", f"perplexity={text}")
    return {
        "measure": Command(("measure", model, "--adapter", f"{run}/adapter", "--benchmark", f"stereoset={report}",
                            *also, "--out", "out"), resume),
        "debias": Command(("debias", model, *data, *short, *also), resume),
        "transfer": Command(("transfer", run, "--to", model, "--report", report, "--out", "out"), resume),
        "relearn": Command(("relearn", run, "--on", text, "--out", "out", "--batch", "4", "--length", "16", "--rate",
                            "0.01", "--steps", "0", "2"), resume),
        "survey": Command(("survey", model, *data, *short, "--methods", "biasunlearn", "npo", "--seeds", "0", "1")),
        "ablate": Command(("ablate", model, *data, *short, "--seeds", "0", "--variants", "full", "without-kl")),
        "sweep": Command(("sweep", model, *data, *short, "--trials", "3"), compare=trials),
        "combine": Command(("combine", f"{run}=0.5", f"{other}=0.5", "--report", report, "--out", "out"),
                           resume),
        "export": Command(("export", run, "--merge", "--out", "out")),
        "compare": Command(("compare", run, other, "--out", "out"), last="compare.json"),
    }  # fmt: skip


def prepare(place: Path) -> None:
    """A tiny model, its data, and two runs with trained adapters."""
    tiny.save(tiny.gpt2(n_layer=1), place / "model")
    variants.write_pairs(place / "train.jsonl")
    variants.write_pairs(place / "report.jsonl", ("old", "new"))
    (place / "text.txt").write_text("The baker is quick and the pilot is kind. " * 20)
    variants.debias(place, "run", str(place / "model"))
    variants.debias(place, "other", str(place / "model"), "--set", "seed=1")


def content(out: Path) -> dict[str, Any]:
    """Everything that a command has left, without what differs between any two runs."""
    found: dict[str, Any] = {}
    for path in sorted(out.rglob("*")):
        name = str(path.relative_to(out))
        if not path.is_file() or path.suffix == ".html":  # pages show times
            continue
        if path.suffix == ".json":
            found[name] = _steady(json.loads(path.read_text()))
        elif path.suffix == ".parquet":
            found[name] = pyarrow.parquet.read_table(path).to_pylist()
        else:
            found[name] = path.read_bytes()
    return found


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _steady(one) for key, one in value.items() if key not in VARIES}
    return [_steady(one) for one in value] if isinstance(value, list) else value


def trials(out: Path) -> Any:
    """Of a sweep: how many trials it ended with, and the values of the first one, which has the recipe's settings."""
    found = json.loads((out / "sweep.json").read_text())
    first = next((trial for trial in found["trials"] if trial["params"]["lora_rank"] == 8), found["trials"][0])
    return found["complete"] + found["pruned"], first["bias"] is not None, len(found["chosen"])


def adapters(found: Any) -> int:
    """How many trained adapters are among what was compared."""
    return sum(name.endswith("adapter_model.safetensors") for name in found) if isinstance(found, dict) else 0


def different(expected: Any, found: Any) -> list[str]:
    """The files that differ, or what was found where a command has a comparison of its own."""
    if not isinstance(expected, dict) or not isinstance(found, dict):
        return [str(found)]
    return sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))


def undisturbed(warm: Warm, command: Command, folder: Path) -> tuple[Any, float]:
    """What a command leaves that nobody kills, and the processor time that it takes."""
    code = warm.run(folder, [*command.words])
    assert code == 0, f"{folder.name}: exit code {code}: {end_of(folder)}"
    return (command.compare or content)(folder / "out"), warm.seconds


def end_of(folder: Path) -> str:
    return "\n".join((folder / "stderr").read_text(errors="replace").splitlines()[-3:])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="names of commands, separated by commas")
    given = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="kills-"))
    prepare(place)
    chosen = commands(place)
    if given.only:
        chosen = {name: chosen[name] for name in given.only.split(",")}
    warm, draw = Warm(f"biasunlearn-kills-{os.getpid()}", place / "warm.lock"), random.Random(given.seed)
    kills: Counter[str] = Counter()
    runs: Counter[str] = Counter()
    losses: list[str] = []
    compared = 0
    whole: dict[str, tuple[Any, float]] = {}
    while sum(kills.values()) < given.kills:
        for name, command in chosen.items():
            if sum(kills.values()) >= given.kills:
                break
            if name not in whole:
                whole[name] = undisturbed(warm, command, place / f"whole-{name}")
                print(f"{name}: {whole[name][1]:.1f} s of processor time, undisturbed", flush=True)
            folder, (expected, length) = place / f"killed-{name}-{runs[name]}", whole[name]
            problem = ""
            for left in range(draw.randint(1, 3), -1, -1):  # killed once to three times, then left alone
                if command.last and (folder / "out" / command.last).exists():  # killed after its work was done
                    break
                words = [*command.words, *(command.option if (folder / "out").exists() else ())]
                code = warm.killed(folder, words, at=draw.uniform(0, length)) if left else warm.run(folder, words)
                kills[name] += code == KILLED
                if code not in (0, KILLED):
                    problem = f"exit code {code}: {end_of(folder)}"
                if code != KILLED:
                    break
            found = (command.compare or content)(folder / "out") if not problem else None
            if not problem and found != expected:
                problem = f"differs in {', '.join(different(expected, found))}"
            runs[name] += 1
            compared += adapters(found)
            losses += [f"{name}, run {runs[name]}: {problem}"] if problem else []
            print(f"{name}: run {runs[name]}, {kills[name]} kills: {problem or 'equal'}", flush=True)
            if not problem:
                shutil.rmtree(folder)
    warm.close()
    print(f"{sum(kills.values())} kills in {runs.total()} runs of {len(chosen)} commands: {dict(kills)}")
    print(f"{compared} trained adapters compared bit for bit; losses: {len(losses)}")
    print("\n".join(losses))
    return int(bool(losses))


if __name__ == "__main__":
    sys.exit(main())
