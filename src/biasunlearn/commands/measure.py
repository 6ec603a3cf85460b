"""`measure` and `rescore`: a model, or stored scores, against benchmarks -> results, without any training."""

import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from biasunlearn.benchmarks import BENCHMARKS, NAMES, WRITTEN
from biasunlearn.data.checks import contamination
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Kind, Triplet
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.folder import SCHEMA, RunFolder, environment, finished, new_run, read_items
from biasunlearn.runs.lock import releasing_locks
from biasunlearn.runs.results import Capability, Contamination, Manifest, Measured, Results, ScoringProtocol, only_given
from biasunlearn.runs.schema import read_as, read_json
from biasunlearn.runs.score_cache import ScoreCache
from biasunlearn.scoring.protocol import Asking
from biasunlearn.stats.stereoset import Item

Progress = Callable[[str, int, int], None]
"""Called with (what, done, of)."""

DATA_FACTS = ("data", "sha256", "skipped", "skipped_rows")
"""What an entry says about its data file, which the items do not know."""

CONTINUATIONS = "generations"
"""Folder of a run: what a model wrote, so that it need not write it again."""

MANIFEST = "training_data.json"
"""In the adapter's folder: hashes of the pairs it has seen."""


@releasing_locks()
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
    asking: Asking | None = None,
    progress: Progress | None = None,
) -> Results:
    """Measures a model, with its adapter if one is given, on benchmarks given as {name: path}.

    A benchmark that overlaps what the adapter was trained on is stamped `contaminated`, with the count.

    Args:
        resume: go on with a run in `out` that was killed: what it has scored is not scored again.
        asking: chat template, classifiers, prompts and continuations, tasks of lm-eval.
    Returns:
        The results; written as results.json, with items.parquet and config.yaml, where `out` is given.
    Raises:
        RequestError: an unknown benchmark, a bad file, a model that cannot be loaded, a folder that holds a run.
        WriteError: the disk is full or the like; call again with resume=True.
    """
    known_benchmarks(benchmarks)
    asking = sound(asking or Asking(), benchmarks, out)
    request = {"model": model, "adapter": adapter, "benchmarks": dict(benchmarks), "dtype": dtype}
    request |= {"asking": plain(asking)}
    if resume and out is not None and (stored := finished(out, {"measure": request})) is not None:
        return stored
    run = new_run(out, resume=resume) if out is not None else None
    memory = ScoreCache(run.scored, {"measure": request}) if run is not None else None
    from biasunlearn.models.load import load
    from biasunlearn.models.quantization import facts
    from biasunlearn.scoring.chat import protocol

    loaded = load(ModelSpec(model, adapter=adapter, dtype=dtype, trust_remote_code=trust_remote_code))
    loaded = ready(loaded, asking).with_cache(memory)
    items, measured = run_benchmarks(
        loaded, benchmarks, batch_tokens=batch_tokens, skip_invalid=skip_invalid, asking=asking, progress=progress
    )
    measured = stamp(measured, benchmarks, read_manifest(adapter or model), skip_invalid=skip_invalid)
    results = Results(
        schema=SCHEMA,
        model=model,
        adapter=adapter,
        protocol=ScoringProtocol(**protocol(loaded), dtype=dtype, masked=loaded.masked, **facts(loaded.model)),
        benchmarks=measured,
        **only_given(capability=capability(loaded, asking)),
        environment=environment(),
    )
    if run is not None:
        finish(run, results, {"measure": request}, {"": items})
    return results


