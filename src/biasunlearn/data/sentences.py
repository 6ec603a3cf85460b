"""The sentences behind item ids, read from the data file that a run names: run folders hold none of their own."""

from functools import lru_cache
from pathlib import Path

from biasunlearn.data.readers import read_triplets
from biasunlearn.errors import DataError, RequestError


def sentences_of(path: str | None, digest: str | None) -> dict[str, str]:
    """{sentence id: text} of a StereoSet file; nothing where it is gone, has changed, or would have to be fetched.

    Args:
        path: the data file that a run names; None where it names none.
        digest: the SHA-256 that the file had.
    """
    return _read(path, digest) if path and digest and Path(path).is_file() else {}


@lru_cache(maxsize=8)
def _read(path: str, digest: str) -> dict[str, str]:
    try:
        data = read_triplets(path, skip_invalid=True)
    except (DataError, RequestError, OSError):
        return {}
    if data.sha256 != digest:
        return {}
    return {sentence.id: sentence.text for triplet in data.triplets for _, sentence in triplet.sentences()}
