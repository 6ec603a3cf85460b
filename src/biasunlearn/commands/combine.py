"""`combine`: adapters of several runs on one base (one per bias type, say) as one adapter, and what it comes to."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from biasunlearn.commands.measure import (
    MANIFEST,
    Progress,
    finish,
    known_benchmarks,
    plain,
    read_manifest,
    ready,
    run_benchmarks,
    sound,
    stamp,
)
from biasunlearn.commands.transfer import Learned, read_learned
from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.atomic import whole_folder
from biasunlearn.runs.folder import SCHEMA, environment, new_run
from biasunlearn.runs.lock import releasing_locks
from biasunlearn.runs.results import Combined, DataFile, Manifest, Part, Results, RunData, ScoringProtocol
from biasunlearn.scoring.protocol import Asking

How = Literal["cat", "svd", "linear"]
"""cat: the weighted sum itself, with the ranks added up. svd: its best approximation of the largest rank. linear: the
factors are added instead of their products, which is rough."""

COMBINED = "combined"


@releasing_locks()
def combine(
    weights: Mapping[str, float],
    *,
    report: str,
    out: str | Path,
    how: How = "cat",
    benchmarks: Mapping[str, str] | None = None,
    skip_invalid: bool = False,
    trust_remote_code: bool = False,
    asking: Asking | None = None,
    progress: Progress | None = None,
) -> Results:
    """Adds the adapters of debias runs up, each with a weight, and reports before (the base) and after.

    Args:
        weights: {run folder: weight}; 1 is as it was learned, and weights need not add up to anything.
        how: how peft's add_weighted_adapter joins them.
    Returns:
        The results, as stored in results.json.
    Raises:
        RequestError: runs on different bases, a run without an adapter, a folder that holds a run.
    """
    runs = _on_one_base(list(weights))
    base, recipe = str(runs[0].request.model), runs[0].recipe
    measured = {"stereoset": report, **(benchmarks or {})}
    known_benchmarks(measured)
    asking = sound(asking or Asking(), measured, out)
    parts = [{"run": name, "weight": weight} for name, weight in weights.items()]
    request = {
        "parts": parts, "how": how, "report": report, "benchmarks": dict(benchmarks or {}),
        "skip_invalid": skip_invalid, "trust_remote_code": trust_remote_code, "asking": plain(asking),
    }  # fmt: skip
    folder = new_run(out)
    from biasunlearn.models.load import load
    from biasunlearn.models.quantization import facts
    from biasunlearn.scoring.chat import protocol

    loaded = ready(load(ModelSpec(base, dtype=recipe.dtype, trust_remote_code=trust_remote_code)), asking)
    folder.write_yaml("config.yaml", {"combine": request})  # from here on there is a run
    arguments: dict[str, Any] = {
        "batch_tokens": recipe.batch_tokens, "skip_invalid": skip_invalid, "asking": asking, "progress": progress,
    }  # fmt: skip
    items_before, before = run_benchmarks(loaded, measured, label="before: ", **arguments)
    loaded = loaded.with_model(_added_up(loaded.model, runs, list(weights.values()), how))
    items_after, after = run_benchmarks(loaded, measured, label="after: ", **arguments)
    manifest = _manifest(runs)
    after = stamp(after, measured, manifest, skip_invalid=skip_invalid)
    _save(loaded.model, folder.adapter, manifest)
    results = Results(
        schema=SCHEMA,
        model=base,
        adapter=str(folder.adapter),
        combined=Combined(parts=[Part(run=name, weight=weight) for name, weight in weights.items()], how=how),
        protocol=ScoringProtocol(**protocol(loaded), dtype=recipe.dtype, masked=False, **facts(loaded.model)),
        before=before,
        benchmarks=after,
        data=RunData(report=DataFile(path=report, sha256=after.stereoset.sha256 if after.stereoset else None)),
        environment=environment(),
    )
    finish(folder, results, {"combine": request}, {"before": items_before, "after": items_after})
    return results


def _on_one_base(names: Sequence[str]) -> list[Learned]:
    runs = [read_learned(name) for name in names]
    if len(runs) < 2:
        raise RequestError("combine needs two runs or more; for one run at another strength: transfer --scale")
    for name, run in zip(names, runs, strict=True):
        if run.request.model != runs[0].request.model:
            raise RequestError(
                f"{name}: its base is {run.request.model}, that of {names[0]} is {runs[0].request.model}; "
                "only adapters on one base can be added up"
            )
    return runs


def _added_up(model: Any, runs: Sequence[Learned], weights: Sequence[float], how: How) -> Any:
    """The model with all adapters on it and only their sum active."""
    from biasunlearn.models.adapters import with_adapter

    names = [f"part-{number}" for number in range(len(runs))]
    for name, run in zip(names, runs, strict=True):
        model = with_adapter(model, run.folder.adapter, name=name)
    try:
        model.add_weighted_adapter(names, list(weights), COMBINED, combination_type=how)
    except ValueError as error:
        raise RequestError(f"--how {how}: {str(error).splitlines()[0]}") from None
    model.set_adapter(COMBINED)
    return model.eval()


def _manifest(runs: Sequence[Learned]) -> Manifest:
    """Whatever any of the adapters has seen, the sum has seen."""
    seen = [read_manifest(run.folder.adapter) or Manifest() for run in runs]
    return Manifest(parts=seen, pairs=sorted({pair for manifest in seen for pair in manifest.pairs}))


def _save(model: Any, folder: Path, manifest: Manifest) -> None:
    """A plain PEFT adapter. peft puts one that is not called default into a folder of its own."""
    with whole_folder(folder) as place:
        model.save_pretrained(place, selected_adapters=[COMBINED], safe_serialization=True)
        for path in (place / COMBINED).iterdir():
            path.replace(place / path.name)
        shutil.rmtree(place / COMBINED)
        (place / MANIFEST).write_text(json.dumps(manifest.to_dict(), indent=1) + "\n", encoding="utf-8")
