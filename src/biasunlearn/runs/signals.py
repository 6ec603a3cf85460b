"""Signals that ask a process to end: Ctrl-C, and those of a batch system, of a shutdown and of a closed terminal."""

import contextlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

ENDING = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


def interrupt(_signal: int, _frame: Any) -> None:
    """Ends what is going on as Ctrl-C does: everything that is open is closed, and every lock released."""
    raise KeyboardInterrupt


@contextlib.contextmanager
def handling(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Calls a handler for these signals inside the block, except for those that are ignored (nohup).

    Outside the main thread, where signals cannot be handled, nothing changes.
    """
    before: dict[int, Any] = {}
    try:
        for one in ENDING:
            if signal.getsignal(one) is not signal.SIG_IGN:
                before[one] = signal.signal(one, handler)
    except ValueError:  # not the main thread
        pass
    try:
        yield
    finally:
        for one, former in before.items():
            signal.signal(one, former)
