"""What one file knows about the pairs of another: their target terms and their unrelated sentences.

Training pairs often name no target term. A split by context alone would leave the same term on both sides,
and the stop split would then say nothing about terms that were never trained on.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from biasunlearn.data.records import BLANK, Cluster

RECURS = 8
"""A word is a candidate for a target term when this many contexts of one bias type hold it."""

CONTRAST = 4.0
"""... and when it is this many times as frequent in the contexts of that bias type as in those of the others."""

_WORD = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


def with_targets(clusters: Sequence[Cluster], named: Iterable[Cluster] = ()) -> list[Cluster]:
    """Fills in `target` where it is missing; whatever is found nowhere keeps None.

    1. A cluster of `named` (or of `clusters` itself) with the same context names its target.
    2. Else the longest target term of the same bias type that stands in the context as whole words.
    3. Else the word that recurs most tellingly in the contexts of this bias type (`RECURS`, `CONTRAST`):
       annotators wrote many contexts for each term, so a recurring word that other bias types lack is one.
    """
    knowing = [c for c in (*named, *clusters) if c.target]
    by_context = {(c.bias_type, c.context): c.target for c in knowing if c.context}
    terms: dict[str, dict[str, str]] = defaultdict(dict)  # folded -> as its data spells it
    for cluster in knowing:
        terms[cluster.bias_type].setdefault(str(cluster.target).casefold(), str(cluster.target))
    patterns = {bias_type: _any_of(names) for bias_type, names in terms.items()}
    recurring = _recurring_words(clusters)

    def target_of(cluster: Cluster) -> str | None:
        if cluster.target or (cluster.bias_type, cluster.context) in by_context:
            return cluster.target or by_context[cluster.bias_type, cluster.context]
        text = _context(cluster).casefold()
        if cluster.bias_type in patterns and (found := patterns[cluster.bias_type].search(text)):
            return terms[cluster.bias_type][found.group(1)]
        candidates = recurring.get(cluster.bias_type, {})
        words = sorted(_words(text) & candidates.keys())
        return max(words, key=lambda word: candidates[word]) if words else None

    return [replace(cluster, target=target_of(cluster)) for cluster in clusters]


def with_unrelated(clusters: Sequence[Cluster], named: Iterable[Cluster]) -> list[Cluster]:
    """Gives a pair the unrelated sentence that a cluster of the same bias type and context has in another file."""
    by_context = {(c.bias_type, c.context): c.unrelated for c in named if c.unrelated and c.context}
    return [c if c.unrelated else replace(c, unrelated=by_context.get((c.bias_type, c.context))) for c in clusters]


def _context(cluster: Cluster) -> str:
    if cluster.context:
        return cluster.context.replace(BLANK, " ")
    return cluster.supervised(cluster.stereotype).prefix


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


def _any_of(terms: Iterable[str]) -> re.Pattern[str]:
    longest_first = sorted(terms, key=lambda term: (-len(term), term))
    return re.compile(rf"(?<!\w)({'|'.join(map(re.escape, longest_first))})(?:s|es)?(?!\w)")


def _recurring_words(clusters: Sequence[Cluster]) -> dict[str, dict[str, float]]:
    """Per bias type: word -> how telling it is (contexts that hold it, times the log of the contrast)."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    contexts: Counter[str] = Counter()
    for cluster in clusters:
        contexts[cluster.bias_type] += 1
        counts[cluster.bias_type].update(_words(_context(cluster)))
    everywhere: Counter[str] = Counter()
    for counter in counts.values():
        everywhere.update(counter)
    telling: dict[str, dict[str, float]] = {}
    for bias_type, counter in counts.items():
        others = contexts.total() - contexts[bias_type]
        if not others:  # one bias type alone: nothing to set its words against
            continue
        telling[bias_type] = {}
        for word, here in counter.items():
            contrast = (here / contexts[bias_type]) / ((everywhere[word] - here + 1) / others)
            if here >= RECURS and contrast >= CONTRAST:
                telling[bias_type][word] = here * math.log(contrast)
    return telling
