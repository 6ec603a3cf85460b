"""The unrelated set: sentences of one source or of several, on which the model has to stay as it is."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biasunlearn.data.readers import DataFile, is_plain_text, read_triplets, read_unrelated
from biasunlearn.data.records import Triplet
from biasunlearn.data.tables import MemoryTable, table_given

Unrelated = str | MemoryTable | Sequence[str]
"""A path, rows in memory, or several paths, as they are requested and stored."""


@dataclass(frozen=True, slots=True)
class UnrelatedSources:
    """The sources of the unrelated set as they were read: triplets, or the paths of text files."""

    sources: tuple[DataFile | str | MemoryTable, ...] = ()

    @property
    def data_files(self) -> tuple[DataFile, ...]:
        """Those that have triplets."""
        return tuple(source for source in self.sources if isinstance(source, DataFile))

    @property
    def triplets(self) -> tuple[Triplet, ...]:
        """Of all files that have some; they may name target terms of the training pairs."""
        return tuple(triplet for data in self.data_files for triplet in data.triplets)

    @property
    def skipped(self) -> list[str]:
        """Rows that were left out, one line each."""
        return [line for data in self.data_files for line in data.skipped]

    def sentences(self) -> tuple[tuple[tuple[str, ...], ...], str]:
        """The sentences of each source, and one hash of all of them. There must be a source."""
        read = [read_unrelated(source) for source in self.sources]
        hashes = [digest for _, digest in read]
        whole = hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()
        return tuple(sentences for sentences, _ in read), whole


def unrelated_given(source: Any, argument: str) -> Unrelated | None:
    """An argument of a function: nothing, a path, rows in memory, or several paths as a list of `Path`.

    A list of texts is a list of sentences; only `Path` objects name files in a list.
    """
    if source is None:
        return None
    if isinstance(source, list | tuple) and source and all(isinstance(one, Path) for one in source):
        return str(source[0]) if len(source) == 1 else tuple(map(str, source))
    return table_given(source, argument)


def read_sources(unrelated: Unrelated | None, *, skip_invalid: bool = False) -> UnrelatedSources:
    """Reads files with triplets; of text files only the paths are kept.

    Raises:
        DataError: a file has invalid rows, and `skip_invalid` is off.
        RequestError: a file cannot be read.
    """
    given: Iterable[str | MemoryTable] = (
        () if unrelated is None else [unrelated] if isinstance(unrelated, str | MemoryTable) else unrelated
    )
    return UnrelatedSources(
        tuple(one if is_plain_text(one) else read_triplets(one, skip_invalid=skip_invalid) for one in given)
    )


def stored(unrelated: Unrelated | None) -> str | list[str] | None:
    """As plain values, for config.yaml."""
    if unrelated is None or isinstance(unrelated, str | MemoryTable):
        return None if unrelated is None else str(unrelated)
    return list(unrelated)


def in_words(unrelated: Unrelated | None) -> str | None:
    """The names of all sources, for tables."""
    found = stored(unrelated)
    return ", ".join(found) if isinstance(found, list) else found
