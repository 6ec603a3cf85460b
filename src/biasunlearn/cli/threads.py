"""How torch's threads wait and how many there are: set before torch is imported, which reads it once.

Two threads that share the work of an operation wait for each other thousands of times a second. By default they wait
busily: beside another program, one of them then uses up the processor that the other one is waiting for, and both
together are slower than one thread alone. Passive waiting costs a few microseconds and leaves the processor to others.
What the caller has set in the environment is left as it is.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

WAITING = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}
"""For GNU's OpenMP, which torch's wheels contain, and for Intel's."""

COUNT = "OMP_NUM_THREADS"

BUSY = 0.5
"""Share of the processors that other programs may keep at work before a command says so."""

CGROUPS = Path("/sys/fs/cgroup")


def set_up_threads() -> None:
    """Passive waiting, and no more threads than processors that this process may use. No effect once torch is there.

    The load of the machine does not change the number of threads: the sums of a matrix product depend on it in their
    last digits, and a run that is resumed must continue with the same numbers.
    """
    if "torch" in sys.modules:
        return
    for name, value in WAITING.items():
        os.environ.setdefault(name, value)
    allowed = processors()
    if allowed < (os.cpu_count() or 1):  # torch itself knows neither quotas nor, in every build, affinities
        os.environ.setdefault(COUNT, str(allowed))


def processors(root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """The number of processors that this process may use, at least 1: its affinity, and the quota of its cgroups."""
    counted = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [quota for folder in _cgroups(root, own) if (quota := _quota(folder)) is not None]
    return max(1, min([counted, *(int(quota + 0.5) for quota in quotas)]))


def _cgroups(root: Path, own: Path) -> Iterator[Path]:
    """The folders that may have a quota: of this process's cgroup and of those above it, of version 2 and 1."""
    with contextlib.suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers in ("", "cpu", "cpu,cpuacct"):
                top = root / controllers
                folder = top / path.lstrip("/")
                yield from (one for one in (folder, *folder.parents) if one.is_relative_to(top))
    yield from (root, root / "cpu")  # inside a container its own cgroup is the root


def _quota(folder: Path) -> float | None:
    """Processors' worth of time that a cgroup may use; None without a limit."""
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        if (both := folder / "cpu.max").exists():
            quota, period = both.read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return float(quota) / float(period) if float(quota) > 0 else None  # "max" is no number: no limit
    return None


def at_terminal() -> bool:
    """Whether messages go to a person's terminal, and not to a file or a program."""
    return sys.stderr.isatty()


def busy() -> str:
    """A line for a user at a terminal if other programs keep more than half of the processors at work, else nothing.

    What a script reads stays as it is: a message has one line, whatever else the machine does.
    """
    if not at_terminal():
        return ""
    allowed = processors()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    if load <= BUSY * allowed:
        return ""
    return (
        f"biasunlearn: the machine is busy: a load of {load:.1f} on {allowed} processors before this command. It takes "
        "longer than on an idle machine; the results are the same"
    )
