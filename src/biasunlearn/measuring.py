"""`measure` and `rescore`: a model, or stored scores, against benchmarks -> results, without any training."""

import gzip
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from .checks import contamination
from .data import read_clusters
from .errors import RequestError
from .holding import letting_go
from .metrics import Item, stereoset_entry
from .records import Cluster, Kind
from .remembering import Memory
from .rundir import SCHEMA, RunFolder, environment, finished, new_run, read_items

Progress = Callable[[str, int, int], None]
"""Called with (what, done, of)."""

MANIFEST = "training_data.json"
"""In the adapter's folder: hashes of the pairs it has seen."""


@letting_go()
def measure(
    model: str,
    benchmarks: Mapping[str, str],
    *,
    adapter: str | None = None,
    out: str | Path | None = None,
    dtype: str = "float32",
    batch_tokens: int = 4096,
    skip_invalid: bool = False,
    trust_remote_code: bool = False,
    resume: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measures a model, with its adapter if one is given, on benchmarks given as {name: path}.

    A benchmark that overlaps what the adapter was trained on is stamped `contaminated`, with the count.

    Args:
        resume: go on with a run in `out` that was killed: what it has scored is not scored again.
    Returns:
        The content of results.json; written, with items.parquet and config.yaml, where `out` is given.
    Raises:
        RequestError: an unknown benchmark, a bad file, a model that cannot be loaded, a folder that holds a run.
        WriteError: the disk is full or the like; call again with resume=True.
    """
    known_benchmarks(benchmarks)
    request = {"model": model, "adapter": adapter, "benchmarks": dict(benchmarks), "dtype": dtype}
    if resume and out is not None and (stored := finished(out, {"measure": request})) is not None:
        return stored
    run = new_run(out, resume=resume) if out is not None else None
    memory = Memory(run.scored, {"measure": request}) if run is not None else None
    from .models import load  # torch is only imported once the request is known to be sound

    loaded = load(model, adapter=adapter, dtype=dtype, trust_remote_code=trust_remote_code).remembering(memory)
    items, entries = run_benchmarks(
        loaded, benchmarks, batch_tokens=batch_tokens, skip_invalid=skip_invalid, progress=progress
    )
    stamp(entries, benchmarks, read_manifest(adapter or model), skip_invalid=skip_invalid)
    results = {
        "schema": SCHEMA,
        "model": model,
        "adapter": adapter,
        "protocol": {"text": "raw", "dtype": dtype, "masked": loaded.masked},
        "benchmarks": entries,
        "environment": environment(),
    }
    if run is not None:
        finish(run, results, {"measure": request}, {"": items})
    return results


@letting_go()
def rescore(
    benchmark: Mapping[str, str], scores: str, *, out: str | Path | None = None, skip_invalid: bool = False
) -> dict[str, Any]:
    """The table of a benchmark from stored scores, without a model.

    Args:
        benchmark: {"stereoset": path of the official clusters}; not needed for our own items.parquet.
        scores: an official prediction file ({"intrasentence": [{"id", "score"}], ...}, .gz is read through), or
            items.parquet of a run (its last stage).
    """
    known_benchmarks(benchmark, only=("stereoset",))
    run = new_run(out) if out is not None else None
    if scores.endswith(".parquet"):
        items = [item for item in list(read_items(Path(scores)).values())[-1] if item.benchmark == "stereoset"]
        unscored = 0
    else:
        if "stereoset" not in benchmark:
            raise RequestError(f"{scores}: a prediction file holds ids and scores only: add --benchmark stereoset=PATH")
        data = read_clusters(benchmark["stereoset"], skip_invalid=skip_invalid)
        items, unscored = _official_items(data.clusters, _predictions(scores), scores)
    entry = stereoset_entry(items) | {"data": benchmark.get("stereoset"), "unscored_clusters": unscored}
    results = {
        "schema": SCHEMA,
        "model": None,
        "adapter": None,
        "scores": scores,
        "benchmarks": {"stereoset": entry},
        "environment": environment(),
    }
    if run is not None:
        finish(run, results, {"rescore": {"benchmark": dict(benchmark), "scores": scores}}, {"": items})
    return results


def run_benchmarks(
    loaded: Any,
    benchmarks: Mapping[str, str],
    *,
    batch_tokens: int = 4096,
    skip_invalid: bool = False,
    progress: Progress | None = None,
    label: str = "",
) -> tuple[list[Item], dict[str, Any]]:
    """Each benchmark in turn: all items, and the entries of results.json."""
    from .benchmarks import BENCHMARKS

    items: list[Item] = []
    entries: dict[str, Any] = {}
    for name, path in benchmarks.items():

        def tell(done: int, of: int, name: str = name) -> None:
            if progress:
                progress(f"{label}{name}", done, of)

        found, entries[name] = BENCHMARKS[name](
            loaded, path, skip_invalid=skip_invalid, batch_tokens=batch_tokens, progress=tell
        )
        items += found
    return items, entries


def stamp(
    entries: dict[str, Any], benchmarks: Mapping[str, str], manifest: Mapping[str, Any] | None, *, skip_invalid: bool
) -> None:
    """Marks the StereoSet entry as contaminated where the adapter has seen some of its clusters."""
    if manifest is None or "stereoset" not in benchmarks:
        return
    clusters = read_clusters(benchmarks["stereoset"], skip_invalid=skip_invalid).clusters
    if seen := contamination(clusters, manifest):
        entries["stereoset"]["contaminated"] = seen


def read_manifest(adapter: str | Path | None) -> dict[str, Any] | None:
    """What an adapter was trained on, where it says so."""
    path = None if adapter is None else Path(adapter) / MANIFEST
    if path is None or not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise RequestError(f"{path}: cannot be read: {error}") from None
    return content if isinstance(content, dict) else None


def known_benchmarks(benchmarks: Iterable[str], only: tuple[str, ...] = ("stereoset", "perplexity")) -> None:
    """RequestError for a name that is not one of them."""
    for name in benchmarks:
        if name not in only:
            raise RequestError(f"--benchmark {name}: unknown here; known: {', '.join(only)}")


def finish(run: RunFolder, results: dict[str, Any], config: dict[str, Any], stages: dict[str, list[Item]]) -> None:
    """Writes a run folder; results.json last, since it says that the run is finished and needs no more to go on."""
    from .report import report_page

    run.write_yaml("config.yaml", config)
    run.write_stages(stages)
    run.write_text("report.html", report_page(results, run.read_metrics()))
    run.write_json("results.json", results)
    run.drop_unfinished()


def _predictions(path: str) -> dict[str, dict[str, float]]:
    """{kind: {sentence id: score}} of an official prediction file."""
    try:
        raw = Path(path).read_bytes()
        content = json.loads(gzip.decompress(raw) if path.endswith(".gz") else raw)
    except FileNotFoundError:
        raise RequestError(f"{path}: no such file") from None
    except (OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise RequestError(f"{path}: not a prediction file: {error}") from None
    kinds: tuple[Kind, ...] = ("intrasentence", "intersentence")
    if not isinstance(content, dict) or not any(isinstance(content.get(kind), list) for kind in kinds):
        raise RequestError(f'{path}: not a prediction file: needs {{"intrasentence": [{{"id", "score"}}, ...]}}')
    try:
        return {kind: {row["id"]: float(row["score"]) for row in content[kind]} for kind in kinds if kind in content}
    except (TypeError, KeyError, ValueError) as error:
        raise RequestError(f"{path}: a prediction lacks id or score, or its score is not a number: {error}") from None


def _official_items(
    clusters: Iterable[Cluster], predictions: Mapping[str, Mapping[str, float]], path: str
) -> tuple[list[Item], int]:
    """Items of every cluster whose sentences all have a prediction, and how many clusters have none at all."""
    items: list[Item] = []
    unscored = 0
    for cluster in clusters:
        known = predictions.get(cluster.kind, {})
        found = [(role, sentence) for role, sentence in cluster.sentences() if sentence.id in known]
        if not found:
            unscored += 1
            continue
        if len(found) < len(cluster.sentences()):
            raise RequestError(f"{path}: only {len(found)} sentences of cluster {cluster.id}; the file is incomplete")
        items += [
            Item(
                "stereoset", sentence.id, cluster.id, cluster.bias_type, cluster.target or cluster.context,
                cluster.kind, role, known[sentence.id], 0,
            )
            for role, sentence in found
        ]  # fmt: skip
    if not items:
        raise RequestError(f"{path}: none of its ids stands in the benchmark file")
    return items, unscored
