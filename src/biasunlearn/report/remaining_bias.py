"""Where bias remains, as parts of a run's page: target terms in a table, and single pairs of sentences, folded away."""

from collections.abc import Mapping, Sequence

from biasunlearn.report.formatting import ARROW, number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.html_table import html_table
from biasunlearn.report.page import folded, section
from biasunlearn.report.tables.stereoset import term_table
from biasunlearn.stats import remaining_bias
from biasunlearn.stats.stereoset import Item, fair_distance

SHOWN_PAIRS = 20
SHOWN_TERMS = 300
SENTENCE = 400
"""Characters of a sentence that are shown."""

NOTICE = (
    "Content notice: these lists quote stereotypes, some of them hurtful. The margin is the mean log-probability per "
    "token of the stereotype minus that of the anti-stereotype: above 0 the stereotype is more likely."
)


def term_sections(after: Sequence[Item], before: Sequence[Item]) -> list[Markup]:
    """Target terms by remaining bias; nothing where the run has no items of StereoSet."""
    found = remaining_bias.terms(after, before)
    if not found:
        return []
    note = (
        "Sorted by remaining bias beyond chance: |SS − 50| minus the value expected for an unbiased model with as many "
        f"pairs (with 5 pairs: {number(fair_distance(5))} points)."
    )
    if len(found) > SHOWN_TERMS:
        note += f" The first {SHOWN_TERMS} of {len(found)} terms are shown."
    table = term_table("Target terms by remaining bias", found[:SHOWN_TERMS])
    return [section("Target terms", html_table(table, kind="close", tall=True), note=note)]


def pair_sections(after: Sequence[Item], before: Sequence[Item], sentences: Mapping[str, str]) -> list[Markup]:
    """Pairs that changed most and pairs with the largest margin, folded away because they may hurt.

    Args:
        sentences: sentence id -> text, as far as it is known.
    """
    found = remaining_bias.pairs(after, before)
    if not found:
        return []
    lists = {
        "pairs that changed most": remaining_bias.most_changed(found, SHOWN_PAIRS),
        "pairs with the strongest preference for the stereotype": remaining_bias.still_worst(found, SHOWN_PAIRS),
    }
    parts = [
        folded(f"Show {len(pairs)} {what}", tag("ol", [_pair(pair, sentences) for pair in pairs], class_="pairs"),
               kind="notice")  # fmt: skip
        for what, pairs in lists.items()
        if pairs
    ]
    missing = "" if sentences else " The data file has moved or changed, so only the ids of the sentences are shown."
    return [section("Single pairs", parts, note=NOTICE + missing)]


def _pair(pair: remaining_bias.PairMargin, sentences: Mapping[str, str]) -> Markup:
    margin = number(pair.after, 3, signed=True)
    if pair.before is not None:
        margin = f"{number(pair.before, 3, signed=True)} {ARROW} {margin}"
    roles = (("stereotype", pair.stereotype_id), ("anti-stereotype", pair.anti_stereotype_id))
    quoted = [
        tag("p", tag("span", role, class_="role"), tag("bdi", short(sentences.get(one, one), SENTENCE)))
        for role, one in roles
    ]
    about = (name_of(pair.bias_type, 40), ", ", name_of(pair.target, 60), f": margin {margin}")
    return tag("li", quoted, tag("p", *about, class_="lean"))
