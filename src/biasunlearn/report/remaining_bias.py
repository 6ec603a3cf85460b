"""Where bias remains, as parts of a run's page: every target term, and single pairs of sentences, folded away."""

from collections.abc import Mapping, Sequence

from biasunlearn.report.charts.term_swarm import term_swarm
from biasunlearn.report.formatting import ARROW, number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.html_table import html_table
from biasunlearn.report.page import Section, folded, section
from biasunlearn.report.pair_explorer import SENTENCE, pair_explorer
from biasunlearn.report.tables.stereoset import term_table
from biasunlearn.stats import remaining_bias
from biasunlearn.stats.stereoset import Item, fair_distance

SHOWN_PAIRS = 20
"""Pairs of each list on a page whose script does not run."""
SHOWN_TERMS = 1000

NOT_PRINTED = "The lists are printed only if they are open on the page."
"""Under a folded list that quotes what may hurt, in print."""

NOTICE = (
    "Content notice: these lists quote stereotypes, some of them hurtful. The margin is the mean log-probability per "
    "token of the stereotype minus that of the anti-stereotype: above 0 the stereotype is more likely."
)


def term_sections(after: Sequence[Item], before: Sequence[Item]) -> list[Section]:
    """Target terms as dots and as a table by remaining bias; nothing where the run has no items of StereoSet."""
    found = remaining_bias.terms(after, before)
    if not found:
        return []
    hollow = "Hollow: before. Filled: after. " if found[0].before is not None else ""
    note = (
        f"Each mark is a target term, at the share of its pairs in which the stereotype is more likely. {hollow}Shape "
        "and color are its subgroup. Few pairs make single terms uncertain: their intervals are in the table."
    )
    sorted_by = (
        "Sorted by remaining bias beyond chance: |SS − 50| minus the value expected for an unbiased model with as many "
        f"pairs (with 5 pairs: {number(fair_distance(5))} points). Intervals take the pairs of a term as independent."
    )
    if len(found) > SHOWN_TERMS:
        sorted_by += f" The first {SHOWN_TERMS} of {len(found)} terms are shown; the charts have all of them."
    by_type: dict[str, list[remaining_bias.Term]] = {}
    for term in sorted(found, key=lambda term: term.bias_type):
        by_type.setdefault(term.bias_type, []).append(term)
    swarms = tag("div", [term_swarm(name, terms) for name, terms in by_type.items()], class_="panels swarms")
    table = html_table(term_table("Target terms by remaining bias", found[:SHOWN_TERMS]), kind="close", tall=True)
    listed = tag("div", table, class_="searchable")
    return [section("Target terms", swarms, tag("h3", "All target terms"), tag("p", sorted_by, class_="note"), listed,
                    note=note)]  # fmt: skip


def pair_sections(
    after: Sequence[Item], before: Sequence[Item], sentences: Mapping[str, str], *, explorer: bool = True
) -> list[Section]:
    """All pairs to search, folded away because they may hurt; where no script runs, those that changed most and those
    with the largest margin.

    Args:
        sentences: sentence id -> text, as far as it is known.
        explorer: False leaves out the search, as on a page of several runs.
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
    shown = [pair_explorer(found, sentences), tag("noscript", parts)] if explorer else parts
    print_note = tag("p", NOT_PRINTED, class_="notice-print")
    return [section("Single pairs", shown, print_note, note=NOTICE + missing)]


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
