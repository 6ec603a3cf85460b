"""The cost of a piece of work: time, processor time and peak memory."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Linux reports the peak memory of a process in the first; writing 5 to the second restarts it (man 5 proc)."""


@contextlib.contextmanager
def measure_cost(device: str | None = None) -> Iterator[dict[str, Any]]:
    """Fills the dictionary at the end of the block.

    seconds, processor_seconds (of all threads); memory: the peak in bytes of the whole process, including what it had
    loaded before; memory_of: "cuda" (torch's own count on the current device), "block", or "process": where the system
    cannot restart its count, the peak is the one since the process started.

    Args:
        device: the kind of device that does the work (cpu, cuda). None: cuda where there is one.
    """
    found: dict[str, Any] = {}
    begun, worked = time.perf_counter(), time.process_time()
    cuda = _cuda() if device in (None, "cuda") else None
    if cuda:
        cuda.reset_peak_memory_stats()
    restarted = _restart_peak()
    try:
        yield found
    finally:
        found["seconds"] = time.perf_counter() - begun
        found["processor_seconds"] = time.process_time() - worked
        if cuda:
            found["memory"], found["memory_of"] = int(cuda.max_memory_allocated()), "cuda"
        else:
            found["memory"], found["memory_of"] = _peak(restarted), "block" if restarted else "process"


def _cuda() -> Any:
    """torch.cuda, None where torch is not loaded or has no GPU."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def _restart_peak() -> bool:
    try:
        CLEAR.write_text("5")
    except OSError:  # another system, or a container that does not allow it
        return False
    return True


def _peak(restarted: bool) -> int:
    if restarted:
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
