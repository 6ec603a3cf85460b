"""Where a run may be written: a folder of its own, which holds nothing but files and folders."""

import stat
from pathlib import Path

from biasunlearn.errors import RequestError

LONGEST_NAME = 255
"""Bytes of a file's name on the usual file systems."""


def check_out(out: str | Path, *models: str | Path | None, option: str = "--out") -> None:
    """RequestError for a place that nothing can, or should, be written to.

    Args:
        models: folders of a model or an adapter, which a run must not be mixed with.
    """
    check_name(out, option)
    path = Path(out)
    try:
        is_file = path.exists() and not path.is_dir()
    except OSError as error:
        raise RequestError(f"{option} {str(out)[:40]}...: {error.strerror}; choose another one") from None
    if is_file:
        raise RequestError(f"{out}: a file; {option} needs a folder")
    for model in models:
        holder = None if model is None else Path(model)
        if holder is None or not any((holder / name).exists() for name in ("config.json", "adapter_config.json")):
            continue  # a hub name, or no folder of a model, which is reported when it is loaded
        if holder.resolve() in (path.resolve(), *path.resolve().parents):
            raise RequestError(f"{option} {out}: lies in {model}, the folder of a model; choose a folder elsewhere")


def check_name(out: str | Path, option: str = "--out") -> None:
    """RequestError for a name that no file can have: an empty one, one that is too long, one with a NUL."""
    if not str(out).strip():
        raise RequestError(f"{option}: is empty; name a folder")
    long = next((part for part in Path(out).parts if len(part.encode(errors="replace")) > LONGEST_NAME), None)
    if long is not None:
        raise RequestError(f"{option} {long[:20]}...: a name of {len(long):,} characters; choose a shorter one")
    if "\0" in str(out):
        raise RequestError(f"{option}: a name cannot contain a NUL character")


def refuse_links(folder: Path, *, written: bool = False) -> None:
    """RequestError where a run folder holds a symbolic link or a pipe, or is written to and holds a hard link.

    Such a folder may come from somebody else. To go on with it means to empty and to extend its files, and to publish
    it means to copy them: a link would pass both on to any file of the user's.
    """
    if not folder.is_dir():
        return
    for path in folder.rglob("*"):
        try:
            found = path.lstat()
        except FileNotFoundError:  # another process has just finished with it
            continue
        if stat.S_ISLNK(found.st_mode):
            raise RequestError(f"{path}: a symbolic link, and a run folder has none; put the file itself there")
        if not stat.S_ISDIR(found.st_mode) and not stat.S_ISREG(found.st_mode):
            raise RequestError(f"{path}: not a file, and a run folder has nothing else; remove it")
        if written and stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            raise RequestError(f"{path}: another name of a file elsewhere (a hard link); put a copy of it there")
