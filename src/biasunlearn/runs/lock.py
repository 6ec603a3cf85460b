"""One process per run folder: a file lock that the system releases when the process ends, however it ends."""

import contextlib
import errno
import fcntl
import os
import platform
import stat
import warnings
from collections.abc import Iterator
from pathlib import Path

from biasunlearn.errors import RequestError

LOCK = ".lock"

_locked: dict[Path, tuple[int, bool]] = {}
"""The folders that this process has locked: the open lock file of each, and whether the folder was made for it."""


class FolderInUse(RequestError):
    """Another process is writing to the folder."""

    def __init__(self, folder: Path, owner: str):
        self.folder, self.owner = folder, owner
        super().__init__(f"{folder}: {owner} is writing here; wait until it has finished, or choose another --out")


def acquire_lock(folder: Path) -> None:
    """Locks a folder for this process, and makes it if it does not exist. Locking it again does nothing.

    Raises:
        FolderInUse: another process has locked it.
        RequestError: its lock is a link or the like.
        OSError: the folder cannot be written.
    """
    place = folder.resolve()
    if place in _locked:
        return
    made = not place.exists()
    place.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = _open(place / LOCK)
        try:
            if _lock(descriptor, folder):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
                _locked[place] = descriptor, made
                return
        finally:
            if place not in _locked:
                os.close(descriptor)


@contextlib.contextmanager
def releasing_locks() -> Iterator[None]:
    """At the end of the block, or of the function that this decorates, releases the locks that were taken in it.

    A folder that was made for a lock and is still empty is removed: the request was refused before the run began.
    """
    before = set(_locked)
    try:
        yield
    finally:
        for place in set(_locked) - before:
            descriptor, made = _locked.pop(place)
            with contextlib.suppress(OSError):  # the folder is gone, not empty, or no longer writable
                (place / LOCK).unlink()
                if made:
                    place.rmdir()
            os.close(descriptor)


def _open(path: Path) -> int:
    """The lock file, opened for writing. RequestError for a link: what it points to would be emptied."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise RequestError(f"{path}: a symbolic link, and a lock is none; remove it") from None
        raise
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
        os.close(descriptor)
        raise RequestError(f"{path}: not a file of its own, and a lock is one; remove it")
    return descriptor


def _lock(descriptor: int, folder: Path) -> bool:
    """Locks an open file. False where its former owner has just removed it: the lock would protect nothing."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
        raise FolderInUse(folder, owner) from None
    except OSError:
        warnings.warn(
            f"{folder}: this file system has no locks; make sure that no other run writes here", stacklevel=3
        )
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder / LOCK))
    except FileNotFoundError:
        return False
