"""Kills at any moment, full disks, damaged files, two runs at once: what is lost, and what the user is told.

Every command here is a process of its own that runs the command line (tests/warm.py forks them, so that a kill does not
cost an import), and every one that was killed is resumed until it ends as if nothing had happened, bit for bit.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch

from tests import tiny
from tests.models.test_distributed import pairs
from tests.warm import NO_MOUNT
from tests.warm_client import Warm

pytestmark = pytest.mark.slow

STEPS = 6

few_or_all = pytest.mark.parametrize("every", [
    pytest.param(False, id="kinds"), pytest.param(True, id="all", marks=pytest.mark.exhaustive),
])  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    tiny.save(tiny.gpt2(n_layer=1), folder / "model")
    pairs(folder / "train.jsonl", ("age", "work"))
    pairs(folder / "report.jsonl", ("old", "new"))
    (folder / "text.txt").write_text("The baker is quick and the pilot is kind. " * 20)
    return folder


def debias(place: Path, *more: str) -> list[str]:
    settings = (
        f"max_steps={STEPS}", "swap_noise=0", "lora_rank=8", "lora_alpha=16", "invariance_weight=0",
        "first_evaluation=2", "evaluate_every=2", "forget_batch=4", "unrelated_batch=2",
        "confirm=9",
        "lora_dropout=0.1", "learning_rate=0.003", "batch_tokens=500",
    )  # fmt: skip
    command = ["debias", str(place / "model"), "--train", str(place / "train.jsonl"),
               "--report", str(place / "report.jsonl"), "--out", "run", "--replacements", "1", *more]  # fmt: skip
    return command + [part for setting in settings for part in ("--set", setting)]


def measure(place: Path, *more: str) -> list[str]:
    return ["measure", str(place / "model"), "--benchmark", f"stereoset={place / 'report.jsonl'}",
            "--benchmark", f"perplexity={place / 'text.txt'}", "--out", "run", *more]  # fmt: skip


def content(run: Path) -> dict[str, Any]:
    """Everything that a finished run holds, bit for bit; of results.json all but the command and what it cost."""
    found: dict[str, Any] = {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("*") if p.is_file()}
    found["results.json"] = json.loads(found["results.json"])
    for differs in ("environment", "cost"):  # what only measured has no cost
        found["results.json"].pop(differs, None)
    found["items.parquet"] = pyarrow.parquet.read_table(run / "items.parquet").to_pylist()
    return {name: value for name, value in found.items() if name != "report.html"}


def said(cwd: Path) -> list[str]:
    """What stands on stderr, but for progress and notes."""
    lines = (cwd / "stderr").read_text().splitlines()
    return [line for line in lines if line.startswith("biasunlearn:")]


@pytest.fixture(scope="module")
def whole(warm: Warm, place: Path) -> dict[str, Any]:
    """The run that nothing happens to, from a command line started afresh: no fork, nothing imported before."""
    (place / "whole").mkdir()
    command = [sys.executable, "-m", "biasunlearn", *debias(place)]
    done = subprocess.run(command, cwd=place / "whole", capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = content(place / "whole/run")
    assert set(found) >= {"metrics.jsonl", "adapter/adapter_model.safetensors", "config.yaml", "results.json"}
    assert not any(name.startswith((".", "checkpoint", "scored")) for name in found)
    return found


@pytest.fixture(scope="module")
def states(warm: Warm, place: Path, whole: dict[str, Any]) -> list[Path]:
    """Every state that the run folder passes through, each in a folder of its own."""
    assert warm.run(place / "watched", debias(place), states=str(place / "states")) == 0
    assert content(place / "watched/run") == whole  # a forked run is the same as one that was started afresh
    return sorted((place / "states").iterdir())


def names(state: Path) -> set[str]:
    return {entry.name.split(".part")[0].rpartition(".")[0] + ".part" if ".part" in entry.name else entry.name
            for entry in (state / "run").iterdir()}  # fmt: skip


def kind(state: Path) -> tuple[frozenset[str], frozenset[str]]:
    """The names in the run folder, and those of the files of lines whose last line is cut short."""
    lines = [state / "run" / name for name in ("metrics.jsonl", "scored.jsonl")]
    cut = {path.name for path in lines if path.exists() and path.read_bytes()[-1:] not in (b"", b"\n")}
    return frozenset(names(state)), frozenset(cut)


def one_of_each_kind(states: list[Path]) -> list[Path]:
    """The last state of every kind: most of what a kill can leave differs only in how far the run had come."""
    return list({kind(state): state for state in states}.values())


def fresh_copy(state: Path, target: Path) -> Path:
    shutil.copytree(state, target)
    return target


def last_in_training(states: list[Path]) -> Path:
    """The last state with two whole checkpoints and nothing else under way, before the adapter was saved."""
    settled = {".lock", "config.yaml", "scored.jsonl", "metrics.jsonl", "reference.bin", "checkpoint.pt",
               "checkpoint-before.pt"}  # fmt: skip
    return [state for state in states if names(state) == settled and read_step(state) < STEPS][-1]


def read_step(state: Path, name: str = "checkpoint.pt") -> int:
    return int(torch.load(state / "run" / name, weights_only=True)["state"]["step"])


# --- kills -----------------------------------------------------------------------------------------------------------


@few_or_all
def test_a_run_resumes_from_every_state_that_a_kill_can_leave(
    every: bool, warm: Warm, place: Path, states: list[Path], whole: dict[str, Any]
) -> None:
    seen = [names(state) for state in states]
    assert any("checkpoint-before.pt" in s and "checkpoint.pt" not in s and ".checkpoint.pt.part" in s for s in seen)
    assert any(".adapter.part" in s for s in seen) and any("results.json" in s and "scored.jsonl" in s for s in seen)
    sizes = {(s / "run/checkpoint.pt").stat().st_size for s in states if (s / "run/checkpoint.pt").exists()}
    assert len(states) > 45 and len(sizes) == 1  # what a save costs does not grow with the steps
    kinds = one_of_each_kind(states)
    assert len(kinds) > 24 and {cut for _, cut in map(kind, kinds)} >= {frozenset({name}) for name in (
        "metrics.jsonl", "scored.jsonl")}  # fmt: skip
    for state in states if every else kinds[::4]:
        folder = fresh_copy(state, place / f"resumed-{every}-{state.name}")
        assert warm.run(folder, debias(place, "--resume")) == 0, (sorted(names(state)), said(folder))
        assert content(folder / "run") == whole, sorted(names(state))
        shutil.rmtree(folder)
    print(f"{len(states)} states of {len(kinds)} kinds: all of them, or a quarter of the kinds, resumed")


@few_or_all
def test_kills_at_random_moments_lose_nothing(every: bool, warm: Warm, place: Path, whole: dict[str, Any]) -> None:
    assert warm.run(place / f"timed-{every}", debias(place)) == 0
    moments, length = random.Random(7), warm.seconds
    kills, runs, more = 0, 0, False
    enough = 40 if every else 3
    while kills < enough:
        folder = place / f"killed-{every}-{runs}"
        resumed = ["--resume"] if more and (folder / "run").exists() else []
        code = warm.killed(folder, debias(place, *resumed), at=moments.uniform(0, length))
        assert code in (0, -signal.SIGKILL), said(folder)
        kills, more = kills + (code != 0), code != 0
        if kills == enough and more:
            assert warm.run(folder, debias(place, *(["--resume"] if (folder / "run").exists() else []))) == 0
        if not more or kills == enough:
            assert content(folder / "run") == whole
            runs += 1
    print(f"{kills} kills in {runs} runs, each ended as if nothing had happened")


def test_another_seed_is_another_run(warm: Warm, place: Path, whole: dict[str, Any]) -> None:
    """The control: what is compared above does tell runs apart."""
    assert warm.run(place / "seed", debias(place, "--set", "seed=1")) == 0
    other = content(place / "seed/run")
    for name in ("metrics.jsonl", "adapter/adapter_model.safetensors", "results.json"):
        assert other[name] != whole[name], name


def test_a_finished_run_resumed_is_told_its_results(warm: Warm, place: Path, whole: dict[str, Any]) -> None:
    folder = place / "twice"
    assert warm.run(folder, debias(place)) == 0
    assert warm.run(folder, debias(place, "--resume", "--json")) == 0
    assert json.loads((folder / "stdout").read_text())["benchmarks"] == whole["results.json"]["benchmarks"]
    assert warm.run(folder, debias(place)) == 2 and "already holds a finished run" in said(folder)[0]
    assert warm.run(folder, debias(place, "--resume", "--set", "seed=1")) == 2
    assert content(folder / "run") == whole


# --- a long measurement ----------------------------------------------------------------------------------------------


def scored(folder: Path) -> Counter[str]:
    """The forwards of the scoring door, as the rows that they read."""
    return Counter((folder / "log").read_text().splitlines())


@pytest.fixture(scope="module")
def measured(warm: Warm, place: Path) -> dict[str, Any]:
    assert warm.run(place / "measured", measure(place), tokens=150, log="log") == 0
    assert not any(name.startswith((".", "scored")) for name in os.listdir(place / "measured/run"))
    return content(place / "measured/run")


def test_a_measurement_killed_again_and_again_scores_nothing_twice(
    warm: Warm, place: Path, measured: dict[str, Any]
) -> None:
    folder, kills, resume = place / "measure-killed", 0, []
    while (code := warm.run(folder, measure(place, *resume), tokens=150, log="log", kill_after_keep=2)) != 0:
        assert code == -signal.SIGKILL, said(folder)
        kills, resume = kills + 1, ["--resume"]
    assert kills >= 4
    assert content(folder / "run") == measured
    assert scored(folder) == scored(place / "measured")


def test_a_measurement_killed_at_any_moment_scores_at_most_what_was_in_hand_again(
    warm: Warm, place: Path, measured: dict[str, Any]
) -> None:
    assert warm.run(place / "measure-timed", measure(place), tokens=150) == 0
    moments, length, folder = random.Random(3), warm.seconds, place / "measure-random"
    kills = 0
    for _ in range(3):
        resume = ["--resume"] if (folder / "run").exists() else []
        moment = moments.uniform(length / 3, length)
        kills += warm.killed(folder, measure(place, *resume), at=moment, tokens=150, log="log") != 0
    assert kills and warm.run(folder, measure(place, "--resume"), tokens=150, log="log") == 0
    assert content(folder / "run") == measured
    # A kill between two steps of one piece of work: read, but not stored. The first piece tries the tree mask as well.
    assert (scored(folder) - scored(place / "measured")).total() <= kills + 1


def test_two_processes_go_on_with_what_one_has_scored(warm: Warm, place: Path, measured: dict[str, Any]) -> None:
    folder = place / "measure-two"
    out = str(folder / "run")  # the ranks have folders of their own for their output
    command = [part if part != "run" else out for part in measure(place)]
    assert warm.run(folder, command, log="log", kill_after_keep=2) == -signal.SIGKILL
    head = (folder / "run/scored.jsonl").read_bytes()
    ranks = [folder / "rank0", folder / "rank1"]
    codes = warm.run_ranks(ranks, [*command, "--resume"])
    assert codes == [0, 0], [(rank / "stderr").read_text()[-3000:] for rank in ranks]
    assert len(head.splitlines()) == 3
    ours = content(folder / "run")
    assert not any(name.startswith((".", "scored")) for name in ours)
    for one, other in zip(ours["items.parquet"], measured["items.parquet"], strict=True):
        near = {name: pytest.approx(other[name], abs=1e-4) for name in ("score", "group_part", "wording_part")}
        assert one == {**other, **near}


def test_an_unfinished_measurement_is_not_taken_for_another_one(warm: Warm, place: Path) -> None:
    folder = place / "measure-other"
    assert warm.run(folder, measure(place), kill_after_keep=1) == -signal.SIGKILL
    held = (folder / "run/scored.jsonl").read_bytes()
    for arguments, message in (
        (measure(place), "unfinished run; add --resume"),
        (measure(place, "--resume", "--dtype", "bfloat16"), "scored.jsonl: scores of another request"),
    ):
        assert warm.run(folder, arguments) == 2
        assert len(said(folder)) == 1 and message in said(folder)[0]
        assert (folder / "run/scored.jsonl").read_bytes() == held


# --- disks -----------------------------------------------------------------------------------------------------------


@pytest.mark.by_day("2.15")
@pytest.mark.parametrize("checkpoints", [0.6, 1.5, 2.15])
def test_a_full_disk_is_one_line_and_leaves_the_last_checkpoint(
    checkpoints: float, warm: Warm, place: Path, states: list[Path], whole: dict[str, Any]
) -> None:
    """A real one: it has room for the first save, or not; for the second; for the adapter."""
    folder = place / f"full-{checkpoints}"
    (folder / "disk").mkdir(parents=True)
    size = (last_in_training(states) / "run/checkpoint.pt").stat().st_size
    arguments = [part if part != "run" else "disk/run" for part in debias(place)]
    room = int(checkpoints * size) + 24 * 1024
    code = warm.run(folder, arguments, disk={"at": str(folder / "disk"), "size": room})
    if code == NO_MOUNT:
        pytest.skip("no file system can be mounted here")
    assert code == 3 and len(said(folder)) == 1
    assert "cannot be written: No space left on device; what was saved before is unchanged" in said(folder)[0]
    kept = {entry.name for entry in (folder / "seen/run").iterdir()}
    assert not any(name.endswith(".part") for name in kept)
    assert ("checkpoint.pt" in kept) is (checkpoints > 1)
    # On a disk with room the same command goes on.
    shutil.move(folder / "seen/run", folder / "disk/run")
    assert warm.run(folder, [*arguments, "--resume"]) == 0, said(folder)
    ours = content(folder / "disk/run")
    for name in ("metrics.jsonl", "adapter/adapter_model.safetensors", "items.parquet"):
        assert ours[name] == whole[name]


@pytest.mark.by_day("0-scored.jsonl", "50000-checkpoint.pt")
@pytest.mark.parametrize(("largest", "file"), [(500, "config.yaml"), (0, "scored.jsonl"), (50_000, "checkpoint.pt")])
def test_a_limit_on_files_is_one_line_and_leaves_the_last_checkpoint(
    largest: int, file: str, warm: Warm, place: Path, states: list[Path], whole: dict[str, Any]
) -> None:
    """The system's limit on the size of a file, which stands for a full disk or a quota where none can be made."""
    folder = place / f"limit-{largest}"
    largest = largest or len(whole["config.yaml"]) + 300  # which holds paths, as long as the test's folder is deep
    resume = []
    if file == "checkpoint.pt":
        fresh_copy(last_in_training(states), folder)
        resume = ["--resume"]
        held = (folder / "run/checkpoint.pt").read_bytes()
    assert warm.run(folder, debias(place, *resume), largest=largest) == 3
    assert len(said(folder)) == 1 and f"run/{file}: cannot be written: File too large" in said(folder)[0]
    if resume:
        assert (folder / "run/checkpoint.pt").read_bytes() == held
    resume = ["--resume"] if (folder / "run").exists() else []
    assert warm.run(folder, debias(place, *resume)) == 0
    assert content(folder / "run") == whole


