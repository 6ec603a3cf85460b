"""The number of threads and how they wait: files of cgroups written here, the command line in its own process."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from biasunlearn.cli import output, threads
from biasunlearn.cli.options import Execution

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def written(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", ALLOWED),
        ("100000 100000", 1),
        ("50000 100000", 1),  # half a processor is still one thread
        ("6400000 100000", ALLOWED),  # more than there are
        ("broken", ALLOWED),
    ],
)
def test_a_quota_of_version_2(tmp_path: Path, quota: str, expected: int) -> None:
    written(tmp_path / "own", "0::/a/b\n")
    written(tmp_path / "root/a/cpu.max", quota)  # of the cgroup above this process's own
    assert threads.processors(tmp_path / "root", tmp_path / "own") == expected


@pytest.mark.parametrize(("quota", "expected"), [("-1", ALLOWED), ("100000", 1)])
def test_a_quota_of_version_1(tmp_path: Path, quota: str, expected: int) -> None:
    written(tmp_path / "own", "4:cpu,cpuacct:/job\n3:memory:/job\n")
    written(tmp_path / "root/cpu,cpuacct/job/cpu.cfs_quota_us", quota)
    written(tmp_path / "root/cpu,cpuacct/job/cpu.cfs_period_us", "100000")
    assert threads.processors(tmp_path / "root", tmp_path / "own") == expected


def test_without_cgroups_the_affinity_counts(tmp_path: Path) -> None:
    assert threads.processors(tmp_path / "none", tmp_path / "none") == ALLOWED


@pytest.mark.slow
@pytest.mark.parametrize("given", [None, "ACTIVE"])
def test_threads_wait_passively_unless_the_caller_says_otherwise(given: str | None) -> None:
    environment = {name: value for name, value in os.environ.items() if name not in threads.WAITING}
    environment |= {} if given is None else {"OMP_WAIT_POLICY": given}
    code = (
        "import os, sys; from biasunlearn.cli import main; main(['list', 'methods']); "
        "print(os.environ['OMP_WAIT_POLICY'], 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines()[-1] == f"{given or 'PASSIVE'} False", done.stderr


def test_nothing_is_set_once_torch_has_been_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", sys)
    for name in threads.WAITING:
        monkeypatch.delenv(name, raising=False)
    threads.set_up_threads()
    assert not threads.WAITING.keys() & os.environ.keys()


@pytest.mark.parametrize(("load", "lines"), [(0.4, 0), (50.0 * ALLOWED, 1)])
def test_a_busy_machine_is_one_line_when_the_work_begins(load, lines, monkeypatch, capsys) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0))
    monkeypatch.setattr(threads, "at_terminal", lambda: True)
    with output.running(Execution(), None) as (on_progress, _):
        assert not capsys.readouterr().err  # a wrong request has its own line, and no other
        for done in range(3):
            on_progress("stereoset", done, 2)
    assert capsys.readouterr().err.count("the machine is busy") == lines


def test_quiet_says_nothing_of_a_busy_machine(monkeypatch, capsys) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (50.0 * ALLOWED, 0.0, 0.0))
    monkeypatch.setattr(threads, "at_terminal", lambda: True)
    with output.running(Execution(quiet=True), None) as (on_progress, _):
        on_progress("stereoset", 1, 2)
    assert not capsys.readouterr().err


def test_a_script_that_reads_the_messages_gets_no_line_about_the_machine(monkeypatch, capsys) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (50.0 * ALLOWED, 0.0, 0.0))
    monkeypatch.setattr(threads, "at_terminal", lambda: False)
    with output.running(Execution(), None) as (on_progress, _):
        on_progress("stereoset", 1, 2)
    assert "busy" not in capsys.readouterr().err
