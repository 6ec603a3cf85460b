"""The bytes of a regular file: a pipe would be waited for, and a device never ends."""

import os
import stat
from pathlib import Path

from biasunlearn.errors import RequestError


def read_regular(path: str | Path, *, most: int, too_large: str) -> bytes:
    """Reads a file whole.

    Args:
        most: bytes; a larger file is refused before it is opened.
        too_large: what the message about a larger file says behind its name.
    Raises:
        RequestError: no such file; a folder, a pipe or a device; no permission; larger than `most`.
    """
    try:
        state = os.stat(path)
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError:  # a NUL character in the name
        raise RequestError(f"{str(path)!r}: no such file") from None
    if stat.S_ISDIR(state.st_mode):
        raise RequestError(f"{path}: cannot be read: it is a folder; give a file in it")
    if not stat.S_ISREG(state.st_mode):
        raise RequestError(f"{path}: cannot be read: it is a pipe or a device; write its content to a file")
    if state.st_size > most:
        raise RequestError(f"{path}: {too_large}")
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from None


def _unreadable(path: str | Path, error: OSError) -> RequestError:
    if isinstance(error, FileNotFoundError):
        return RequestError(f"{path}: no such file")
    return RequestError(f"{path}: cannot be read: {error.strerror or error}")
