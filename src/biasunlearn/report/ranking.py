"""Ranks of several runs, as far as tests distinguish them: a run has the range of ranks that the tests leave open.

A run that 2 of 5 others are shown to be nearer to 50 than, and that is itself nearer than 1, has rank 3 to 4. Runs that
no test distinguishes share their range, so that the order of their rows means nothing. Such ranges of ranks are usual
for league tables (Goldstein and Spiegelhalter 1996).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from biasunlearn.report.charts.axis import Span
from biasunlearn.report.html import Markup, tag
from biasunlearn.report.html_table import html_table
from biasunlearn.report.page import Section, section
from biasunlearn.report.table import Column, NumberCell, Table, TextCell, rows_of, score_cell
from biasunlearn.report.tables.ranking import Nearer
from biasunlearn.runs.scores import Interval

NOTE = (
    "A rank is a range: 1 to 3 means that the tests leave open whether the run is first, second or third. A run is "
    "nearer to 50 than another one only where a paired test of the mean |SS − 50| over bias types, adjusted for all "
    "pairs (Holm), distinguishes them. Ranks are about bias alone: a run may be nearer to 50 because it lost ability; "
    "see the next part."
)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A run or the base model, to be ranked by its distance from 50."""

    letter: str
    name: str
    small: str
    distance: Span
    without_rank: str = ""
    """Why it has no rank: the run failed."""


def rank_ranges(letters: Sequence[str], nearer: Collection[Nearer]) -> dict[str, tuple[int, int]]:
    """Letter -> the best and the worst rank that the tests leave open.

    By hand: A, B, C with A nearer than C -> A 1 to 2, B 1 to 3, C 2 to 3.
    """
    known = [pair for pair in set(nearer) if pair[0] in letters and pair[1] in letters]
    return {
        one: (1 + sum(farther == one for _, farther in known), len(letters) - sum(better == one for better, _ in known))
        for one in letters
    }


def ranking_section(runs: Sequence[Ranked], nearer: Sequence[Nearer]) -> Section | None:
    """The section; nothing for fewer than two runs."""
    if len(runs) < 2:
        return None
    table = ranking_table(runs, nearer)
    return section("Ranks by distance from 50", html_table(table, kind="close"), _left_out(runs), note=NOTE)


def ranking_table(runs: Sequence[Ranked], nearer: Sequence[Nearer]) -> Table:
    """A row for each run with its range of ranks and the runs that it is, or is not, distinguished from."""
    letters = [run.letter for run in runs if not run.without_rank]
    ranges, pairs = rank_ranges(letters, nearer), set(nearer)
    columns = (
        Column("run", "text"), Column("rank"), Column("mean |SS − 50|"), Column("nearer to 50 than", "text"),
        Column("farther than", "text"), Column("not distinguished from", "text"),
    )  # fmt: skip
    rows = []
    for run in sorted((run for run in runs if not run.without_rank), key=lambda run: ranges[run.letter]):
        best, worst = ranges[run.letter]
        below = [one for one in letters if (run.letter, one) in pairs]
        above = [one for one in letters if (one, run.letter) in pairs]
        open_ = [one for one in letters if one != run.letter and one not in (*below, *above)]
        rank = NumberCell(best + worst / 1000, text=str(best) if best == worst else f"{best} to {worst}")
        distance = score_cell(Interval(value=run.distance.value, low=run.distance.low, high=run.distance.high))
        rows.append([TextCell(run.name, is_name=True, key=run.letter, small=run.small), rank, distance,
                     *(TextCell(", ".join(names) or "–") for names in (below, above, open_))])  # fmt: skip
    return Table("Ranks by distance from 50", columns, rows_of(rows))


def _left_out(runs: Sequence[Ranked]) -> Markup | None:
    left = [f"{run.letter} ({run.without_rank.lower()})" for run in runs if run.without_rank]
    return tag("p", f"Without a rank: {', '.join(left)}.", class_="note") if left else None
