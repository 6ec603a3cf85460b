"""One run folder, one run: a lock that the system lets go of when its process is gone, however it went."""

import contextlib
import fcntl
import os
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path

from biasunlearn.errors import RequestError

LOCK = ".lock"

_held: dict[Path, tuple[int, bool]] = {}
"""The folders that this process holds, each with the open file whose lock says so, and whether it was made for this."""


def hold(folder: Path) -> None:
    """Takes a folder for this process, and makes it where there is none.

    A process may take a folder again that it holds already.

    Raises:
        RequestError: another process holds it.
        OSError: nothing can be written there.
    """
    place = folder.resolve()
    if place in _held:
        return
    made = not place.exists()
    place.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(place / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if _lock(descriptor, folder):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"process {os.getpid()} on {platform.node()}\n".encode())
                _held[place] = descriptor, made
                return
        finally:
            if place not in _held:
                os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> bool:
    """False where the file has been removed by the process that held it: the lock of a file without a name is none."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
        raise RequestError(
            f"{folder}: {holder} is writing here; wait until it is done, or choose another --out"
        ) from None
    except OSError:
        warnings.warn(f"{folder}: this file system has no locks: see to it that no other run writes here", stacklevel=3)
        return True
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(folder / LOCK))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def letting_go() -> Iterator[None]:
    """Around a command, as a decorator: the folders that it takes are free again when it ends, however it ends.

    A folder that was made for it and has nothing in it goes: the request was refused before there was a run.
    """
    before = set(_held)
    try:
        yield
    finally:
        for place in set(_held) - before:
            descriptor, made = _held.pop(place)
            with contextlib.suppress(OSError):  # gone, not empty, not to be written any more
                (place / LOCK).unlink()
                if made:
                    place.rmdir()
            os.close(descriptor)
