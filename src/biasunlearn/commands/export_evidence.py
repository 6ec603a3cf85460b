"""`export --evidence`: the results of a run as files for other tools, catalogues and auditors."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biasunlearn.commands.export import check_place, hub_name
from biasunlearn.errors import RequestError
from biasunlearn.report.evidence.audit import audit_summary
from biasunlearn.report.evidence.cyclonedx import ml_bom
from biasunlearn.report.evidence.every_eval_ever import eval_files
from biasunlearn.report.evidence.hub_results import eval_results, model_index
from biasunlearn.report.evidence.items_table import items_csv
from biasunlearn.report.evidence.measurements import Subject, undefined
from biasunlearn.report.model_card import on_the_hub
from biasunlearn.runs.atomic import whole_folder
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.items import read_items
from biasunlearn.runs.results import Results
from biasunlearn.stats.stereoset import Item

LOCAL = "local"
"""Owner of a model that is not on the hub."""


def export_evidence(
    run: str | Path,
    *,
    out: str | Path,
    name: str | None = None,
    base_name: str | None = None,
    organization: str = "not stated",
    hub_datasets: Mapping[str, str] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Writes the evidence files of a finished run. No model is loaded, and no path of this machine is written.

    audit.md, model_index.yaml, bom.cdx.json (CycloneDX 1.7), items.csv, data/... (Every Eval Ever 0.3.0), and
    .eval_results/ for benchmarks that are registered on the hub.

    Args:
        run: the folder of any run that measured something.
        out: a folder that does not exist yet, unless `overwrite` is set.
        name: OWNER/NAME of the measured model (default: made from the base's name).
        base_name: OWNER/NAME of the base model, where the run knows it as a folder.
        organization: who provides the results.
        hub_datasets: {benchmark: OWNER/NAME or OWNER/NAME:TASK of a data set that the hub lists as a benchmark}.
        overwrite: replace an earlier export in `out`.
    Returns:
        {"out", "files", "undefined"}: the files, and the scores that have no value and are in none of them.
    Raises:
        RequestError: no finished run, nothing measured, a folder that exists, a name that is not OWNER/NAME, a
            benchmark that was not measured.
    """
    folder, out = RunFolder(Path(run)), Path(out)
    results = folder.read_results()
    registered = hub_datasets or {}
    check_place(out, overwrite)
    _check(results, registered, {"--name": name, "--base-name": base_name})
    items = read_items(folder.path / "items.parquet") if (folder.path / "items.parquet").exists() else {}
    subject = _subject(folder, results, name, base_name, organization)
    files = _contents(subject, results, items, registered)
    with whole_folder(out) as place:
        for path, content in files.items():
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_text(content, encoding="utf-8")
    return {"out": str(out), "files": sorted(files), "undefined": undefined(results.benchmarks.entries)}


def _contents(
    subject: Subject, results: Results, items: Mapping[str, list[Item]], registered: Mapping[str, str]
) -> dict[str, str]:
    """{path: content} of every file."""
    entries = results.benchmarks.entries
    files = {
        "audit.md": audit_summary(subject, results),
        "bom.cdx.json": ml_bom(subject, results),
        "model_index.yaml": model_index(subject, entries),
        "items.csv": items_csv(items),
    }
    stages = {"": entries} if results.before is None else {"before": results.before.entries, "after": entries}
    for stage, measured in stages.items():
        made = eval_files(subject, stage, measured, items.get(stage, []), results.environment.versions)
        files[made.path] = made.content
        if made.samples:
            files[made.samples_path] = made.samples
    for benchmark, dataset in registered.items():
        files[f".eval_results/{benchmark}.yaml"] = eval_results(subject, benchmark, entries[benchmark], dataset)
    return files


def _check(results: Results, registered: Mapping[str, str], names: Mapping[str, str | None]) -> None:
    if not results.benchmarks.entries:
        raise RequestError("this run measured no benchmark, so there is no evidence to export")
    for option, name in names.items():
        if name is not None and not on_the_hub(name):
            raise RequestError(f"{option} {name}: write OWNER/NAME")
    for benchmark, dataset in registered.items():
        if benchmark not in results.benchmarks:
            measured = ", ".join(results.benchmarks.entries)
            raise RequestError(f"--hub-dataset {benchmark}: this run did not measure it; it measured {measured}")
        if not on_the_hub(dataset.partition(":")[0]):
            raise RequestError(f"--hub-dataset {benchmark}={dataset}: write OWNER/NAME or OWNER/NAME:TASK")


def _subject(
    folder: RunFolder, results: Results, name: str | None, base_name: str | None, organization: str
) -> Subject:
    stored = folder.path / "results.json"
    base = base_name or hub_name(results) or f"{LOCAL}/{_last_part(results.model or 'stored-scores')}"
    trained = results.before is not None or results.adapter is not None
    weights = folder.adapter / "adapter_model.safetensors"
    return Subject(
        name=name or (f"{base}-debiased" if trained else base),
        base=base,
        organization=organization,
        recorded=int(stored.stat().st_mtime),
        digest=hashlib.sha256(stored.read_bytes()).hexdigest(),
        adapter_sha256=hashlib.sha256(weights.read_bytes()).hexdigest() if weights.exists() else None,
        partial=results.partial.headline if results.partial else "",
    )


def _last_part(model: str) -> str:
    """The last part of a path, with nothing in it that is special in a name."""
    return re.sub(r"[^\w.-]", "_", model.replace("\\", "/").rstrip("/").rpartition("/")[2]) or "model"
