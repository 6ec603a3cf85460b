"""Sanity checks before training: what is odd about the pairs, said before an hour is spent on them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from biasunlearn.data.readers import hash_of_texts, normal_texts, same_pair_hashes, triplet_hash
from biasunlearn.data.records import BLANK, Triplet, main_kind
from biasunlearn.errors import RequestError
from biasunlearn.stats.stereoset import Comparison, smallest_difference

FEWEST_PAIRS = 2
TOO_SMALL_TO_CONCLUDE = 10.0
"""Points of SS: a bias type that cannot show a change this large is reported as too small."""


@dataclass(frozen=True, slots=True)
class PairTexts:
    """What is known from the normal forms of the texts of pairs, which are made once."""

    hashes: Sequence[str]
    """The `triplet_hash` of each pair."""
    equal: Sequence[Triplet]
    """The pairs whose two sentences have the same normal form."""


def pair_texts(triplets: Iterable[Triplet]) -> PairTexts:
    """Compares and hashes the texts of pairs."""
    hashes, equal = [], []
    for triplet in triplets:
        texts = normal_texts(triplet)
        hashes.append(hash_of_texts(texts))
        if texts[1] == texts[2]:
            equal.append(triplet)
    return PairTexts(hashes, equal)


def check_pairs(
    train: Sequence[Triplet], report: Sequence[Triplet], texts: PairTexts | None = None
) -> list[str]:
    """Findings about the training pairs and their overlap with the report triplets, one line each.

    Args:
        texts: `pair_texts` of the training pairs, where they are known already.
    Raises:
        RequestError: a bias type has fewer than two pairs, so that nothing can be held out.
    """
    for bias_type, count in Counter(c.bias_type for c in train).items():
        if count < FEWEST_PAIRS:
            where = next(c.source for c in train if c.bias_type == bias_type)
            raise RequestError(
                f"{where}: bias type {bias_type!r} has one pair; train and stop need at least {FEWEST_PAIRS}: "
                "add pairs or remove it"
            )
    small = (_too_small(name, count) for name, count in sorted(_report_sizes(report).items()))
    return [*pair_findings(train, texts)[0], *filter(None, small)]


def pair_findings(triplets: Sequence[Triplet], texts: PairTexts | None = None) -> tuple[list[str], int]:
    """(findings about the texts of pairs, one line each; how many pairs occur more than once)."""
    texts = texts or pair_texts(triplets)
    repeated = _repeated(triplets, texts.hashes)
    blanks = list(map(_blanks, triplets))
    findings = [
        _counted("pairs have equal texts and teach nothing", texts.equal),
        _counted("pairs occur more than once", repeated),
        _counted("templates lack BLANK", [c for c, count in zip(triplets, blanks, strict=True) if count == 0]),
        _counted(
            "templates hold BLANK twice; training begins at the first",
            [c for c, count in zip(triplets, blanks, strict=True) if count > 1],
        ),
    ]
    return list(filter(None, findings)), len(repeated)


def overlap(known: Collection[str], second: Sequence[Triplet]) -> int:
    """Triplets of `second` whose pair has one of the hashes `known` (`triplet_hash`), in any spelling."""
    return sum(triplet_hash(c) in known for c in second)


def check_labels(rows: Sequence[Comparison]) -> list[str]:
    """Bias types whose labels appear to be swapped: the base model clearly prefers the labelled anti-stereotypes.

    A base model trained on ordinary text prefers the stereotype. A clear preference for the other side means that
    the labels of the file are exchanged (as in a published gender file), or that the data do not fit this model.
    Clear: the mean score difference lies more than 2.6 standard errors below 0 (one-sided 0.5 %).
    """
    margins: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        margins[row.bias_type].append(row.margin)
    findings = []
    for bias_type, values in sorted(margins.items()):
        if len(values) < FEWEST_PAIRS:
            continue
        error = float(np.std(values, ddof=1)) / len(values) ** 0.5
        if float(np.mean(values)) < -2.6 * error:
            share = 100 * float(np.mean([value > 0 for value in values]))
            findings.append(
                f"bias type {bias_type!r}: the base model prefers the sentence labelled stereotype in only "
                f"{share:.1f} % of {len(values)} pairs; the labels look swapped"
            )
    return findings


def contamination(benchmark: Sequence[Triplet], known: Iterable[str]) -> dict[str, int] | None:
    """How many triplets of a benchmark an adapter has seen in training or for stopping; None if none.

    Args:
        known: hashes of the pairs that the adapter has seen (training_data.json).
    """
    seen = set(known)
    shared = sum(not seen.isdisjoint(same_pair_hashes(c)) for c in benchmark)
    return {"clusters": shared, "of": len(benchmark)} if shared else None


def _repeated(triplets: Sequence[Triplet], hashes: Iterable[str]) -> list[Triplet]:
    seen: set[str] = set()
    again = []
    for triplet, key in zip(triplets, hashes, strict=True):
        if key in seen:
            again.append(triplet)
        seen.add(key)
    return again


def _blanks(triplet: Triplet) -> int:
    """Blanks of a template; 1 where there is no template to hold one."""
    return triplet.context.count(BLANK) if triplet.kind == "intrasentence" and triplet.context else 1


def _counted(what: str, triplets: Sequence[Triplet]) -> str:
    return f"{len(triplets)} {what} (first: {triplets[0].source})" if triplets else ""


def _report_sizes(report: Sequence[Triplet]) -> Counter[str]:
    main = main_kind(report)
    return Counter(c.bias_type for c in report if c.kind == main)


def _too_small(bias_type: str, count: int) -> str:
    smallest = smallest_difference(count)
    if smallest <= TOO_SMALL_TO_CONCLUDE:
        return ""
    return (
        f"bias type {bias_type!r}: with {count} report items, "
        f"changes of SS below {smallest:.0f} points cannot be detected"
    )
