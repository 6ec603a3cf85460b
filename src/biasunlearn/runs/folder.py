"""One folder = one run: config.yaml, results.json, items.parquet, metrics.jsonl, adapter/, report.html.

Every file appears whole or not at all (runs/atomic.py), and a folder is one process's at a time (runs/lock.py).
"""

import contextlib
import functools
import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from biasunlearn.data.files import lines_of
from biasunlearn.data.strict_json import BadJSON, parse_json
from biasunlearn.errors import RequestError
from biasunlearn.runs.atomic import tidy, whole_file
from biasunlearn.runs.first_process import is_first
from biasunlearn.runs.identity import first_difference
from biasunlearn.runs.items import write_items
from biasunlearn.runs.lock import acquire_lock
from biasunlearn.runs.places import check_out, refuse_links
from biasunlearn.runs.results import SCHEMA, Environment, MetricsRow, Results, RunConfig, load_results
from biasunlearn.runs.schema import FIX, read_as
from biasunlearn.stats.stereoset import Item
from biasunlearn.strict_yaml import read_yaml

__all__ = ["SCHEMA"]

IDENTITY = "identity"
"""Key of config.yaml: the request by the content of what it reads, as runs/identity.py has it."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Paths and atomic writes of one run."""

    path: Path

    @property
    def adapter(self) -> Path:
        return self.path / "adapter"

    @property
    def model(self) -> Path:
        """Full fine-tuning only: the whole trained model."""
        return self.path / "model"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pt"

    @property
    def checkpoint_before(self) -> Path:
        """The one before it, for the case that the last one cannot be read."""
        return self.path / "checkpoint-before.pt"

    @property
    def scored(self) -> Path:
        """Scores as they come."""
        return self.path / "scored.jsonl"

    def drop_unfinished(self) -> None:
        """Once results.json is there, nothing is left to go on with."""
        for path in (self.checkpoint, self.checkpoint_before, self.scored, self.path / "reference.bin"):
            if is_first():
                path.unlink(missing_ok=True)

    def write_json(self, name: str, content: Any) -> None:
        with whole_file(self.path / name) as temporary:
            text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")

    def write_yaml(self, name: str, content: Any) -> None:
        with whole_file(self.path / name) as temporary:
            temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")

    def write_text(self, name: str, content: str) -> None:
        with whole_file(self.path / name) as temporary:
            temporary.write_text(content, encoding="utf-8")

    def write_stages(self, stages: dict[str, list[Item]]) -> None:
        """items.parquet of a run that scored the same sentences more than once."""
        write_items(self.path / "items.parquet", stages)

    def read_metrics(self) -> list[MetricsRow]:
        """The rows of metrics.jsonl; none where the run did not train. RequestError for what is no such row."""
        path = self.path / "metrics.jsonl"
        if not path.exists():
            return []
        rows = []
        for number, line in enumerate(_lines(path), 1):
            try:
                content = parse_json(line)
            except BadJSON as error:
                raise RequestError(f"{path}:{number}: {error}; {FIX}") from None
            rows.append(read_as(MetricsRow, content, f"{path}:{number}"))
        return rows

    def read_results(self) -> Results:
        """results.json. RequestError where the folder holds no finished run, or something else than results."""
        return load_results(self.path)

    def read_config(self) -> RunConfig:
        """config.yaml. RequestError where it is missing or holds something else."""
        path = self.path / "config.yaml"
        try:
            content = read_yaml(path)
        except RequestError as error:
            raise RequestError(f"{error}; {FIX}") from None
        return read_as(RunConfig, content, str(path))


def _lines(path: Path) -> list[str]:
    try:
        return list(lines_of(path.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{path}: cannot be read: {error}; {FIX}") from None


def new_run(
    out: str | Path, *, resume: bool = False, identity: Mapping[str, Any] | None = None
) -> RunFolder:
    """Makes the folder of a run and locks it for this process, until the end of `lock.releasing_locks`.

    Args:
        identity: of the request (runs/identity.py); an unfinished run of another one is not resumed.
    Raises:
        RequestError: it already holds a run, or a half-finished one that was not asked to be resumed; another process
            is writing there; it cannot be written; it holds links.
    """
    run = RunFolder(Path(out))
    if not is_first():
        return run
    check_out(out)
    _check_free(run, resume, identity)
    try:
        acquire_lock(run.path)
        tidy(run.path)
    except OSError as error:
        raise RequestError(f"{out}: cannot be written: {error.strerror or error}") from None
    _check_free(run, resume, identity)  # again: whoever held it until now may have finished
    return run


def _check_free(run: RunFolder, resume: bool, identity: Mapping[str, Any] | None) -> None:
    refuse_links(run.path, written=True)
    if (run.path / "results.json").exists():
        raise RequestError(f"{run.path}: already holds a finished run; choose another --out or remove it")
    has_config = (run.path / "config.yaml").exists()
    begun = has_config or run.scored.exists()
    if begun and not resume:
        raise RequestError(f"{run.path}: already holds an unfinished run; add --resume to go on, or remove it")
    # A run that was killed in its first moment left at most hidden files: going on with it is to begin.
    just_made = run.path.is_dir() and all(entry.name.startswith(".") for entry in run.path.iterdir())
    if resume and not begun and not just_made:
        raise RequestError(f"{run.path}: nothing to resume here (config.yaml is missing)")
    if has_config and identity is not None:
        _check_identity(run, identity)


def _check_identity(run: RunFolder, identity: Mapping[str, Any]) -> None:
    """RequestError unless config.yaml has this identity."""
    stored = (run.read_config().model_extra or {}).get(IDENTITY)
    state = "a finished" if (run.path / "results.json").exists() else "an unfinished"
    if not isinstance(stored, Mapping):
        raise RequestError(
            f"{run.path}: begun with a version that did not store what it read, so it is not known whether this is "
            "the same request; choose another --out"
        )
    if found := first_difference(stored, identity):
        raise RequestError(
            f"{run.path}: already holds {state} run of another request ({found}); repeat that one, or choose another "
            "--out"
        )


def finished(out: str | Path, identity: Mapping[str, Any]) -> Results | None:
    """The results of the very same request, where a resumed run finds them already written. None for no results.

    Raises:
        RequestError: the results are those of another request, of other data, or of another version.
    """
    run = RunFolder(Path(out))
    check_out(out)
    if not (run.path / "results.json").exists():
        return None
    refuse_links(run.path)
    _check_identity(run, identity)
    if is_first():
        with contextlib.suppress(OSError):  # a finished folder may be read-only by now
            acquire_lock(run.path)
            tidy(run.path)
            run.drop_unfinished()
    return run.read_results()


def environment() -> Environment:
    """What produced a result: versions, platform, the exact command."""
    packages = ("biasunlearn", "torch", "transformers", "peft", "accelerate", "datasets", "numpy")
    return Environment(
        command=" ".join(["biasunlearn", *sys.argv[1:]]),
        python=platform.python_version(),
        platform=platform.platform(),
        versions={name: _version(name) for name in packages},
    )


@functools.cache  # reading what pip has noted of a package takes milliseconds
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
