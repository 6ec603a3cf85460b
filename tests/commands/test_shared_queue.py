"""Runs that several processes share: what another process is writing comes later, and all end with all results."""

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from biasunlearn.commands import shared_queue
from biasunlearn.commands.run_context import Callbacks
from biasunlearn.commands.shared_queue import run_when_free
from biasunlearn.runs.lock import FolderInUse, acquire_lock, releasing_locks

HOLDS_A_LOCK = """
import sys
from pathlib import Path
from biasunlearn.runs.lock import acquire_lock
acquire_lock(Path(sys.argv[1]))
print("locked", flush=True)
sys.stdin.readline()
"""


def test_a_run_of_another_process_comes_later_and_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real process holds the lock of the first folder; it is killed while we wait, so that its run becomes ours."""
    command = [sys.executable, "-c", HOLDS_A_LOCK, str(tmp_path / "a")]
    other = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None and other.stdout.readline() == "locked\n"
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            other.kill()
            other.wait()

    monkeypatch.setattr(shared_queue.time, "sleep", pause)
    done, tries, said = [], [], []

    def run(name: str) -> None:
        tries.append(name)
        with releasing_locks():
            acquire_lock(tmp_path / name)
            done.append(name)

    run_when_free(["a", "b", "c"], run, Callbacks(say=said.append))
    assert done == ["b", "c", "a"]
    assert tries == ["a", "b", "c", "a", "a", "a"]  # once beside the others, twice while we wait, once when it is free
    assert said == [f"later: process {other.pid} on {platform.node()} is writing {tmp_path / 'a'}"]


def test_other_errors_are_not_waited_for(tmp_path: Path) -> None:
    def run(name: str) -> None:
        raise ValueError(name)

    with pytest.raises(ValueError, match="a"):
        run_when_free(["a"], run, Callbacks())


def test_processes_of_one_launcher_do_not_wait_for_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_queue, "count", lambda: 2)

    def run(name: str) -> None:
        raise FolderInUse(tmp_path / name, "process 1 on here")

    with pytest.raises(FolderInUse, match="is writing here; wait"):
        run_when_free(["a"], run, Callbacks())
