"""Runs that several processes share, on one machine or on several with a common folder: each takes what is free."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

from biasunlearn.commands.run_context import Callbacks
from biasunlearn.models.distributed import count
from biasunlearn.runs.lock import FolderInUse

T = TypeVar("T")

PAUSE = 2.0
"""Seconds until folders that other processes are writing are tried again."""


def run_when_free(tasks: Sequence[T], run: Callable[[T], None], callbacks: Callbacks) -> None:
    """Calls `run` once for every task, in their order; a task whose folder another process is writing comes later.

    Where only such tasks are left, it waits: a finished run is then read, and that of a process that was killed, whose
    lock the system has released, is resumed. So all processes end with all results.

    Args:
        run: raises FolderInUse while another process writes there.
    """
    left, named = list(tasks), set()
    while left:
        taken = []
        for task in left:
            try:
                run(task)
            except FolderInUse as error:
                if count() > 1:  # the processes of one launcher must take the same run
                    raise
                taken.append(task)
                if task not in named:
                    named.add(task)
                    callbacks.message(f"later: {error.owner} is writing {error.folder}")
        if len(taken) == len(left):
            time.sleep(PAUSE)
        left = taken
