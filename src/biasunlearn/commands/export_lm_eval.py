"""`export-lm-eval`: StereoSet and BBQ as task folders that lm-eval can run without this package."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from biasunlearn.benchmarks import bbq
from biasunlearn.data.readers import read_triplets
from biasunlearn.data.records import Triplet
from biasunlearn.errors import RequestError
from biasunlearn.runs.atomic import whole_folder

TASKS = Path(__file__).parent.parent / "benchmarks"
"""Folder with the code of the exported tasks: lm_eval_NAME.py."""
PREFIX = "biasunlearn_"

ENDS = {"": "mean_over_terms", "_low": "low", "_high": "high"}
"""A score of StereoSet and the ends of its interval: what is added to its name, and how it is computed."""


def export_lm_eval(benchmarks: Mapping[str, str], out: str | Path, *, skip_invalid: bool = False) -> dict[str, Any]:
    """Writes a folder per benchmark: a .yaml, the documents, and the functions that score them.

    Args:
        benchmarks: {"stereoset": path, "bbq": path}, one or both.
        out: lm-eval's --include_path.
        skip_invalid: leave out rows that cannot be used; they are counted and listed. Otherwise they are an error.
    Returns:
        {"out", "tasks": {task: {"documents", "left_out", "skipped", "sha256", "metrics"}}}
    Raises:
        RequestError: another benchmark, a bad file, a task folder that already exists.
    """
    if not benchmarks:
        raise RequestError("export-lm-eval: give --benchmark stereoset=PATH or --benchmark bbq=PATH")
    for name in benchmarks:
        if name not in EXPORTS:
            raise RequestError(f"--benchmark {name}: cannot be exported; these can: {', '.join(EXPORTS)}")
        if (Path(out) / f"{PREFIX}{name}").exists():
            raise RequestError(f"{Path(out) / f'{PREFIX}{name}'}: already exists; choose another --out or remove it")
    try:
        tasks = {f"{PREFIX}{name}": EXPORTS[name](path, Path(out), skip_invalid) for name, path in benchmarks.items()}
    except OSError as error:
        raise RequestError(f"{out}: cannot be written: {error.strerror or error}") from None
    return {"out": str(out), "tasks": tasks}


def _stereoset(path: str, out: Path, skip_invalid: bool) -> dict[str, Any]:
    """Intrasentence triplets, for which the official causal score is defined."""
    data = read_triplets(path, skip_invalid=skip_invalid)
    triplets = [triplet for triplet in data.triplets if triplet.kind == "intrasentence"]
    if not triplets:
        raise RequestError(f"{path}: no intrasentence triplets; only those are exported")
    names = _metric_names([triplet.bias_type for triplet in triplets])
    scored = ["ss", "lms"] if any(triplet.unrelated for triplet in triplets) else ["ss"]
    metrics = {f"{score}{suffix}{end}": how for suffix in ("", *(f"_{n}" for n in names.values()))
               for score in scored for end, how in ENDS.items()}  # fmt: skip
    metrics |= {"icat": "icat"} if "lms" in scored else {}
    rows = [_triplet_row(triplet, names[triplet.bias_type]) | {"icat": "icat" in metrics} for triplet in triplets]
    source = "StereoSet (Nadeem, Bethke, Reddy 2020), CC BY-SA 4.0"
    _write(out, "stereoset", rows, metrics, prompt='""', choices="sentences", delimiter="", source=source)
    return _facts(rows, len(data.triplets) - len(triplets), data.skipped, data.sha256, metrics)


def _triplet_row(triplet: Triplet, metric: str) -> dict[str, Any]:
    return {
        "id": triplet.id,
        "bias_type": triplet.bias_type,
        "metric": metric,
        "term": f"{triplet.bias_type}/{triplet.target or triplet.context or triplet.id}",
        "sentences": [sentence.text for _, sentence in triplet.sentences()],
    }


def _bbq(path: str, out: Path, skip_invalid: bool) -> dict[str, Any]:
    table = bbq.read(path, skip_invalid=skip_invalid)
    rows = [
        {
            "id": q.id, "category": q.category, "context": q.context, "question": q.question,
            "answers": list(q.answers), "roles": list(q.roles), "condition": q.condition,
        }
        for q in table.records
    ]  # fmt: skip
    metrics = dict.fromkeys(bbq.IDEAL, "mean")
    prompt = '"{{start}}{{context}}\\nQuestion: {{question}}\\nAnswer:"'
    source = "BBQ (Parrish et al. 2022), CC BY 4.0"
    _write(out, "bbq", rows, metrics, prompt=prompt, choices="answers", delimiter=" ", source=source)
    return _facts(rows, 0, table.skipped, table.sha256, metrics)


EXPORTS: dict[str, Callable[[str, Path, bool], dict[str, Any]]] = {"stereoset": _stereoset, "bbq": _bbq}


def _metric_names(bias_types: Sequence[str]) -> dict[str, str]:
    """Names of bias types as parts of a metric's name: letters, digits and underscores, each distinct."""
    names: dict[str, str] = {}
    for bias_type in dict.fromkeys(bias_types):
        name = re.sub(r"\W+", "_", bias_type.casefold(), flags=re.ASCII).strip("_") or "unnamed"
        names[bias_type] = name if name not in names.values() else f"{name}_{len(names)}"
    return names


def _facts(
    rows: Sequence[Any], left_out: int, skipped: Sequence[str], sha256: str, metrics: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "documents": len(rows), "left_out": left_out, "skipped": len(skipped), "sha256": sha256,
        "metrics": list(metrics),
    }  # fmt: skip


def _write(
    out: Path,
    name: str,
    rows: Sequence[dict[str, Any]],
    metrics: Mapping[str, str],
    *,
    prompt: str,
    choices: str,
    delimiter: str,
    source: str,
) -> None:
    """Writes the task folder, completely or not at all."""
    task = f"{PREFIX}{name}"
    listed = "".join(
        f"  - metric: {metric}\n    aggregation: {how if how == 'mean' else f'!function process.{how}'}\n"
        "    higher_is_better: null\n"
        for metric, how in metrics.items()
    )
    content = (
        f"task: {task}\ntag: biasunlearn\ncustom_dataset: !function process.load\ntest_split: test\n"
        f"output_type: multiple_choice\ndoc_to_text: {prompt}\ndoc_to_choice: {choices}\n"
        f'doc_to_target: 0\ntarget_delimiter: "{delimiter}"\nnum_fewshot: 0\n'
        f"process_results: !function process.process_results\nmetric_list:\n{listed}metadata:\n  version: 1.0\n"
    )
    readme = (
        f"# {task}\n\n{source}; the documents in data.jsonl keep that licence.\n\n"
        f"    lm_eval --model hf --model_args pretrained=MODEL --include_path {out.name} --tasks {task}\n"
    )
    with whole_folder(out / task) as folder:
        (folder / f"{task}.yaml").write_text(content, encoding="utf-8")
        (folder / "README.md").write_text(readme, encoding="utf-8")
        (folder / "process.py").write_text((TASKS / f"lm_eval_{name}.py").read_text("utf-8"), encoding="utf-8")
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / "data.jsonl").write_text(lines, encoding="utf-8")
