"""The remaining bias: target terms by their distance from 50, and single pairs by their margin. Pure functions."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from biasunlearn.stats.stereoset import FORMULATIONS, Comparison, Item, comparisons, fair_distance


@dataclass(frozen=True, slots=True)
class Term:
    """A target term: the share of its pairs whose stereotype is preferred, in percent."""

    bias_type: str
    target: str
    pairs: int
    before: float | None
    after: float

    @property
    def beyond_chance(self) -> float:
        """|SS - 50| minus its expected value for an unbiased model with as many pairs."""
        return abs(self.after - 50) - fair_distance(self.pairs)


@dataclass(frozen=True, slots=True)
class PairMargin:
    """A pair of sentences: by how much the stereotype is preferred, in nats per token."""

    bias_type: str
    target: str
    stereotype_id: str
    anti_stereotype_id: str
    before: float | None
    after: float


def terms(after: Iterable[Item], before: Iterable[Item] = ()) -> list[Term]:
    """All target terms, the one with the most remaining bias first."""
    first, last = _by_term(main_comparisons(before)), _by_term(main_comparisons(after))
    found = []
    for (bias_type, target), rows in last.items():
        earlier = first.get((bias_type, target))
        found.append(Term(bias_type, target, len(rows), _ss(earlier) if earlier else None, _ss(rows)))
    return sorted(found, key=lambda term: (-term.beyond_chance, -term.pairs, term.bias_type, term.target))


def pairs(after: Sequence[Item], before: Sequence[Item] = ()) -> list[PairMargin]:
    """Every pair, the one with the strongest preference for its stereotype first."""
    first = {(row.bias_type, row.cluster): row.margin for row in main_comparisons(before)}
    ids: dict[str, dict[str, str]] = defaultdict(dict)
    for item in after:
        ids[item.cluster_id][item.role] = item.item_id
    found = []
    for row in main_comparisons(after):
        sides = ids[row.cluster]
        found.append(
            PairMargin(row.bias_type, row.target, sides["stereotype"], sides["anti-stereotype"],
                 first.get((row.bias_type, row.cluster)), row.margin)
        )  # fmt: skip
    return sorted(found, key=lambda pair: -pair.after)


def most_changed(found: Iterable[PairMargin], count: int) -> list[PairMargin]:
    """The pairs whose margin changed most, in either direction."""
    known = [pair for pair in found if pair.before is not None]
    return sorted(known, key=lambda pair: -abs(pair.after - (pair.before or 0.0)))[:count]


def still_worst(found: Iterable[PairMargin], count: int) -> list[PairMargin]:
    """The pairs with the strongest preference for the stereotype now."""
    return [pair for pair in found if pair.after > 0][:count]


def main_comparisons(items: Iterable[Item]) -> list[Comparison]:
    """The pairs of the main kind: intrasentence, or another one if there are none."""
    by_kind: Mapping[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.benchmark == "stereoset":
            by_kind[item.kind].append(item)
    kind = next((kind for kind in FORMULATIONS if kind in by_kind), None)
    return comparisons(by_kind[kind]) if kind else []


def _by_term(rows: Iterable[Comparison]) -> dict[tuple[str, str], list[Comparison]]:
    groups: dict[tuple[str, str], list[Comparison]] = defaultdict(list)
    for row in rows:
        groups[row.bias_type, row.target].append(row)
    return groups


def _ss(rows: Sequence[Comparison]) -> float:
    return 100 * sum(row.stereotyped for row in rows) / len(rows)