@releasing_locks()
def rescore(
    benchmark: Mapping[str, str], scores: str, *, out: str | Path | None = None, skip_invalid: bool = False
) -> Results:
    """The tables of benchmarks from stored scores, without a model.

    Args:
        benchmark: {"stereoset": path of the official triplets}; not needed for our own items.parquet.
        scores: an official prediction file ({"intrasentence": [{"id", "score"}], ...}, .gz is read through), or
            items.parquet of a run, with all its benchmarks and stages. What is only known beside it (data file, hash,
            skipped rows) is taken from the run's results.json, if that is there.
    """
    known_benchmarks(benchmark, only=("stereoset",))
    run = new_run(out) if out is not None else None
    if scores.endswith(".parquet"):
        stages = read_items(Path(scores))
        tables = _tables_of(stages, Path(scores).parent)
    else:
        if "stereoset" not in benchmark:
            raise RequestError(f"{scores}: a prediction file holds ids and scores only: add --benchmark stereoset=PATH")
        data = read_triplets(benchmark["stereoset"], skip_invalid=skip_invalid)
        items, unscored = _official_items(data.triplets, _predictions(scores), scores)
        stages = {"": items}
        entry = _entry("stereoset", items) | data.facts | {"unscored_clusters": unscored}
        tables = {"benchmarks": Measured.model_validate({"stereoset": entry})}
    content = {"schema": SCHEMA, "model": None, "adapter": None, "scores": scores, **tables}
    results = read_as(Results, {**content, "environment": environment()}, scores)
    if run is not None:
        finish(run, results, {"rescore": {"benchmark": dict(benchmark), "scores": scores}}, stages)
    return results


def run_benchmarks(
    loaded: Any,
    benchmarks: Mapping[str, str],
    *,
    batch_tokens: int = 4096,
    skip_invalid: bool = False,
    asking: Asking | None = None,
    progress: Progress | None = None,
    label: str = "",
) -> tuple[list[Item], Measured]:
    """Each benchmark in turn: all items, and what each benchmark gave."""
    items: list[Item] = []
    entries: dict[str, Any] = {}
    for name, path in benchmarks.items():

        def tell(done: int, of: int, name: str = name) -> None:
            if progress:
                progress(f"{label}{name}", done, of)

        how = {"asking": asking} if name in WRITTEN else {}
        found, entries[name] = BENCHMARKS[name].run(
            loaded, path, skip_invalid=skip_invalid, batch_tokens=batch_tokens, progress=tell, **how
        )
        items += found
    return items, Measured.model_validate(entries)


def sound(asking: Asking, benchmarks: Mapping[str, str], out: str | Path | None) -> Asking:
    """The same with the run's own folder for continuations. RequestError for options that nothing would use."""
    if asking.classifiers and not set(benchmarks) & set(WRITTEN):
        raise RequestError(f"--classifier: only {' and '.join(WRITTEN)} use one; add --benchmark {WRITTEN[0]}=PATH")
    if not benchmarks and not asking.lm_eval:
        raise RequestError("nothing to measure: give --benchmark NAME=PATH or --lm-eval TASK")
    return replace(asking, cache=asking.cache or (Path(out) / CONTINUATIONS if out is not None else None))


def ready(loaded: Any, asking: Asking) -> Any:
    """The model under the protocol that is asked for. What else is asked for is looked at before hours of work: a
    classifier that does not fit and a task that is not there are RequestErrors."""
    if asking.lm_eval:
        from biasunlearn.scoring.lm_eval import known_tasks

        known_tasks(asking.lm_eval, loaded)
    for name, given in asking.classifiers.items():
        from biasunlearn.scoring.classify import open_classifier

        open_classifier(name, given, loaded.device)
    if not asking.chat_template:
        return loaded
    from biasunlearn.scoring.chat import with_chat_template

    return with_chat_template(loaded)


def capability(loaded: Any, asking: Asking) -> Capability | None:
    """The results of lm-eval's tasks; None where none is asked for."""
    if not asking.lm_eval:
        return None
    from biasunlearn.scoring.lm_eval import run_tasks

    return Capability.model_validate(run_tasks(loaded, asking.lm_eval, limit=asking.lm_eval_limit))


def plain(asking: Asking) -> dict[str, Any]:
    """For config.yaml."""
    values = asdict(asking)
    return {**values, "cache": None if asking.cache is None else str(asking.cache), "lm_eval": list(asking.lm_eval)}


def stamp(
    measured: Measured, benchmarks: Mapping[str, str], manifest: Manifest | None, *, skip_invalid: bool
) -> Measured:
    """The same, with every benchmark of pairs marked as contaminated where the adapter has seen some of them."""
    return measured.marked(seen_pairs(benchmarks, manifest, skip_invalid=skip_invalid))


