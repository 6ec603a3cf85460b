"""The sentences behind item ids, read from the data file that a run names: run folders hold none of their own."""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from biasunlearn.data.readers import read_triplets
from biasunlearn.errors import DataError, RequestError


def sentences_of(results: Mapping[str, Any]) -> dict[str, str]:
    """{sentence id: text} of StereoSet's file; nothing where it is gone, has changed, or would have to be fetched."""
    entry = (results.get("benchmarks") or {}).get("stereoset") or {}
    path, digest = entry.get("data"), entry.get("sha256")
    return _read(str(path), str(digest)) if path and digest and Path(str(path)).is_file() else {}


@lru_cache(maxsize=8)
def _read(path: str, digest: str) -> dict[str, str]:
    try:
        data = read_triplets(path, skip_invalid=True)
    except (DataError, RequestError, OSError):
        return {}
    if data.sha256 != digest:
        return {}
    return {sentence.id: sentence.text for triplet in data.triplets for _, sentence in triplet.sentences()}
