"""--overwrite: a finished run gives way to another one, and comes back if that one is refused."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from biasunlearn.errors import RequestError
from biasunlearn.runs.first_process import is_first
from biasunlearn.runs.lock import acquire_lock, releasing_locks
from biasunlearn.runs.places import check_out, refuse_links
from biasunlearn.runs.results import load_results
from biasunlearn.runs.schema import read_json

SERIES = ("survey.json", "ablation.json", "matrix.json", "sweep.json", "objective.json")
"""The results of commands that train several times, each beside the folders of its runs."""

FILES = frozenset((
    "config.yaml", "results.json", "items.parquet", "metrics.jsonl", "report.html", "scored.jsonl", "reference.bin",
    "checkpoint.pt", "checkpoint-before.pt", "pairs.jsonl", "train.jsonl", "unrelated.txt", "study.journal", *SERIES,
))  # fmt: skip
"""Files that this package writes into a run folder."""

FOLDERS = frozenset(("adapter", "model", "generations", "logs"))
"""Folders of a run, whose files have names of other libraries."""


@contextlib.contextmanager
def replacing(out: str | Path | None, *, overwrite: bool, resume: bool = False) -> Iterator[None]:
    """While the block writes a run to `out`, a finished run that is there is kept aside; it is removed at the end.

    If the block fails before it has written anything, the earlier run is put back. If it fails later, the earlier run
    stays beside `out`, as OUT-replaced.

    Raises:
        RequestError: the folder holds something that is no finished run of this package, or another process writes
            there; `resume` is on as well.
    """
    if not overwrite or out is None:
        yield
        return
    if resume:
        raise RequestError("--overwrite: cannot be combined with --resume; leave one of them out")
    folder = Path(out)
    check_out(folder)
    if not folder.exists() or not is_first():
        yield
        return
    _check_ours(folder)
    with releasing_locks():
        acquire_lock(folder)  # refused while another process writes there
    aside = folder.with_name(f".{folder.name}.{os.getpid()}.replaced")
    folder.rename(aside)
    try:
        yield
    except BaseException:
        _put_back(folder, aside)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _put_back(folder: Path, aside: Path) -> None:
    """The earlier run, where the new one has written nothing but empty and hidden files."""
    if folder.exists() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
        names = (f"{folder.name}-replaced{number}" for number in ("", *(f"-{n}" for n in range(2, 1000))))
        aside.rename(next(path for name in names if not (path := folder.with_name(name)).exists()))
        return
    shutil.rmtree(folder, ignore_errors=True)
    aside.rename(folder)


def _check_ours(folder: Path) -> None:
    """RequestError unless a folder is a finished run, or a finished series of runs, and holds nothing else."""
    refuse_links(folder)
    finished = [name for name in ("results.json", *SERIES) if (folder / name).is_file()]
    if not finished:
        begun = (folder / "config.yaml").exists()
        fix = "add --resume to go on with it, or remove it" if begun else "choose another --out"
        raise RequestError(f"--overwrite: {folder}: holds no finished run; {fix}")
    if finished[0] == "results.json":
        load_results(folder)
    elif not isinstance(content := read_json(folder / finished[0]), dict) or "schema" not in content:
        raise RequestError(f"--overwrite: {folder / finished[0]}: not a result of this package; choose another --out")
    if odd := _foreign(folder):
        raise RequestError(f"--overwrite: {odd}: no part of a run; move it, or choose another --out")


def _foreign(folder: Path) -> Path | None:
    """The first file that this package does not write; folders are searched unless other libraries name their files."""
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if entry.name not in FOLDERS and (odd := _foreign(entry)):
                return odd
        elif entry.suffix == ".jsonl" and (folder / "matrix.json").exists():
            continue  # the pairs of each bias type
        elif entry.name not in FILES and not entry.name.startswith("."):
            return entry
    return None
