"""What a long measurement has computed so far, on disk as it comes, so that a killed run continues where it stopped.

The file has one line per piece of work, appended and never rewritten. It is removed once the results are stored.
Without a file the cache lasts as long as the process: several runs on one model share the scores of the base model.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.runs.atomic import append
from biasunlearn.runs.first_process import is_first

SYNC_EVERY = 10.0
"""Seconds after which appended lines are also forced onto the disk: what a power failure may cost."""


class ScoreCache:
    """The finished pieces of work, by job. Only the first process reads and writes; the others start empty.

    A job is a call that does many pieces of work. It is named by everything that its values depend on, and by its
    position among the jobs of the run, so that two identical jobs are kept apart.

    Args:
        path: None: nothing is stored on disk.
        request: what the run was asked for.
    Raises:
        RequestError: the file belongs to another request.
    """

    def __init__(self, path: Path | None = None, request: Any = None):
        self._path = path
        self._header = json.dumps({"request": request}, sort_keys=True)
        self._values: dict[str, dict[str, Any]] = {}
        self._jobs = 0
        self._model = ""
        self._synced = time.monotonic()
        self._begun = is_first() and path is not None and path.exists() and self._read(path)

    def restarted(self) -> "ScoreCache":
        """The same cache for another run, whose jobs are counted from the first one again."""
        self._jobs = 0
        return self

    def for_model(self, model: str) -> "ScoreCache":
        """The same cache, whose next jobs are about a model given by a hash of its weights."""
        self._model = model
        return self

    def job(self, identity: str) -> "CachedJob":
        """The next job of the run."""
        self._jobs += 1
        name = f"{self._jobs} {hashlib.sha256(f'{self._model} {identity}'.encode()).hexdigest()}"
        return CachedJob(self, name, self._values.setdefault(name, {}))

    def store(self, job: str, part: str, value: Any) -> None:
        """Stores the value of a part of a job: any JSON. Numbers are read back exactly."""
        if self._path is None:
            self._values[job][part] = value
            return
        if not self._begun:
            append(self._path, self._header + "\n")
            self._begun = True
        due = time.monotonic() - self._synced >= SYNC_EVERY
        append(self._path, json.dumps([job, part, value]) + "\n", sync=due)
        if due:
            self._synced = time.monotonic()

    def _read(self, path: Path) -> bool:
        """Reads every complete line and cuts off a last line that a killed process left unfinished.

        Returns:
            False where not even the header is complete.
        """
        content = path.read_bytes()
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        if lines and lines[0].decode(errors="replace").rstrip("\n") != self._header:
            raise RequestError(
                f"{path}: scores of another request; continue with the same command, or remove the file"
            )
        complete = len(lines[0]) if lines else 0
        for line in lines[1:]:
            try:
                job, part, value = json.loads(line)
            except (ValueError, TypeError):
                break
            self._values.setdefault(job, {})[part] = value
            complete += len(line)
        with path.open("r+b") as handle:
            handle.truncate(complete)
        return complete > 0


@dataclass(frozen=True, slots=True)
class CachedJob:
    """One job of a cache: the values known from before, and where to store new ones."""

    cache: ScoreCache
    name: str
    known: dict[str, Any]

    def store(self, part: str, value: Any) -> None:
        self.cache.store(self.name, part, value)
