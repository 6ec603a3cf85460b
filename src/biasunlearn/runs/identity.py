"""What makes a run the same run: its request, the content of everything that it reads, and the version.

Names of files and folders are no part of it: a run may go on after its data, its model or its own folder was moved, or
with an absolute path instead of a relative one. What a file contains is: after a change of it, the stored results are
those of another run.
"""

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from biasunlearn._version import __version__
from biasunlearn.errors import RequestError

READ = frozenset((
    "model", "adapter", "run", "to", "base", "on", "train", "report", "unrelated", "data", "scores", "benchmark",
    "benchmarks", "classifiers", "judges", "lm_eval", "groups",
))  # fmt: skip
"""Keys of a request whose values name what is read."""

PLACES = frozenset(("cache", "budget", "concurrency", "call_timeout"))
"""Keys of a request that say where something is stored, or how fast and how often an endpoint is called."""

OF_MODEL = frozenset((".safetensors", ".bin", ".json", ".txt", ".model", ".jinja", ".py", ".vocab", ".bpe"))
"""Files of a model's folder that its outputs depend on: weights, configuration, tokenizer, templates, code."""

OF_RUN = ("config.yaml", "results.json", "items.parquet", "adapter", "model")
"""Parts of a run folder that do not change once it has finished."""


def identity(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request with a hash of the content in place of every name, and the version of this package.

    Args:
        request: {command: its arguments, ...}, as in config.yaml.
    Raises:
        RequestError: something that is read cannot be opened.
    """
    return {"version": __version__, **{name: _by_content(value, False) for name, value in request.items()}}


def first_difference(stored: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What the first difference between two identities is, in words: "" where there is none."""
    if stored.get("version") != now["version"]:
        return f"it was begun with version {stored.get('version')}, and this is {now['version']}"
    if stored.keys() != now.keys():
        return f"it is one of {', '.join(sorted(stored.keys() - {'version'}))}"
    before, after = dict(_leaves(stored)), dict(_leaves(now))
    for key in sorted({*before, *after}):
        was, new = before.get(key), after.get(key)
        if was != new:
            name = ", ".join(key[1:]) or key[0]
            changed = all(isinstance(value, str) and value.startswith("sha256:") for value in (was, new))
            return f"{name}: its content has changed" if changed else f"{name}: it was {was}, and is {new} now"
    return ""


def _leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, (*place, str(key)))
    else:
        yield place, value


def _by_content(value: Any, read: bool) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _by_content(part, read or key in READ) for key, part in value.items() if key not in PLACES}
    if isinstance(value, list | tuple):
        return [_by_content(part, read) for part in value]
    if read and isinstance(value, str | Path):
        return content_of(str(value))
    return str(value) if isinstance(value, Path) else value


def content_of(name: str) -> str:
    """The hash of a file or folder, "sha256:..."; of a hub name the name with the commit that is in the cache.

    Raises:
        RequestError: it cannot be opened.
    """
    path, _, label = name.partition("#")  # a classifier may name its label
    try:
        there = Path(path).exists()
    except OSError:  # a name that is too long
        there = False
    if not there:
        return f"{name}{_commit(path)}"
    try:
        digest = _folder_hash(Path(path)) if Path(path).is_dir() else _file_hash(Path(path))
    except OSError as error:
        raise RequestError(f"{name}: cannot be read: {error.strerror or error}") from None
    return f"sha256:{digest}" + (f"#{label}" if label else "")


def _commit(name: str) -> str:
    """@COMMIT of a hub repository's main branch as it is in the cache; "" where it is none, or not there."""
    if name.count("/") != 1:
        return ""
    from huggingface_hub import constants

    reference = Path(constants.HF_HUB_CACHE) / f"models--{name.replace('/', '--')}" / "refs" / "main"
    try:
        return f"@{reference.read_text().strip()}"
    except (OSError, ValueError):
        return ""


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(_files(folder)):
        digest.update(f"{path.relative_to(folder)} {_file_hash(path)}\n".encode())
    return digest.hexdigest()


def _files(folder: Path) -> Iterable[Path]:
    """The files of a run, a model, an adapter or a folder of data that results depend on."""
    if all((folder / name).exists() for name in ("config.yaml", "results.json")):
        parts = [folder / name for name in OF_RUN if (folder / name).exists()]
        return [file for part in parts for file in (_files(part) if part.is_dir() else [part])]
    if (folder / "config.json").exists():
        return [path for path in folder.iterdir() if path.suffix in OF_MODEL and path.is_file()]
    return [path for path in folder.rglob("*") if path.is_file() and path.name != "README.md"]


def _file_hash(path: Path) -> str:
    if not path.is_file():  # a pipe would never end
        return "no file"
    found = path.stat()
    return _hash_once(str(path.resolve()), found.st_size, found.st_mtime_ns)


@functools.lru_cache(maxsize=4096)
def _hash_once(path: str, _size: int, _changed: int) -> str:
    """The hash of a file, computed once per process as long as the file is unchanged."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
