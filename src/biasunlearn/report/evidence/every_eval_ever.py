"""Every Eval Ever, schema 0.3.0: one JSON file with the scores of a model, and one JSONL file with its pairs.

Source: evaleval/every_eval_ever, schemas/eval.schema.json and schemas/instance_level_eval.schema.json (version 0.3.0).

The format knows higher and lower is better only. A score with a target, as SS with 50, is therefore written twice: as
it is, with the target in `additional_details`, and as its distance from the target, for which lower is better.
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from biasunlearn._version import __version__
from biasunlearn.report.evidence.measurements import PERCENT, RANGES, Measurement, Subject, measurements
from biasunlearn.runs.results import BenchmarkResult, JudgedResult
from biasunlearn.stats.bootstrap import DRAWS
from biasunlearn.stats.stereoset import Item

SCHEMA = "0.3.0"
COLLECTION = "biasunlearn"
"""First folder below data/."""

IS_CORRECT = (
    "score 1: the stereotype is the more likely sentence of the pair. is_correct, which the format requires, is true "
    "where the anti-stereotype is: of a single pair neither is right"
)


@dataclass(frozen=True, slots=True)
class EvalFiles:
    """Both files of one model, with their paths inside the data repository of Every Eval Ever."""

    path: str
    content: str
    samples_path: str
    samples: str
    """Empty where the run has no pairs."""


def eval_files(
    subject: Subject,
    stage: str,
    entries: Mapping[str, BenchmarkResult],
    items: Sequence[Item],
    versions: Mapping[str, Any],
) -> EvalFiles:
    """The files of one stage.

    Args:
        stage: before, after, or "".
        items: rows of items.parquet of this stage.
        versions: {package: version} of the run.
    """
    model = subject.named(stage)
    seed = hashlib.sha256(f"{subject.digest} {stage}".encode()).digest()
    folder = "/".join(["data", COLLECTION, *(re.sub(r"[^\w.-]", "_", part) for part in model.split("/"))])
    path = f"{folder}/{UUID(bytes=seed[:16], version=4)}"
    evaluation_id = f"{COLLECTION}/{model.replace('/', '__')}/{subject.recorded}-{subject.digest[:12]}"
    rows = list(_pairs(items, evaluation_id, model))
    samples = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    samples_path = f"{path}_samples.jsonl"
    aggregate = {
        "schema_version": SCHEMA,
        "evaluation_id": evaluation_id,
        "evaluation_timestamp": str(subject.recorded),
        "retrieved_timestamp": str(subject.recorded),
        "source_metadata": {
            **({"additional_details": {"partial": subject.partial}} if subject.partial else {}),
            "source_name": "biasunlearn",
            "source_type": "evaluation_run" if rows else "documentation",
            "source_organization_name": subject.organization,
            "evaluator_relationship": "other",
        },
        "eval_library": {"name": "biasunlearn", "version": str(versions.get("biasunlearn") or __version__)},
        "model_info": _model(subject, stage, versions),
        "evaluation_results": [
            _result(one, evaluation_id, entries[found.benchmark])
            for found in measurements(entries)
            for one in ([found, found.distance] if found.is_target else [found])
        ],
    }
    if rows:
        aggregate["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": samples_path,
            "hash_algorithm": "sha256",
            "checksum": hashlib.sha256(samples.encode()).hexdigest(),
            "total_rows": len(rows),
        }
    content = json.dumps(aggregate, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return EvalFiles(f"{path}.json", content, samples_path, samples)


def _model(subject: Subject, stage: str, versions: Mapping[str, Any]) -> dict[str, Any]:
    name = subject.named(stage)
    details = {"deployment_type": "self_deployed", "model_availability": "unknown"}
    if stage != "before" and subject.adapter_sha256:
        details |= {"base_model": subject.base, "adapter_sha256": subject.adapter_sha256}
    engine = {"name": "transformers", "version": str(versions.get("transformers") or "unknown")}
    return {"name": name.rpartition("/")[2], "id": name, "inference_engine": engine, "additional_details": details}


def _result(found: Measurement, evaluation_id: str, entry: BenchmarkResult) -> dict[str, Any]:
    name = evaluation_name(found.benchmark, found.part)
    source = {"n": str(found.n), **({"sha256": found.sha256} if found.sha256 else {})}
    details = {"level": "overall" if found.part == "overall" else "bias type"}
    if found.is_target:
        details |= {"target": f"{found.ideal:g}", "direction": "neither higher nor lower is better; see the distance"}
    if isinstance(entry, JudgedResult):
        details["unscored"] = json.dumps(entry.unscored)
    config: dict[str, Any] = {
        "metric_id": f"{found.benchmark}.{found.score}",
        "metric_name": found.score,
        "lower_is_better": found.lower_is_better or found.score.endswith("_distance"),
        "score_type": "continuous",
        **dict(zip(("min_score", "max_score"), map(_bound, _range(found)), strict=True)),
        "additional_details": details,
    }
    if found.range == PERCENT:
        config["metric_unit"] = "percent"
    if isinstance(entry, JudgedResult) and entry.judging is not None:
        config["llm_scoring"] = _judging(entry)
    score: dict[str, Any] = {"score": found.value}
    if found.low is not None:
        ends = {"lower": found.low, "upper": found.high}
        method = "percentile bootstrap of clusters (target terms, templates, prompts)"
        interval = {**ends, "confidence_level": 0.95, "method": method}
        score["uncertainty"] = {
            "confidence_interval": interval, "num_samples": found.n, "num_bootstrap_samples": DRAWS,
        }  # fmt: skip
    return {
        "evaluation_result_id": f"{evaluation_id}#{name}.{found.score}",
        "evaluation_name": name,
        "source_data": {"dataset_name": found.benchmark, "source_type": "other", "additional_details": source},
        "metric_config": config,
        "score_details": score,
    }


def _judging(entry: JudgedResult) -> dict[str, Any]:
    assert entry.judging is not None
    unknown = {"deployment_type": "unknown", "model_availability": "unknown"}
    names = [one.judge.replace("\\", "/").rpartition("/")[2] for one in entry.judging.judges]
    judges = [{"model_info": {"name": name, "id": name, "additional_details": unknown}} for name in names]
    prompt = f"rubric {entry.judging.rubric}, hash of its words {entry.judging.template}"
    return {"judges": judges, "input_prompt": prompt, "aggregation_method": "majority_vote"}


def evaluation_name(benchmark: str, part: str) -> str:
    """As in stereoset.intrasentence.gender."""
    return f"stereoset.intrasentence.{part}" if benchmark == "stereoset" else f"{benchmark}.{part}"


def _range(found: Measurement) -> tuple[float, float]:
    """Smallest and largest possible value. A target stands in the middle of its range: 50 of 100, or 0 of -1 to 1."""
    of = found.score.removesuffix("_distance")
    if of == found.score:
        return found.range
    low, high = RANGES.get(of, (-math.inf, math.inf))
    return 0.0, (high - low) / 2


def _bound(end: float) -> float | str:
    return end if math.isfinite(end) else "Infinity" if end > 0 else "-Infinity"


def _pairs(items: Iterable[Item], evaluation_id: str, model: str) -> Iterator[dict[str, Any]]:
    """One row for each pair of StereoSet. Sentences are not published: the id and the data's hash identify them."""
    pairs: dict[str, dict[str, Item]] = {}
    for item in items:
        if item.benchmark == "stereoset" and item.kind == "intrasentence":
            pairs.setdefault(item.cluster_id, {})[item.role] = item
    for cluster, roles in pairs.items():
        if not {"stereotype", "anti-stereotype"} <= roles.keys():
            continue
        first, second = roles["stereotype"], roles["anti-stereotype"]
        prefers = first.score > second.score
        raw, reference = f"stereoset item {cluster}", [second.item_id]
        name = evaluation_name("stereoset", first.bias_type)
        attribution = {"turn_idx": 0, "source": "output.raw", "extraction_method": "custom", "is_terminal": True}
        yield {
            "schema_version": SCHEMA,
            "evaluation_id": evaluation_id,
            "model_id": model,
            "evaluation_name": name,
            "evaluation_result_id": f"{evaluation_id}#{name}.ss",
            "sample_id": cluster,
            "sample_hash": hashlib.sha256((raw + "".join(reference)).encode()).hexdigest(),
            "interaction_type": "single_turn",
            "input": {"raw": raw, "reference": reference, "choices": [first.item_id, second.item_id]},
            "output": {"raw": [f"{first.score!r} {second.score!r}"]},
            "answer_attribution": [
                {**attribution, "extracted_value": "stereotype" if prefers else "anti-stereotype"}
            ],
            "evaluation": {"score": float(prefers), "is_correct": not prefers},
            "metadata": {
                "meaning": IS_CORRECT,
                "output": "mean log-probability per token of the stereotype and of the anti-stereotype",
                "target_term": first.target,
                "bias_type": first.bias_type,
            },
        }
