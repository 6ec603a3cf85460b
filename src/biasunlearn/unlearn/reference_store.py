"""What the reference has said of each sentence, in a file beside the checkpoint: computed once, also over a resume.

The file only grows, and a checkpoint says how much of it was there: a resumed run forgets what came after it, so that
it asks for the same sentences in the same company, and its numbers are those of a run that was never killed, bit for
bit. Reading is left to the system's cache: what fits into memory stays there, the rest comes from the disk.
"""

import json
import os
from pathlib import Path

import torch
from torch import Tensor

from biasunlearn.data.records import Passage
from biasunlearn.runs.atomic import writing

LIMIT = 4 * 2**30
"""Bytes that are kept in the file; what comes then is computed each time."""

LIMIT_WITHOUT_A_FILE = 2**29
"""Bytes that are kept in memory where there is no file."""

Key = tuple[str, str, str]
"""Role, prefix, text."""


class ReferenceStore:
    """Tensors by role and sentence. `path` None: in memory, for this process only."""

    def __init__(self, path: Path | None = None):
        self._path = path
        self._held: dict[Key, Tensor] = {}
        self._places: dict[Key, tuple[int, int, torch.dtype, list[int]]] = {}
        self._size = 0

    def knows(self, role: str, passage: Passage) -> bool:
        key = (role, passage.prefix, passage.text)
        return key in self._held or key in self._places

    def get(self, role: str, passage: Passage) -> Tensor:
        """What was put in, bit for bit, in main memory."""
        key = (role, passage.prefix, passage.text)
        if key in self._held:
            return self._held[key]
        assert self._path is not None
        begin, length, dtype, shape = self._places[key]
        with self._path.open("rb") as handle:
            content = bytearray(os.pread(handle.fileno(), length, begin))
        return torch.frombuffer(content, dtype=dtype).reshape(shape)

    def put(self, role: str, passage: Passage, value: Tensor) -> None:
        """Keeps a value, where there is room for it.

        Raises:
            WriteError: the disk is full or the like.
        """
        value, key = value.detach().to("cpu").contiguous(), (role, passage.prefix, passage.text)
        if self._path is None:
            if self._size + value.nbytes <= LIMIT_WITHOUT_A_FILE:
                self._held[key] = value.clone()
                self._size += value.nbytes
            return
        head = json.dumps([*key, str(value.dtype).removeprefix("torch."), list(value.shape)]).encode() + b"\n"
        if self._size + len(head) + value.nbytes > LIMIT or not value.numel():
            return
        with writing(self._path), self._path.open("ab") as handle:
            handle.write(head + value.reshape(-1).view(torch.uint8).numpy().tobytes())
        self._places[key] = self._size + len(head), value.nbytes, value.dtype, list(value.shape)
        self._size += len(head) + value.nbytes

    def mark(self) -> int:
        """How much there is, all of it on the disk: what a checkpoint notes."""
        if self._path is None or not self._path.exists():
            return 0
        with writing(self._path), self._path.open("rb") as handle:
            os.fsync(handle.fileno())
        return self._size

    def cut(self, size: int) -> None:
        """Forgets what was added after a mark. A file that is shorter than that is not the one: all is forgotten."""
        self._held, self._places, self._size = {}, {}, 0
        if self._path is None or not self._path.exists():
            return
        size = size if self._path.stat().st_size >= size else 0
        with self._path.open("rb") as handle:
            while self._size < size:
                head = handle.readline()
                role, prefix, text, name, shape = json.loads(head)
                dtype = getattr(torch, name)
                length = dtype.itemsize * int(torch.Size(shape).numel())
                self._places[role, prefix, text] = self._size + len(head), length, dtype, shape
                self._size = handle.seek(length, os.SEEK_CUR)
        os.truncate(self._path, self._size)
