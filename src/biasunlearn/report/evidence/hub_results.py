"""Results as the Hugging Face hub reads them: `model-index` of a model card, and `.eval_results/*.yaml`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from biasunlearn.report.evidence.measurements import OVERALL, Measurement, Subject, measurements
from biasunlearn.runs.results import BenchmarkResult


def model_index(subject: Subject, entries: Mapping[str, BenchmarkResult]) -> str:
    """YAML for the front matter of the model card: one result for each score and bias type, intervals in `args`."""
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    marked = {"partial": subject.partial} if subject.partial else {}
    found = [
        EvalResult(
            task_type="text-generation",
            dataset_type=one.benchmark,
            dataset_name=one.benchmark,
            dataset_config=one.part,
            dataset_args={"n": one.n, **marked, **({"sha256": one.sha256} if one.sha256 else {})},
            metric_type=one.score,
            metric_name=f"{one.score}, {one.part}",
            metric_value=round(one.value, 6),
            metric_args=_interval(one),
        )
        for one in measurements(entries)
    ]
    index = eval_results_to_model_index(subject.name.rpartition("/")[2], found)
    return yaml.safe_dump({"model-index": index}, sort_keys=False, allow_unicode=True)


def _interval(found: Measurement) -> dict[str, Any]:
    ideal = {} if found.ideal is None else {"ideal": found.ideal}
    if found.low is None or found.high is None:
        return ideal
    return {"low": round(found.low, 6), "high": round(found.high, 6), "confidence_level": 0.95, **ideal}


def eval_results(subject: Subject, benchmark: str, entry: BenchmarkResult, dataset: str) -> str:
    """YAML of `.eval_results/BENCHMARK.yaml`: the benchmark's first score over all bias types.

    The format has no field for an interval, which is in the notes, as is that a run is partial.

    Args:
        dataset: OWNER/NAME or OWNER/NAME:TASK of a benchmark that is registered on the hub. Of others the hub shows
            nothing, so that no file should be written.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    found = next(one for one in measurements({benchmark: entry}) if one.part == OVERALL)
    name, _, task = dataset.partition(":")
    target = f"; the ideal is {found.ideal:g}" if found.is_target else ""
    partial = f"; {subject.partial}" if subject.partial else ""
    one = EvalResultEntry(
        dataset_id=name,
        task_id=task or "default",
        value=round(found.value, 6),
        date=datetime.fromtimestamp(subject.recorded, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        notes=f"{found.score} {found.in_words()}, 95 % interval, n {found.n}{target}{partial}",
    )
    return yaml.safe_dump(eval_result_entries_to_yaml([one]), sort_keys=False, allow_unicode=True)