def test_a_read_only_folder_is_one_line(warm: Warm, place: Path, states: list[Path], whole: dict[str, Any]) -> None:
    folder = fresh_copy(last_in_training(states), place / "read-only")
    held = {entry.name: entry.read_bytes() for entry in (folder / "run").iterdir()}
    code = warm.run(folder, debias(place, "--resume"), disk={"at": str(folder / "run"), "read_only": True})
    if code == NO_MOUNT:
        pytest.skip("no file system can be mounted here")
    assert code == 2 and len(said(folder)) == 1
    assert "run: cannot be written: Read-only file system" in said(folder)[0]
    assert {entry.name: entry.read_bytes() for entry in (folder / "run").iterdir()} == held
    assert warm.run(folder, debias(place, "--resume")) == 0
    assert content(folder / "run") == whole


# --- damaged files ---------------------------------------------------------------------------------------------------


def test_a_checkpoint_cut_in_half_costs_the_steps_since_the_one_before(
    warm: Warm, place: Path, states: list[Path], whole: dict[str, Any]
) -> None:
    folder = fresh_copy(last_in_training(states), place / "cut")
    steps = read_step(folder), read_step(folder, "checkpoint-before.pt")
    assert steps == (4, 2)
    path = folder / "run/checkpoint.pt"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert warm.run(folder, debias(place, "--resume")) == 0
    assert "checkpoint.pt: broken checkpoint" in (folder / "stderr").read_text()
    assert "resuming from the previous one, step 2" in (folder / "stderr").read_text()
    assert content(folder / "run") == whole


