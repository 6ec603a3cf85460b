"""The entry of results.json that every benchmark has: made of its outcomes, and of nothing else."""

from collections.abc import Mapping, Sequence
from typing import Any

from biasunlearn.stats.bootstrap import summarize
from biasunlearn.stats.outcome import Outcome


def entry_of(
    found: Sequence[Outcome],
    *,
    version: int,
    formulation: str,
    ideal: Mapping[str, float | None],
    groups: Mapping[str, Sequence[Outcome]] | None = None,
) -> dict[str, Any]:
    """Scores overall, per bias type, and per group of whatever other grouping the benchmark has.

    Args:
        found: outcomes whose scores are those of `ideal`; others are left out.
        ideal: {score: its ideal value, or None where there is none to name}.
        groups: {grouping: outcomes whose bias_type names the group}, e.g. by direction.
    Returns:
        {"version", "formulation", "ideal", "n", "overall", "bias_types", "groups": {grouping: {group: {...}}}}.
        A score that is not defined on a row (no outcome speaks of it) is None there.
    """

    def scores(chosen: Sequence[Outcome]) -> dict[str, Any]:
        return summarize([outcome for outcome in chosen if outcome.score in ideal])

    summary = scores(found)
    beside = {name: scores(chosen)["bias_types"] for name, chosen in (groups or {}).items()}
    rows = [summary["overall"], *(row for group in (summary["bias_types"], *beside.values()) for row in group.values())]
    for row in rows:
        for score in ideal:
            row.setdefault(score, None)
    return {"version": version, "formulation": formulation, "ideal": dict(ideal), **summary, "groups": beside}
