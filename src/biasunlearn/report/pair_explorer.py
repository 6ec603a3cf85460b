"""All pairs of sentences of a run, to search and to filter: values for web/pairs.js, which draws what is asked for.

The values are one JSON element. Texts are divided into what both sentences share and what differs, so that the shared
parts are stored once and the differing words can be marked.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from biasunlearn.data.words import shared_prefix, shared_suffix
from biasunlearn.report.formatting import short
from biasunlearn.report.html import Markup, data_block, tag
from biasunlearn.report.page import folded
from biasunlearn.stats.remaining_bias import PairMargin

SENTENCE = 400
"""Characters of a sentence that are shown."""

SEEN = ("", "both", "one", "neither")

SIDES = {
    "": "any",
    "changed": "changed side",
    "left": "from stereotype to anti-stereotype",
    "joined": "from anti-stereotype to stereotype",
    "stereotype": "still the stereotype",
    "anti": "still the anti-stereotype",
}
"""Which sentence is more likely, before and after."""

SIDES_ALONE = {"": "any", "stereotype": "the stereotype", "anti": "the anti-stereotype"}

WORDING = {"": "any", "both": "both seen in training", "one": "one seen", "neither": "unseen in training"}

ORDERS = {
    "change": "largest change first",
    "stereotype": "strongest preference for the stereotype first",
    "anti": "strongest preference for the anti-stereotype first",
    "term": "by bias type and target term",
}

MARGIN_DIGITS = 4


def pair_explorer(pairs: Sequence[PairMargin], sentences: Mapping[str, str]) -> Markup:
    """The explorer, folded away because it quotes stereotypes.

    Args:
        sentences: sentence id -> text, as far as it is known.
    """
    both = any(pair.before is not None for pair in pairs)
    seen = any(pair.seen for pair in pairs)
    orders = {key: label for key, label in ORDERS.items() if both or key != "change"}
    controls = [
        _labelled("Search in sentences and terms", tag("input", type="search", name="q", autocomplete="off")),
        _labelled("Bias type", _choice("type", {"": "all"})),
        _labelled("Target term", _choice("term", {"": "all"})),
        _labelled("More likely", _choice("side", SIDES if both else SIDES_ALONE)),
        _labelled("Distinguishing words", _choice("seen", WORDING)) if seen else None,
        _labelled("Order", _choice("order", orders)),
    ]
    bar = tag(
        "div", tag("span", class_="count", role="status"),
        tag("button", "Download these as CSV", type="button", class_="csv"),
        tag("button", "Clear filters", type="button", class_="clear"), class_="bar",
    )  # fmt: skip
    whole = tag(
        "div", tag("div", controls, class_="controls", role="group", aria_label="Filter pairs"), bar,
        tag("ol", class_="pairs"), tag("button", "Show more", type="button", class_="more", hidden=True),
        data_block("items", _values(pairs, sentences)), class_="explorer needs-script",
    )  # fmt: skip
    return folded(f"Search all {len(pairs):,} pairs", whole, kind="notice")


def _values(pairs: Sequence[PairMargin], sentences: Mapping[str, str]) -> dict[str, Any]:
    """What web/pairs.js reads: names once, and a row of places and numbers for each pair."""
    types = {name: place for place, name in enumerate(sorted({pair.bias_type for pair in pairs}))}
    terms = {name: place for place, name in enumerate(sorted({pair.target for pair in pairs}))}
    rows = []
    for pair in pairs:
        row = [types[pair.bias_type], terms[pair.target], *_texts(pair, sentences), SEEN.index(pair.seen),
               *_rounded(pair.scores)]  # fmt: skip
        if pair.scores_before is not None:
            row += _rounded(pair.scores_before)
        rows.append(row)
    parts = [[None if one is None else round(one, MARGIN_DIGITS) for one in (pair.group, pair.group_before)]
             for pair in pairs]  # fmt: skip
    known = any(now is not None for now, _ in parts)
    names = {"types": [short(name, 80) for name in types], "terms": [short(name, 120) for name in terms]}
    return {**names, "seen": list(SEEN), "rows": rows, "group": parts if known else []}


def _texts(pair: PairMargin, sentences: Mapping[str, str]) -> list[str]:
    """What both sentences begin with, the differing words of each, what both end with, and the stereotype's id.

    By hand: "He is a nurse." and "He is a pilot." -> ["He is a ", "nurse.", "pilot.", ""].
    """
    ids = pair.stereotype_id, pair.anti_stereotype_id
    first, second = (short(sentences.get(one, one), SENTENCE) for one in ids)
    head = shared_prefix(first, second)
    tail = shared_suffix(first[head:], second[head:])
    ends = first[head : len(first) - tail], second[head : len(second) - tail]
    return [first[:head], *ends, first[len(first) - tail :] if tail else "", short(ids[0], 80)]


def _rounded(scores: tuple[float, float]) -> list[float]:
    return [round(score, MARGIN_DIGITS) for score in scores]


def _labelled(label: str, control: Markup) -> Markup:
    return tag("label", tag("span", label), control)


def _choice(name: str, options: Mapping[str, str]) -> Markup:
    return tag("select", [tag("option", label, value=value) for value, label in options.items()], name=name)
