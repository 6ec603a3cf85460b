"""One folder = one run: config.yaml, results.json, items.parquet, metrics.jsonl, adapter/, report.html.

Every file appears whole or not at all: it is written beside its place, synced, then renamed. Of several processes
only the first one writes; what the others would write goes to a folder that is thrown away.
"""

import contextlib
import json
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from .errors import RequestError
from .metrics import Item

SCHEMA = 1


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

    def drop_checkpoint(self) -> None:
        """Once the adapter is saved, nothing is left to go on with."""
        if is_first():
            self.checkpoint.unlink(missing_ok=True)

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

    def write_metrics(self, rows: Sequence[dict[str, Any]]) -> None:
        """metrics.jsonl, rewritten whole: a resumed run keeps exactly the rows of its checkpoint."""
        lines = "".join(json.dumps(row, allow_nan=True) + "\n" for row in rows)
        self.write_text("metrics.jsonl", lines)

    def read_metrics(self) -> list[dict[str, Any]]:
        """The rows of metrics.jsonl; none where the run did not train."""
        path = self.path / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def read_results(self) -> dict[str, Any]:
        """results.json. RequestError where the folder holds no finished run."""
        try:
            content = json.loads((self.path / "results.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RequestError(f"{self.path}: no finished run here (results.json is missing)") from None
        except (OSError, json.JSONDecodeError) as error:
            raise RequestError(f"{self.path}/results.json: cannot be read: {error}") from None
        if not isinstance(content, dict) or content.get("schema") != SCHEMA:
            raise RequestError(f"{self.path}/results.json: not schema {SCHEMA}; made by another version")
        return content


def is_first() -> bool:
    """The process that writes and prints; the others only compute. Launchers say it in the environment."""
    return os.environ.get("RANK", "0") == "0"


def new_run(out: str | Path, *, resume: bool = False) -> RunFolder:
    """Makes the folder of a run.

    Raises:
        RequestError: it already holds a run, or a half-finished one that was not asked to be resumed.
    """
    run = RunFolder(Path(out))
    if not is_first():
        return run
    if (run.path / "results.json").exists():
        raise RequestError(f"{out}: already holds a finished run; choose another --out or remove it")
    if (run.path / "config.yaml").exists() and not resume:
        raise RequestError(f"{out}: already holds an unfinished run; add --resume to go on, or remove it")
    if resume and not (run.path / "config.yaml").exists():
        raise RequestError(f"{out}: nothing to resume here (config.yaml is missing)")
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        with whole_file(run.path / ".writable") as temporary:
            temporary.touch()
        (run.path / ".writable").unlink()
    except OSError as error:
        raise RequestError(f"{out}: cannot be written: {error.strerror or error}") from None
    return run


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; on success it is synced and takes its name, else it is removed."""
    if not is_first():
        with tempfile.TemporaryDirectory() as thrown_away:
            yield Path(thrown_away) / path.name
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """The same for a folder. The old one is moved aside first, so that one of the two is always there."""
    if not is_first():
        with tempfile.TemporaryDirectory() as thrown_away:
            yield Path(thrown_away)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    old = path.with_name(f".{path.name}.old")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(old, ignore_errors=True)
        if path.exists():
            path.replace(old)
        temporary.replace(path)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_items(path: Path, stages: dict[str, list[Item]]) -> None:
    """One row per scored sentence; with more than one stage, a `stage` column tells them apart."""
    import pyarrow
    import pyarrow.parquet

    rows = [
        {**asdict(item), **({"stage": stage} if stage else {})} for stage, items in stages.items() for item in items
    ]
    with whole_file(path) as temporary:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), temporary)


def read_items(path: Path) -> dict[str, list[Item]]:
    """items.parquet back into items, by stage ("" where there is only one)."""
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(path)
    except Exception as error:
        raise RequestError(f"{path}: not our items: {str(error).splitlines()[0]}") from None
    if not table.num_rows:  # a run whose benchmarks have no items
        return {}
    needed = {field.name for field in fields(Item) if field.default is MISSING}
    missing = sorted(needed - set(table.column_names))
    if missing:
        raise RequestError(f"{path}: not our items: the columns {', '.join(missing)} are missing")
    names = [field.name for field in fields(Item) if field.name in table.column_names]  # older runs have fewer
    stages: dict[str, list[Item]] = {}
    for row in table.to_pylist():
        stages.setdefault(row.get("stage") or "", []).append(Item(**{name: row[name] for name in names}))
    return stages


def environment() -> dict[str, Any]:
    """What produced a result: versions, platform, the exact command."""
    packages = ("biasunlearn", "torch", "transformers", "peft", "accelerate", "datasets", "numpy")
    return {
        "command": " ".join(["biasunlearn", *sys.argv[1:]]),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in packages},
    }


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
