"""`ablate`: the default method without one of its parts at a time, beside the paper's Table 5.

Each variant and seed is an ordinary `debias` run in a folder of its own; finished runs are not repeated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Unpack

from biasunlearn.commands.repeated_runs import Common, experiment_of
from biasunlearn.commands.shared_queue import run_when_free
from biasunlearn.config import DebiasConfig, to_dict
from biasunlearn.errors import RequestError
from biasunlearn.runs.folder import RunFolder
from biasunlearn.runs.results import Measured, StereoSetResult
from biasunlearn.runs.series import AblatedVariant, Ablation

VARIANTS: Mapping[str, Mapping[str, Any]] = {
    "full": {},
    "without-retention": {"retain_weight": 0.0},
    "without-kl": {"kl_weight": 0.0},
    "without-adversarial": {"adversarial_share": 0.0},
    "without-swapping": {"swap": "none"},
    "without-invariance": {"invariance_weight": 0.0},
    "batch-mean-npo": {"npo_ratio": "batch_mean"},
}
"""{variant: its changes of the recipe}. The default recipe has no adversarial set; that of the paper has one."""

PAPER: Mapping[str, Mapping[str, float]] = {
    "without-retention": {"lms": -35.23},
    "without-kl": {"lms": -4.73},
    "without-adversarial": {"ss": 44.72, "lms": -6.1},
}
"""arXiv 2509.25673, Table 5: SS after, and the change of LMS. With the full method LMS changes by 0.2 to 1.42 points
and SS is near 50. Batch-mean NPO is used by the released code."""


def ablate(
    model: str,
    *,
    train: str,
    out: str | Path,
    config: DebiasConfig | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    variants: Sequence[str] = (),
    **common: Unpack[Common],
) -> Ablation:
    """Runs every variant with every seed in `out`/VARIANT/seed-N, and compares the results with the paper.

    Called again, it continues: finished runs are read, and one that was killed is resumed.

    Args:
        model: a folder, or a name on the hub.
        train: pairs to learn from, as for `debias`.
        out: folder to write; every run has a folder of its own in it.
        config: the recipe (default: the default recipe).
        seeds: one run of each variant is made with each of them.
        variants: names of VARIANTS; none: all of them that change the recipe.
        common: report, unrelated, benchmarks and so on, as for `debias` (commands/repeated_runs.py).
    Returns:
        Every variant with its means over seeds, as stored in `out`/ablation.json.
    Raises:
        RequestError: as `debias`; an unknown variant; a folder that holds a run of another request.
        Interrupted: Ctrl-C; call again to continue.
    """
    config = config or DebiasConfig()
    if unknown := sorted(set(variants) - set(VARIANTS)):
        raise RequestError(f"--variants {unknown[0]}: unknown; known: {', '.join(VARIANTS)}")
    if same := [name for name in variants if name != "full" and not _changes(name, config)]:
        settings = ", ".join(f"{key}: {value}" for key, value in VARIANTS[same[0]].items())
        raise RequestError(f"--variants {same[0]}: the recipe has {settings} already; leave the variant out")
    if config.method != "biasunlearn":
        raise RequestError(f"method: {config.method}; ablate removes parts of biasunlearn")
    if not seeds:
        raise RequestError("ablate: nothing to run; give at least one seed")
    variants = variants or [name for name in VARIANTS if name == "full" or _changes(name, config)]
    experiment, recipe = experiment_of(model, common), config

    def run(task: tuple[str, int]) -> None:
        variant, seed = task
        changed = replace(recipe, seed=seed, **VARIANTS[variant])
        experiment.run(f"{variant}, seed {seed}", Path(out) / variant / f"seed-{seed}", changed, train=train)

    run_when_free([(variant, seed) for variant in variants for seed in seeds], run, experiment.callbacks)
    rows = {v: row_of(v, [RunFolder(Path(out) / v / f"seed-{seed}") for seed in seeds]) for v in variants}
    result = Ablation(model=model, seeds=[*seeds], variants=rows, recipe=to_dict(config))
    RunFolder(Path(out)).write_json("ablation.json", result.to_dict())
    return result


def _changes(variant: str, config: DebiasConfig) -> bool:
    """Whether a variant differs from the recipe."""
    return replace(config, **VARIANTS[variant]) != config


def row_of(variant: str, runs: Sequence[RunFolder]) -> AblatedVariant:
    """The results of a variant: means over seeds, with the values of each.

    `last` is from the last evaluation on the stop split: the run keeps its best checkpoint, which hides the effect of a
    variant at the end of training.
    """
    found = [run.read_results() for run in runs]
    befores = [_stereoset(each.before).overall for each in found]
    afters = [_stereoset(each.benchmarks).overall for each in found]
    checks = [[row for row in run.read_metrics() if row.ss] for run in runs]
    values: dict[str, Sequence[float]] = {
        "ss_before": [each.ss.value for each in befores],
        "ss": [each.ss.value for each in afters],
        "distance": [_distance(_stereoset(each.benchmarks)) for each in found],
        "lms": [
            after.lms.value - before.lms.value
            for before, after in zip(befores, afters, strict=True)
            if before.lms and after.lms
        ],
        "last_ss": [_mean([*(rows[-1].ss or {}).values()]) for rows in checks],
        "last_lms": [
            rows[-1].lms - rows[0].lms for rows in checks if rows[-1].lms is not None and rows[0].lms is not None
        ],
        "steps": [each.stopped.step for each in found if each.stopped],
    }
    means = {name: _mean(each) if each else None for name, each in values.items()}
    paper = dict(PAPER.get(variant, {}))
    collapsed = sum(each.collapsed for each in found)
    return AblatedVariant(
        mean=means, seeds=values, collapsed=collapsed, paper=paper, verdict=verdict(means, paper)
    )


def verdict(means: Mapping[str, float | None], paper: Mapping[str, float]) -> str:
    """Whether the measurement confirms the paper's claim about a part, at the last evaluation of training.

    A claim is confirmed if at least half of it is measured: of the fall of LMS, of the distance of SS beyond 50.
    """
    if not paper:
        return ""
    fall, ss = means["last_lms"], means["last_ss"]
    parts = []
    if fall is not None:
        word = "as in the paper" if fall <= paper["lms"] / 2 else "not as in the paper"
        parts.append(f"LMS {fall:+.1f}, {word} ({paper['lms']:+.1f})")
    if "ss" in paper and ss is not None:
        word = "past 50 as in the paper" if ss <= (50 + paper["ss"]) / 2 else "not past 50 as in the paper"
        parts.append(f"SS {ss:.1f}, {word} ({paper['ss']:.1f})")
    return "; ".join(parts)


def _stereoset(measured: Measured | None) -> StereoSetResult:
    """Every `debias` run reports it, before and after."""
    assert measured is not None and measured.stereoset is not None
    return measured.stereoset


def _distance(entry: StereoSetResult) -> float:
    """Mean |SS - 50| over the bias types of the report file."""
    return _mean([abs(row.ss.value - 50) for row in entry.bias_types.values()])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