def test_a_kill_after_a_damaged_checkpoint_still_has_the_good_one(
    warm: Warm, place: Path, states: list[Path], whole: dict[str, Any]
) -> None:
    """The next save must not put the damaged one in the place of the good one."""
    folder = fresh_copy(last_in_training(states), place / "cut-again")
    path = folder / "run/checkpoint.pt"
    path.write_bytes(path.read_bytes()[:1000])
    assert warm.run(folder, debias(place, "--resume"), states=str(folder / "states")) == 0
    for state in sorted((folder / "states").iterdir()):
        good = [name for name in ("checkpoint.pt", "checkpoint-before.pt") if (state / "run" / name).exists()
                and (state / "run" / name).stat().st_size > 1000]  # fmt: skip
        assert good or (state / "run/results.json").exists(), sorted(names(state))


def test_two_damaged_checkpoints_are_one_line(warm: Warm, place: Path, states: list[Path]) -> None:
    folder = fresh_copy(last_in_training(states), place / "cut-both")
    for name in ("checkpoint.pt", "checkpoint-before.pt"):
        (folder / "run" / name).write_bytes((folder / "run" / name).read_bytes()[:5000])
    assert warm.run(folder, debias(place, "--resume")) == 2
    assert len(said(folder)) == 1
    assert "run/checkpoint.pt: broken checkpoint" in said(folder)[0] and "remove it to start again" in said(folder)[0]


