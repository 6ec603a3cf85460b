"""`label`: a table of judged answers for people, and the shares corrected by the labels that they gave."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from biasunlearn.benchmarks import BENCHMARKS, JUDGED
from biasunlearn.benchmarks.human_labels import (
    Labelled,
    WrongLabel,
    answer_id,
    corrected_changes,
    corrected_shares,
    items_to_label,
    read_label,
    to_label,
)
from biasunlearn.benchmarks.judged_scores import CORRECTED, UNCORRECTED
from biasunlearn.commands.report import read_run
from biasunlearn.data.label_table import read_label_table, write_label_table
from biasunlearn.data.rows import shown
from biasunlearn.errors import RequestError
from biasunlearn.report.run import RunData, report_page
from biasunlearn.runs.atomic import tidy, whole_file
from biasunlearn.runs.benchmark_results import JudgedResult, Measured
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.lock import acquire_lock, releasing_locks
from biasunlearn.runs.places import refuse_links
from biasunlearn.runs.responses import ResponseRecord
from biasunlearn.runs.results import Results
from biasunlearn.scoring.rubrics import RUBRICS
from biasunlearn.stats.stereoset import Item

TABLE = "to_label.csv"
LABELS = "labels.jsonl"
"""File of a run folder: the labels that were read, one a line."""
SIZE = 150
"""Answers of each model and share that are drawn to be labelled."""


def write_labels(run: str | Path, *, out: str | Path | None = None, size: int = SIZE, seed: int = 0) -> dict[str, Any]:
    """Writes the table of answers for people: the models shuffled together, without verdicts.

    Args:
        run: a run folder with judged benchmarks.
        out: the CSV file to write (default: to_label.csv in the run folder); it must not exist yet.
        size: answers of each model and share, half of them from those that the judge called positive.
        seed: of the sample. Labels are read with the size and the seed that the table was written with.
    Returns:
        {"out", "answers", "benchmarks": {name: answers}}
    Raises:
        RequestError: no finished run, no judged answer with a verdict, a file that exists.
    """
    if size < 2:
        raise RequestError(f"--size {size}: must be at least 2, for answers of both verdicts")
    path = Path(run) / TABLE if out is None else Path(out)
    if path.suffix.lower() != ".csv" or path.is_dir():
        raise RequestError(f"--out {path}: the table is a CSV file; name it something.csv")
    if path.exists():
        raise RequestError(f"{path}: exists already, and may hold labels; choose another --out or remove it")
    data = read_run(str(run))
    chosen = _chosen(data, size, seed)
    if not chosen:
        raise RequestError(
            f"{run}: no judged answer has a verdict, so there is nothing to label; measure {', '.join(JUDGED)} with a "
            "judge that is usable"
        )
    known = _records(data)
    if unknown := next((name for name in chosen if name not in known), None):
        item = chosen[unknown]
        raise RequestError(
            f"{run}: the question of {item.benchmark}, {item.item_id}, is not stored in responses.jsonl; measure again "
            "with this version"
        )
    shuffled = sorted(chosen, key=lambda name: hashlib.sha256(f"order {seed} {name}".encode()).digest())
    with whole_file(path) as temporary:
        write_label_table(temporary, (to_label(name, known[name]) for name in shuffled))
    counts = {name: sum(item.benchmark == name for item in chosen.values()) for name in JUDGED}
    return {
        "out": str(path), "answers": len(chosen), "benchmarks": {name: n for name, n in counts.items() if n},
        "size": size, "seed": seed,
    }  # fmt: skip


@releasing_locks()
def read_labels(run: str | Path, labels: str | Path, *, size: int = SIZE, seed: int = 0) -> Results:
    """Reads a table that people filled in, corrects the shares of the run, and writes its results and page anew.

    Args:
        run: the run folder that the table was written for.
        labels: the CSV file with the column `label` filled in; empty labels are left out.
        size, seed: those that the table was written with.
    Returns:
        The results, with the corrected shares beside those of the judge.
    Raises:
        RequestError: an unknown id, a label that is none of the choices, no label at all, another run's table, a table
            of another size or seed.
    """
    folder = RunFolder(Path(run))
    refuse_links(folder.path, written=True)
    data = read_run(str(run))
    acquire_lock(folder.path)
    tidy(folder.path)
    given = _read(str(labels), _records(data), str(run))
    if other := sorted(set(given) - set(_chosen(data, size, seed))):
        raise RequestError(
            f"{labels}: {len(other)} of its answers are not in the sample of --size {size} --seed {seed} (the first is "
            f"{other[0]}); give the size and the seed that the table was written with"
        )
    results = data.results
    stages = _arms(data)
    corrected = {
        stage: _corrected(measured, stages[stage], given, size, seed) for stage, measured in _measured(results).items()
    }
    if "before" in corrected:
        corrected["after"] = _with_changes(corrected["after"], stages["before"], stages["after"], given, size, seed)
    if not any(row.corrected for measured in corrected.values() for row in _judged(measured).values()):
        raise RequestError(
            f"{labels}: too few labels to correct a share: answers that the judge called positive and others are needed"
        )
    results = results.with_values(
        benchmarks=corrected.get("after", corrected.get("", results.benchmarks)),
        **({"before": corrected["before"]} if "before" in corrected else {}),
    )
    with whole_file(folder.path / LABELS) as temporary:
        rows = [{"id": name, **{k: v for k, v in asdict(one).items() if v is not None}} for name, one in given.items()]
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    page = RunData(str(run), results, data.stages, data.metrics, data.sentences, data.responses)
    folder.write_text("report.html", report_page(page))
    folder.write_json("results.json", results.to_dict())
    return results


def _chosen(data: RunData, size: int, seed: int) -> dict[str, Item]:
    """{id: item} of the answers to be labelled, of all models and benchmarks."""
    found: dict[str, Item] = {}
    for items in _arms(data).values():
        for name in JUDGED:
            own = [item for item in items if item.benchmark == name]
            found |= items_to_label(own, BENCHMARKS[name].LABELLED, size, seed)
    return found


def _arms(data: RunData) -> dict[str, Sequence[Item]]:
    """The items of the stages that have results: of the only one, or of before and after."""
    return {stage: items for stage, items in data.stages.items() if stage in _measured(data.results)}


def _measured(results: Results) -> dict[str, Measured]:
    if results.before is None:
        return {"": results.benchmarks}
    return {"before": results.before, "after": results.benchmarks}


def _judged(measured: Measured) -> dict[str, JudgedResult]:
    return {name: entry for name, entry in measured.entries.items() if isinstance(entry, JudgedResult)}


def _corrected(
    measured: Measured, items: Sequence[Item], labels: Mapping[str, Labelled], size: int, seed: int
) -> Measured:
    entries: dict[str, Any] = dict(measured.entries)
    for name, entry in _judged(measured).items():
        own = [item for item in items if item.benchmark == name]
        found = corrected_shares(own, BENCHMARKS[name].LABELLED, labels, size, seed)
        if not found:
            continue
        count = sum(one.labels for one in found.values())
        notes = [note for note in entry.notes if note != UNCORRECTED and not note.endswith(CORRECTED)]
        entries[name] = entry.with_values(corrected=found, notes=[*notes, f"{count} {CORRECTED}"])
    return Measured.model_validate(entries)


def _with_changes(
    measured: Measured, before: Sequence[Item], after: Sequence[Item], labels: Mapping[str, Labelled], size: int,
    seed: int,
) -> Measured:  # fmt: skip
    """The corrected shares of the debiased model, with their change by debiasing."""
    entries: dict[str, Any] = dict(measured.entries)
    for name, entry in _judged(measured).items():
        was, now = ([item for item in items if item.benchmark == name] for items in (before, after))
        changes = corrected_changes(was, now, BENCHMARKS[name].LABELLED, labels, size, seed)
        found = {
            score: one.with_values(judged_change=changes[score][0], change=changes[score][1]) if score in changes
            else one
            for score, one in entry.corrected.items()
        }  # fmt: skip
        entries[name] = entry.with_values(corrected=found)
    return Measured.model_validate(entries)


def _records(data: RunData) -> dict[str, ResponseRecord]:
    """{id of an answer: its record}, of records that tell what the judge read."""
    return {
        answer_id(one.benchmark, one.item, one.text): one for one in data.responses if one.rubric in RUBRICS
    }


def _read(path: str, records: Mapping[str, ResponseRecord], run: str) -> dict[str, Labelled]:
    found = {}
    for one in read_label_table(path).records:
        record = records.get(one.id)
        if record is None:
            raise RequestError(f"{one.place}: the id {shown(one.id)} is no answer of {run}; is this its table?")
        if not one.label:
            continue
        try:
            found[one.id] = read_label(RUBRICS[record.rubric or ""], one.id, one.label)
        except WrongLabel as error:
            raise RequestError(f"{one.place}: label {shown(one.label)}: {error}; leave it empty if unsure") from None
    if not found:
        raise RequestError(f"{path}: no label is filled in (column label)")
    return found
