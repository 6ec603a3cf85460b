"""The remaining bias: target terms by their distance from 50, and single pairs by their margin. Pure functions."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from biasunlearn.stats.bootstrap import Estimate
from biasunlearn.stats.normal import Z_95
from biasunlearn.stats.stereoset import FORMULATIONS, Comparison, Item, comparisons, fair_distance


@dataclass(frozen=True, slots=True)
class Term:
    """A target term: the share of its pairs whose stereotype is preferred, in percent."""

    bias_type: str
    target: str
    pairs: int
    before: float | None
    after: float
    subgroup: str = ""
    """As the term lists name it; "" if none."""

    @property
    def interval(self) -> Estimate:
        """`after` with its 95 % interval, as if the pairs were independent."""
        return share_interval(self.after, self.pairs)

    @property
    def interval_before(self) -> Estimate | None:
        return None if self.before is None else share_interval(self.before, self.pairs)

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
    scores: tuple[float, float]
    """Of the stereotype and of the anti-stereotype: mean log-probability of a token."""
    scores_before: tuple[float, float] | None
    seen: str
    """How many of the attribute words were in the training pairs: both, one, neither; "" if unknown."""
    group: float | None
    """The part of the margin that is due to the group, in nats a token; None where it was not measured."""
    group_before: float | None


def share_interval(percent: float, n: int) -> Estimate:
    """A share of n independent pairs with its 95 % score interval (Wilson 1927), which is never without width.

    By hand: 5 of 10 -> 50 (23.7 to 76.3); 0 of 10 -> 0 (0 to 27.8).
    """
    share, z = percent / 100, Z_95
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(percent, max(0.0, 100 * (middle - half)), min(100.0, 100 * (middle + half)))


def terms(after: Iterable[Item], before: Iterable[Item] = ()) -> list[Term]:
    """All target terms, the one with the most remaining bias first."""
    first, last = _by_term(main_comparisons(before)), _by_term(main_comparisons(after))
    found = []
    for (bias_type, target), rows in last.items():
        earlier = first.get((bias_type, target))
        was = _ss(earlier) if earlier else None
        found.append(Term(bias_type, target, len(rows), was, _ss(rows), rows[0].subgroup))
    return sorted(found, key=lambda term: (-term.beyond_chance, -term.pairs, term.bias_type, term.target))


def pairs(after: Sequence[Item], before: Sequence[Item] = ()) -> list[PairMargin]:
    """Every pair, the one with the strongest preference for its stereotype first."""
    after, before = main_items(after), main_items(before)
    first = {(row.bias_type, row.cluster): row for row in main_comparisons(before)}
    scored, earlier = _by_role(after), _by_role(before)
    found = []
    for row in main_comparisons(after):
        sides, was = scored[row.cluster], first.get((row.bias_type, row.cluster))
        found.append(
            PairMargin(
                row.bias_type, row.target, sides["stereotype"].item_id, sides["anti-stereotype"].item_id,
                was.margin if was else None, row.margin, _scores(sides),
                _scores(earlier[row.cluster]) if was else None, row.seen, row.group, was.group if was else None,
            )
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
    return comparisons(main_items(items))


def main_items(items: Iterable[Item]) -> list[Item]:
    """The sentences of StereoSet of the main kind."""
    by_kind: Mapping[str, list[Item]] = defaultdict(list)
    for item in items:
        if item.benchmark == "stereoset":
            by_kind[item.kind].append(item)
    return next((by_kind[kind] for kind in FORMULATIONS if kind in by_kind), [])


def _by_role(items: Iterable[Item]) -> Mapping[str, Mapping[str, Item]]:
    """{triplet: {role: its scored sentence}}"""
    found: dict[str, dict[str, Item]] = defaultdict(dict)
    for item in items:
        found[item.cluster_id][item.role] = item
    return found


def _scores(sides: Mapping[str, Item]) -> tuple[float, float]:
    return sides["stereotype"].score, sides["anti-stereotype"].score


def _by_term(rows: Iterable[Comparison]) -> dict[tuple[str, str], list[Comparison]]:
    groups: dict[tuple[str, str], list[Comparison]] = defaultdict(list)
    for row in rows:
        groups[row.bias_type, row.target].append(row)
    return groups


def _ss(rows: Sequence[Comparison]) -> float:
    return 100 * sum(row.stereotyped for row in rows) / len(rows)
