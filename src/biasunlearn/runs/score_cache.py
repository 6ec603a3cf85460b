"""What a long measurement has found so far, on disk as it comes, so that a killed one goes on where it stopped.

The file has one line per piece of work, appended and never rewritten. It is removed once the results are stored.
Without a file the memory lasts as long as the process: several runs on one model share what it scores untrained.
"""

import hashlib
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.runs.atomic import append, is_first

SYNC_EVERY = 10.0
"""Seconds after which what was appended is also forced onto the disk: what a power cut may cost."""


class Memory:
    """The pieces of work that are done, by job. Only the first process reads and writes; the others start empty.

    A job is a call that does many pieces of work. Its identity says everything that its findings depend on, and its
    place among the jobs of the run keeps two of the same identity apart.

    Args:
        path: None: nothing is stored.
    Raises:
        RequestError: the file belongs to another request.
    """

    def __init__(self, path: Path | None = None, request: Any = None):
        self._path = path
        self._head = json.dumps({"request": request}, sort_keys=True)
        self._found: dict[str, dict[str, Any]] = {}
        self._jobs = 0
        self._model = ""
        self._synced = time.monotonic()
        self._begun = is_first() and path is not None and path.exists() and self._read(path)

    def again(self) -> "Memory":
        """The same memory for another run, whose jobs are counted from the first one again."""
        self._jobs = 0
        return self

    def about(self, model: str) -> "Memory":
        """The same memory, whose next jobs are about another model, given by a hash of its weights."""
        self._model = model
        return self

    def job(self, identity: str) -> "Job":
        """The next job of the run."""
        self._jobs += 1
        name = f"{self._jobs} {hashlib.sha256(f'{self._model} {identity}'.encode()).hexdigest()}"
        return Job(self, name, self._found.setdefault(name, {}))

    def keep(self, job: str, part: str, found: Any) -> None:
        """Stores what was found for a part of a job: any JSON. Numbers come back bit for bit."""
        if self._path is None:
            self._found[job][part] = found
            return
        if not self._begun:
            append(self._path, self._head + "\n")
            self._begun = True
        due = time.monotonic() - self._synced >= SYNC_EVERY
        append(self._path, json.dumps([job, part, found]) + "\n", sync=due)
        if due:
            self._synced = time.monotonic()

    def _read(self, path: Path) -> bool:
        """Every whole line; a last line that a killed process left unfinished is cut off. False: not even a head."""
        content = path.read_bytes()
        lines = content[: content.rfind(b"\n") + 1].splitlines(keepends=True)
        if lines and lines[0].decode(errors="replace").rstrip("\n") != self._head:
            raise RequestError(
                f"{path}: scores of another request; go on with the very same command, or remove the file"
            )
        sound = len(lines[0]) if lines else 0
        for line in lines[1:]:
            try:
                job, part, found = json.loads(line)
            except (ValueError, TypeError):
                break
            self._found.setdefault(job, {})[part] = found
            sound += len(line)
        with path.open("r+b") as handle:
            handle.truncate(sound)
        return sound > 0


@dataclass(frozen=True, slots=True)
class Job:
    """One job of a memory: what is known of it from before, and where to put what is found now."""

    memory: Memory
    name: str
    known: dict[str, Any]

    def keep(self, part: str, found: Any) -> None:
        self.memory.keep(self.name, part, found)
