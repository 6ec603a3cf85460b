"""What a piece of work costs: time, processor time, and the most memory that was held at once."""

import contextlib
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
"""Linux keeps the peak of a process's memory in the first; writing 5 to the second begins it anew (man 5 proc)."""


@contextlib.contextmanager
def costing() -> Iterator[dict[str, Any]]:
    """Fills the dictionary when the block ends.

    seconds, processor_seconds (all threads); memory: the peak in bytes, of the whole process with all that it had
    loaded before; memory_of: cuda (torch's own count on the current device), block, or process: where the system
    cannot begin its count anew, the peak is that of everything since the process began.
    """
    found: dict[str, Any] = {}
    begun, worked = time.perf_counter(), time.process_time()
    cuda = _cuda()
    if cuda:
        cuda.reset_peak_memory_stats()
    anew = _begin_anew()
    try:
        yield found
    finally:
        found["seconds"] = time.perf_counter() - begun
        found["processor_seconds"] = time.process_time() - worked
        if cuda:
            found["memory"], found["memory_of"] = int(cuda.max_memory_allocated()), "cuda"
        else:
            found["memory"], found["memory_of"] = _peak(anew), "block" if anew else "process"


def _cuda() -> Any:
    """torch.cuda where torch is loaded and has one."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() else None


def _begin_anew() -> bool:
    try:
        CLEAR.write_text("5")
    except OSError:  # another system, or a container that does not allow it
        return False
    return True


def _peak(anew: bool) -> int:
    if anew:
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
