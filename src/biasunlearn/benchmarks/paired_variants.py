"""Pairs whose sentences are rewritten in several ways: which are taken, how they are scored, what belongs together."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from biasunlearn.data.readers import read_clusters
from biasunlearn.data.records import Cluster, Passage
from biasunlearn.stats.stereoset import FORMULATIONS, Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

Made = tuple[Cluster, str, str, Passage]
"""A cluster, how its sentence was rewritten, the sentence's role, and what is scored."""

Pair = dict[tuple[str, str], Item]
"""{(how, role): item} of one cluster."""


def taken(path: str, *, skip_invalid: bool = False) -> tuple[list[Cluster], dict[str, Any], list[str]]:
    """The clusters of a file that are measured (of two kinds, the intrasentence ones), what results.json says
    of the file, and a note where some were left out."""
    data = read_clusters(path, skip_invalid=skip_invalid)
    kind = next(kind for kind in FORMULATIONS if any(cluster.kind == kind for cluster in data.clusters))
    chosen = [cluster for cluster in data.clusters if cluster.kind == kind]
    left = len(data.clusters) - len(chosen)
    return chosen, {**data.facts, "left_out": left}, [f"{left} intersentence pairs were left out"] * (left > 0)


def score_made(
    benchmark: str,
    loaded: "Loaded",
    made: Iterable[Made],
    *,
    batch_tokens: int = 4096,
    progress: Callable[[int, int], None] | None = None,
) -> list[Item]:
    """Everything that was made, through the scoring door; the kind of an item is how it was rewritten."""
    from biasunlearn.scoring.log_prob import score

    asked = list(made)
    scores = score(loaded, [passage for *_, passage in asked], batch_tokens=batch_tokens, progress=progress)
    return [
        Item(
            benchmark, f"{cluster.id}/{how}/{role}", f"{cluster.kind}/{cluster.id}", cluster.bias_type,
            cluster.target or cluster.context or cluster.id, how, role, found.mean, found.tokens,
        )
        for (cluster, how, role, _), found in zip(asked, scores, strict=True)
    ]  # fmt: skip


def by_pair(items: Sequence[Item]) -> Iterator[Pair]:
    """The items of each cluster, in the order of their first ones."""
    grouped: dict[str, Pair] = {}
    for item in items:
        grouped.setdefault(item.cluster_id, {})[item.kind, item.role] = item
    yield from grouped.values()
