"""Files that appear whole or not at all: written beside their place, synced, then renamed.

Of several processes only the first one writes; what the others would write goes to a folder that is thrown away.
"""

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from biasunlearn.errors import RequestError, WriteError
from biasunlearn.runs.first_process import is_first

_QUOTED = re.compile(r"\(os error (\d+)\)")
"""How libraries written in Rust quote the system."""

_LEFT = re.compile(r"\.(?P<name>.+)\.(\d+\.part|old)")


@contextlib.contextmanager
def whole_file(path: Path, *, aside: Path | None = None) -> Iterator[Path]:
    """Gives a temporary path beside `path`; on success it is synced and takes its name, else it is removed.

    Args:
        aside: the name that the file which stands at `path` gets, instead of being overwritten. Killed between the
            two renames, a run has that one.
    Raises:
        WriteError: the disk is full or the folder is not to be written. What stood at `path` still does.
    """
    if not is_first():
        with tempfile.TemporaryDirectory() as thrown_away:
            yield Path(thrown_away) / path.name
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        try:
            yield temporary
            _sync(temporary)
            if aside is not None and path.exists():
                path.replace(aside)
            temporary.replace(path)
            _sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                temporary.unlink()


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder. The old one is moved aside first; killed there, `tidy` brings it back.

    Raises:
        WriteError: as above.
    """
    if not is_first():
        with tempfile.TemporaryDirectory() as thrown_away:
            yield Path(thrown_away)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    old = path.with_name(f".{path.name}.old")
    with writing(path):
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for entry in (*temporary.rglob("*"), temporary):
                (_sync_folder if entry.is_dir() else _sync)(entry)
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
                path.replace(old)
            temporary.replace(path)
            _sync_folder(path.parent)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def append(path: Path, text: str, *, sync: bool = True) -> None:
    """Adds lines at the end of a file. Killed in between, the file ends in a part of one: readers must cope with it,
    and what is added next begins on a line of its own.

    Args:
        sync: wait until the text is on the disk. Without it a killed process loses nothing, a power cut may.
    Raises:
        WriteError: as above; the file may then end in a part of the text as well.
    """
    if not is_first():
        return
    with writing(path), path.open("a+b") as handle:
        if handle.tell():
            handle.seek(-1, os.SEEK_END)
            text = text if handle.read() == b"\n" else f"\n{text}"
        handle.write(text.encode())
        handle.flush()
        if sync:
            os.fsync(handle.fileno())


def tidy(folder: Path) -> None:
    """What a killed process left in a folder: half-written parts go, what it had moved aside comes back.

    Only for whoever holds the folder: to anybody else's eyes a part may be one that is being written.
    """
    for entry in list(folder.iterdir()):
        left = _LEFT.fullmatch(entry.name)
        if left is None:
            continue
        place = folder / left["name"]
        if entry.name.endswith(".old") and not place.exists():
            entry.replace(place)
        elif entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Says in one line, as a WriteError, what the file system refused, however deep in a library it did."""
    try:
        yield
    except (RequestError, WriteError):
        raise
    except Exception as error:
        reason = _refused(error)
        if reason is None:
            raise
        raise WriteError(
            f"{path}: cannot be written: {reason}; what was saved before is unchanged. Fix this and run the "
            "command again, for a run with --resume"
        ) from error


def _refused(error: BaseException | None) -> str | None:
    """What the system said: some libraries raise it, some raise their own error after it, some only quote it."""
    while error is not None:
        if isinstance(error, OSError):
            return os.strerror(error.errno) if error.errno else str(error)
        if quoted := _QUOTED.search(str(error)):
            return os.strerror(int(quoted.group(1)))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return None


def _sync(path: Path) -> None:
    with path.open("rb") as handle:
        os.fsync(handle.fileno())


def _sync_folder(path: Path) -> None:
    """Makes a rename last through a power cut. Some file systems cannot: there a rename is as safe as they make it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