def test_lost_metrics_are_one_line(warm: Warm, place: Path, states: list[Path]) -> None:
    folder = fresh_copy(last_in_training(states), place / "lost")
    (folder / "run/metrics.jsonl").write_text("")
    assert warm.run(folder, debias(place, "--resume")) == 2
    assert len(said(folder)) == 1 and "run/metrics.jsonl: 0 bytes, but its checkpoint" in said(folder)[0]


def test_another_model_or_recipe_does_not_go_on_from_the_checkpoint(
    warm: Warm, place: Path, states: list[Path]
) -> None:
    tiny.save(tiny.gpt2(n_layer=1, seed=5), place / "model-5")
    for number, arguments in enumerate((
        [str(place / "model-5") if part == str(place / "model") else part for part in debias(place, "--resume")],
        debias(place, "--resume", "--set", "beta=0.5"),
    )):  # fmt: skip
        folder = fresh_copy(last_in_training(states), place / f"other-{number}")
        held = {entry.name: entry.read_bytes() for entry in (folder / "run").iterdir() if entry.name[0] != "."}
        assert warm.run(folder, arguments) == 2
        assert len(said(folder)) == 1 and "another request" in said(folder)[0]
        assert {e.name: e.read_bytes() for e in (folder / "run").iterdir() if e.name[0] != "."} == held


# --- two at once -----------------------------------------------------------------------------------------------------


def test_of_two_runs_into_one_folder_the_second_is_refused(warm: Warm, place: Path, whole: dict[str, Any]) -> None:
    folder = place / "shared"
    first = warm.start(folder, debias(place), stop_at="checkpoint.pt")  # stands still in the middle of a save
    while Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[0] != "T":
        time.sleep(0.01)
    held = {entry.name: entry.read_bytes() for entry in (folder / "run").iterdir()}
    for arguments, message in (
        (debias(place, "--resume"), f"run: process {first} on "),
        (measure(place, "--resume"), "already holds an unfinished run of another request (it is one of debias"),
    ):
        assert warm.run(folder, arguments) == 2
        assert len(said(folder)) == 1 and message in said(folder)[0]
    assert {entry.name: entry.read_bytes() for entry in (folder / "run").iterdir()} == held
    os.kill(first, signal.SIGKILL)
    assert warm.wait(first) == -signal.SIGKILL
    assert warm.run(folder, debias(place, "--resume")) == 0  # the lock of a dead process is none
    assert content(folder / "run") == whole
