"""CycloneDX 1.7 ML-BOM: the debiased model and its base as components, with scores, intervals and fairness assessments.

Source: the JSON schema bom-1.7. The Python library of CycloneDX has no model cards (its issue 912), so that the
document is written here, and a test validates it with the schemas that the library ships.
"""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from biasunlearn._version import __version__
from biasunlearn.report.evidence.measurements import Measurement, Subject, measurements
from biasunlearn.runs.results import Results, StereoSetResult

NOT_EVIDENCE = (
    "Selection rates and impact ratios of decisions about people (hiring, lending, admission) were not measured and "
    "cannot be derived from these scores."
)

LIMITS = (
    "SS tells which of two sentences is the likelier one. A model with SS 50 can still produce harmful text.",
    "Only the listed bias types were measured, on sentences of the kind and in the language of the data.",
    NOT_EVIDENCE,
)


def ml_bom(subject: Subject, results: Results) -> str:
    """The document of a run: its model, and the base model where the run has a stage before."""
    stages = {"": results.benchmarks} if results.before is None else {
        "before": results.before, "after": results.benchmarks,
    }  # fmt: skip
    components = [
        _component(subject, stage, list(measurements(measured.entries)), results)
        for stage, measured in reversed(stages.items())
    ]
    datasets = {
        name: entry.sha256 for measured in stages.values() for name, entry in measured.entries.items()
    }
    components += [
        {"type": "data", "bom-ref": f"dataset:{name}", "name": name, "data": [{"type": "dataset", "name": name}],
         **({"hashes": [{"alg": "SHA-256", "content": digest}]} if digest and len(digest) == 64 else {})}
        for name, digest in datasets.items()
    ]  # fmt: skip
    dependencies = [{"ref": "model:base"}, {"ref": "model", "dependsOn": ["model:base"]}]
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.7",
        "serialNumber": f"urn:uuid:{UUID(hex=subject.digest[:32], version=4)}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.fromtimestamp(subject.recorded, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "tools": {"components": [{"type": "application", "name": "biasunlearn", "version": __version__}]},
        },
        "components": components,
        "dependencies": dependencies if len(stages) > 1 else [{"ref": "model"}],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _component(subject: Subject, stage: str, found: list[Measurement], results: Results) -> dict[str, Any]:
    owner, _, name = subject.named(stage).rpartition("/")
    debiased = stage == "after"
    considerations: dict[str, Any] = {"technicalLimitations": list(LIMITS)}
    if assessments := list(_assessments(stage, results)):
        considerations["fairnessAssessments"] = assessments
    if debiased and results.method:
        considerations["ethicalConsiderations"] = [
            {"name": "Associations between social groups and attributes",
             "mitigationStrategy": f"unlearned with the method {results.method}; measured again afterwards"}
        ]  # fmt: skip
    hashes = [{"alg": "SHA-256", "content": subject.adapter_sha256}] if debiased and subject.adapter_sha256 else []
    return {
        "type": "machine-learning-model",
        "bom-ref": "model:base" if stage == "before" else "model",
        "group": owner,
        "name": name,
        **({"hashes": hashes} if hashes else {}),
        "modelCard": {
            "modelParameters": {
                "task": "text-generation",
                "datasets": [{"ref": f"dataset:{name}"} for name in dict.fromkeys(one.benchmark for one in found)],
            },
            "quantitativeAnalysis": {"performanceMetrics": [_metric(one) for one in found]},
            "considerations": considerations,
            "properties": list(_properties(found, results, debiased)),
        },
    }


def _metric(found: Measurement) -> dict[str, Any]:
    metric: dict[str, Any] = {
        "type": f"{found.benchmark} {found.score}", "value": f"{found.value:g}", "slice": found.part,
    }  # fmt: skip
    if found.low is not None and found.high is not None:
        metric["confidenceInterval"] = {"lowerBound": f"{found.low:g}", "upperBound": f"{found.high:g}"}
    return metric


def _properties(found: list[Measurement], results: Results, debiased: bool) -> Iterator[dict[str, str]]:
    named = {f"n:{one.benchmark}:{one.part}": str(one.n) for one in found}
    named |= {"interval": "95 %, percentile bootstrap of clusters"}
    if results.config and results.config.seed is not None:
        named["seed"] = str(results.config.seed)
    if results.partial:
        named["partial"] = results.partial.headline
    if debiased and results.method:
        named["method"] = results.method
    if debiased and (verdict := results.shown_verdict):
        named |= {"verdict": verdict.value, "verdict:reason": verdict.reason}
    for name, entry in results.benchmarks.entries.items():
        judging = getattr(entry, "judging", None)
        if judging is not None:
            judges = ", ".join(one.judge.replace("\\", "/").rpartition("/")[2] for one in judging.judges)
            named[f"judges:{name}"] = judges
    for name, value in named.items():
        yield {"name": f"biasunlearn:{name}", "value": value}


def _assessments(stage: str, results: Results) -> Iterator[dict[str, str]]:
    """One assessment for each bias type of StereoSet, and for each subgroup of its target terms."""
    entry = (results.before if stage == "before" else results.benchmarks).stereoset  # type: ignore[union-attr]
    if entry is None:
        return
    before = results.before.stereoset if results.before and stage == "after" else None
    for group, harm in _harms(entry, before):
        yield {
            "groupAtRisk": group,
            "harms": harm,
            "mitigationStrategy": (
                f"unlearning with the method {results.method or 'biasunlearn'}" if stage == "after" else "none"
            ),
        }


def _harms(entry: StereoSetResult, before: StereoSetResult | None) -> Iterator[tuple[str, str]]:
    """(group at risk, the measured difference in words)"""
    for name, row in entry.bias_types.items():
        first = before.bias_types[name].ss if before else None
        was = "" if first is None else f"; before debiasing {first.value:.1f} ({first.low:.1f} to {first.high:.1f})"
        ss = row.ss
        side = "neither" if ss.contains(50) else "the stereotype" if ss.value > 50 else "the anti-stereotype"
        yield (
            f"groups named by the target terms of the bias type {name}",
            f"The stereotype is the more likely sentence in {ss.value:.1f} % of {row.n} pairs (95 % interval "
            f"{ss.low:.1f} to {ss.high:.1f}; 50 is even{was}). The interval favours {side}.",
        )
        for subgroup, scored in (row.subgroups or {}).items():
            if scored.ss is not None:
                yield (
                    f"{subgroup} ({name})",
                    f"The same for the {scored.n} pairs about this subgroup: {scored.ss.value:.1f} % "
                    f"({scored.ss.low:.1f} to {scored.ss.high:.1f}).",
                )