def seen_pairs(
    benchmarks: Mapping[str, str], manifest: Manifest | None, *, skip_invalid: bool
) -> dict[str, Contamination]:
    """How many pairs of each benchmark the adapter has seen; only benchmarks of which it has seen some."""
    seen = {}
    for name, path in benchmarks.items():
        pairs = getattr(BENCHMARKS[name], "pairs", None)
        if manifest and pairs and (found := contamination(pairs(path, skip_invalid=skip_invalid), manifest.pairs)):
            seen[name] = Contamination(**found)
    return seen


def read_manifest(adapter: str | Path | None) -> Manifest | None:
    """What an adapter was trained on, where it says so. RequestError where the file holds something else."""
    path = None if adapter is None else Path(adapter) / MANIFEST
    if path is None or not path.exists():
        return None
    return read_as(Manifest, read_json(path), str(path))


def known_benchmarks(benchmarks: Iterable[str], only: tuple[str, ...] = NAMES) -> None:
    """RequestError for a name that is not one of them."""
    for name in benchmarks:
        if name not in only:
            raise RequestError(f"--benchmark {name}: unknown here; known: {', '.join(only)}")


def finish(run: RunFolder, results: Results, config: dict[str, Any], stages: dict[str, list[Item]]) -> None:
    """Writes a run folder; results.json last, since it says that the run is finished and needs no more to go on."""
    from biasunlearn.data.sentences import sentences_of
    from biasunlearn.report.run import Shown, report_page

    run.write_yaml("config.yaml", config)
    run.write_stages(stages)
    metrics = [row.to_dict() for row in run.read_metrics()]
    shown = Shown(str(run.path), results.to_dict(), stages, metrics, sentences_of(*results.stereoset_file))
    run.write_text("report.html", report_page(shown))
    run.write_json("results.json", results.to_dict())
    run.drop_unfinished()


def _tables_of(stages: Mapping[str, Sequence[Item]], folder: Path) -> dict[str, Measured]:
    """{"benchmarks": results of the last stage, "before": of the first, where there are two}"""
    if not stages:
        raise RequestError(f"{folder}: its items.parquet is empty: there are no scores to compute tables from")
    stored = RunFolder(folder).read_results() if (folder / "results.json").exists() else None
    last = list(stages)[-1]
    tables = {"benchmarks": _measured_again(stages[last], stored.benchmarks if stored else None)}
    if "before" in stages and last != "before":
        tables["before"] = _measured_again(stages["before"], stored.before if stored else None)
    return tables


def _measured_again(items: Sequence[Item], stored: Measured | None) -> Measured:
    """The results of items, with what `stored` knows of the data files."""
    entries = {}
    for name in dict.fromkeys(item.benchmark for item in items):
        known = stored.entries.get(name) if stored else None
        facts = {fact: value for fact, value in (known.to_dict() if known else {}).items() if fact in DATA_FACTS}
        entries[name] = _entry(name, [item for item in items if item.benchmark == name]) | facts
    return Measured.model_validate(entries)


def _entry(name: str, items: Sequence[Item]) -> dict[str, Any]:
    if name not in BENCHMARKS:
        raise RequestError(f"items of {name}: no benchmark of this version; known: {', '.join(NAMES)}")
    entry: dict[str, Any] = BENCHMARKS[name].entry(items)
    return entry


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
    triplets: Iterable[Triplet], predictions: Mapping[str, Mapping[str, float]], path: str
) -> tuple[list[Item], int]:
    """Items of every triplet whose sentences all have a prediction, and how many triplets have none at all."""
    items: list[Item] = []
    unscored = 0
    for triplet in triplets:
        known = predictions.get(triplet.kind, {})
        found = [(role, sentence) for role, sentence in triplet.sentences() if sentence.id in known]
        if not found:
            unscored += 1
            continue
        if len(found) < len(triplet.sentences()):
            raise RequestError(f"{path}: only {len(found)} sentences of triplet {triplet.id}; the file is incomplete")
        items += [
            Item(
                "stereoset", sentence.id, triplet.id, triplet.bias_type, triplet.target or triplet.context,
                triplet.kind, role, known[sentence.id], 0,
            )
            for role, sentence in found
        ]  # fmt: skip
    if not items:
        raise RequestError(f"{path}: none of its ids stands in the benchmark file")
    return items, unscored
