"""Ctrl-C, SIGTERM and SIGHUP during training: the loop ends between two steps, so that what is saved is complete."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from biasunlearn.runs.signals import handling


@contextlib.contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Gives a function that says whether the process was asked to end inside the block; asked again, it ends at once.

    Outside the main thread (a notebook server, for example) signals cannot be handled, and Ctrl-C works as always.
    """
    asked = False

    def note(_signal: int, _frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True

    with handling(note):
        yield lambda: asked
