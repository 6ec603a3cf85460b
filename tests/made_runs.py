"""Run folders written without a model: whoever makes one says which pairs are stereotyped."""

from pathlib import Path

from biasunlearn.benchmarks import stereoset
from biasunlearn.runs.folder import SCHEMA, RunFolder
from biasunlearn.stats.stereoset import Item

TERMS = tuple(f"term{number:02d}" for number in range(12))
SIZE = 10
"""Pairs of each term."""


def items(hits, *, meaningless=0, bias_types=("age", "work"), prefix="") -> list[Item]:
    """Twelve terms of ten pairs in each bias type, all terms alike where `hits` is a multiple of twelve.

    Args:
        hits: bias type -> how many pairs are stereotyped, dealt out from the first pair of each term on, in turn.
        meaningless: pairs, the first ones, whose unrelated sentence is the likeliest.
    """
    made = []
    for bias_type in bias_types:
        for place in range(len(TERMS) * SIZE):
            cluster = f"{prefix}{bias_type}-{place:03d}"
            scores = {
                "stereotype": (-1.0 if place < hits[bias_type] else -3.0) - place / 1000,
                "anti-stereotype": -2.0,
                "unrelated": 0.0 if place < meaningless else -9.0,
            }
            made += [
                Item("stereoset", f"{cluster}-{role}", cluster, bias_type, TERMS[place % len(TERMS)], "intrasentence",
                     role, score, 7)
                for role, score in scores.items()
            ]  # fmt: skip
    return made


def entry(made, sha256="ab" * 32):
    scored = stereoset.entry(made)
    return scored.with_values(skipped=0, data="report.json", sha256=sha256, skipped_rows=[]).to_dict()


def text(per_token):
    return {"version": 1, "per_token": per_token, "per_byte": per_token / 10, "tokens": 900, "bytes": 4000}


def measured(folder: Path, made, *, perplexity=None, **changes) -> str:
    """A `measure` run."""
    entries = changes.get("benchmarks") or {"stereoset": entry(made)}
    entries |= {"perplexity": text(perplexity)} if perplexity else {}
    return _written(folder, {"": made}, {"model": "m", "adapter": None, **changes, "benchmarks": entries})


def debiased(folder: Path, before, after, *, seed=0, perplexity=(20.0, 20.2), **recipe) -> str:
    """A `debias` run: two stages."""
    stages = {"before": before, "after": after}
    entries = [
        {"stereoset": entry(made), "perplexity": text(value)}
        for made, value in zip(stages.values(), perplexity, strict=True)
    ]
    results = {
        "model": "m", "adapter": str(folder / "adapter"), "before": entries[0], "benchmarks": entries[1],
        "config": {"seed": seed, **recipe}, "data": {"train": {"sha256": "t"}, "report": {"sha256": "r"}},
    }  # fmt: skip
    return _written(folder, stages, results)


def _written(folder: Path, stages, results) -> str:
    folder.mkdir(parents=True)
    run = RunFolder(folder)
    run.write_stages(stages)
    run.write_json("results.json", {"schema": SCHEMA, **results})
    return str(folder)
