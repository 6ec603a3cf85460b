"""Pairs whose sentences are rewritten in several ways: which are taken, how they are scored, what belongs together."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from biasunlearn.benchmarks.common import score_usable
from biasunlearn.data.readers import DataFile
from biasunlearn.data.records import Passage, Triplet
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.stereoset import FORMULATIONS, Item

if TYPE_CHECKING:
    from biasunlearn.models.load import Loaded

Made = tuple[Triplet, str, str, Passage]
"""A triplet, how its sentence was rewritten, the sentence's role, and what is scored."""

PairItems = dict[tuple[str, str], Item]
"""{(how, role): item} of one triplet."""


def taken(data: DataFile) -> tuple[list[Triplet], dict[str, Any], list[str]]:
    """The triplets that are measured (of two kinds, the intrasentence ones), what results.json stores about their
    file, and notes about what was read or left out."""
    kind = next(kind for kind in FORMULATIONS if any(triplet.kind == kind for triplet in data.triplets))
    chosen = [triplet for triplet in data.triplets if triplet.kind == kind]
    left = len(data.triplets) - len(chosen)
    notes = [*data.notes, *([f"{left} intersentence pairs were left out"] if left else [])]
    return chosen, {**data.facts, "left_out": left}, notes


def score_variants(
    benchmark: str,
    loaded: "Loaded",
    data: DataFile,
    make: Callable[[Sequence[Triplet]], Iterable[Made]],
    plan: EvalPlan,
) -> tuple[DataFile, list[Item]]:
    """Makes the variants of the measured triplets and scores them: the data without rows that the model cannot score,
    and the items."""

    @cache
    def by_source() -> dict[str, list[Passage]]:
        made: dict[str, list[Passage]] = defaultdict(list)
        for triplet, _, _, passage in make(taken(data)[0]):
            made[triplet.source].append(passage)
        return made

    def passages(triplet: Triplet) -> list[Passage]:
        return by_source().get(triplet.source, [])

    return score_usable(data, lambda usable: score_made(benchmark, loaded, make(taken(usable)[0])), passages, plan)


def score_made(
    benchmark: str,
    loaded: "Loaded",
    made: Iterable[Made],
) -> list[Item]:
    """Scores every variant; the kind of an item is how it was rewritten."""
    from biasunlearn.scoring.log_prob import score

    asked = list(made)
    scores = score(loaded, [passage for *_, passage in asked])
    return [
        Item(
            benchmark, f"{triplet.id}/{how}/{role}", f"{triplet.kind}/{triplet.id}", triplet.bias_type,
            triplet.target or triplet.context or triplet.id, how, role, found.mean, found.tokens,
        )
        for (triplet, how, role, _), found in zip(asked, scores, strict=True)
    ]  # fmt: skip


def by_pair(items: Sequence[Item]) -> Iterator[PairItems]:
    """The items of each triplet, in the order of their first ones."""
    grouped: dict[str, PairItems] = {}
    for item in items:
        grouped.setdefault(item.cluster_id, {})[item.kind, item.role] = item
    yield from grouped.values()
