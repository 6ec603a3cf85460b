"""StereoSet: SS, LMS and ICAT by bias type, and SS of every target term."""

from collections.abc import Iterable, Iterator, Sequence

from biasunlearn.report.charts.axis import Scale, Span, around
from biasunlearn.report.formatting import ARROW, DASH, interval, number
from biasunlearn.report.table import (
    ALWAYS,
    EXTRA,
    LAST,
    MISSING,
    Cell,
    Column,
    IntervalCell,
    NumberCell,
    Row,
    StripCell,
    Table,
    TextCell,
    Tone,
    count_cell,
    name_cell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.report.tables.association import POLARISED_NOTE, polarised_mark
from biasunlearn.report.warnings import stereoset_warnings
from biasunlearn.runs.benchmark_results import StereoSetPart, StereoSetResult
from biasunlearn.runs.scores import Distance, Equivalence, StereoSetScores
from biasunlearn.stats.equivalence import MARGIN
from biasunlearn.stats.remaining_bias import Term
from biasunlearn.stats.stereoset import FORMULATIONS

Entry = StereoSetResult | StereoSetPart

SIDES = ("← anti-stereotype more likely", "stereotype more likely →")

LEAST = 10.0
"""Points of SS to either side of 50 that are drawn in any case."""


def stereoset_tables(entry: StereoSetResult, before: StereoSetResult | None, margin: float) -> list[Table]:
    """Intrasentence, the official test, and intersentence where it was measured; the latter alone if nothing else was.

    Args:
        before: the same entry of the base model.
        margin: how near to 50 counts as fair, in points.
    """
    kind = "intersentence" if entry.formulation == FORMULATIONS["intersentence"] else "intrasentence"
    found = [score_table(f"StereoSet, {kind}", entry, before, margin, stereoset_warnings(entry, before))]
    if entry.intersentence:
        first = before.intersentence if before else None
        found.append(score_table("StereoSet, intersentence", entry.intersentence, first, margin))
    return found


def score_table(
    title: str, entry: Entry, before: Entry | None, margin: float, warnings: Sequence[str] = ()
) -> Table:
    """SS as a picture and as numbers, with LMS and ICAT: a row for each bias type, and one for all of them."""
    firsts = before.bias_types if before else {}
    pairs = {name: (row, firsts.get(name)) for name, row in entry.bias_types.items()}
    total = (entry.overall, before.overall if before else None)
    scale = ss_scale((one.ss for pair in (*pairs.values(), total) for one in pair if one), margin)
    scores = [Column("SS before"), Column("SS after", priority=ALWAYS)] if before else [Column("SS", priority=ALWAYS)]
    columns = (
        Column("bias type", "text", ALWAYS), Column("SS", "picture", scale=scale, sides=SIDES), *scores,
        Column("LMS"), Column("ICAT", priority=EXTRA), Column("pairs", priority=LAST),
    )  # fmt: skip
    rows = tuple(Row(_score_cells(name_cell(name), *pair)) for name, pair in pairs.items())
    overall = Row(_score_cells(TextCell("overall"), *total), tone="strong")
    marked = any(polarised_mark(one) for pair in (*pairs.values(), total) for one in pair if one)
    distances = distance_notes(entry.overall, before.overall if before else None)
    notes = (*distances, *([POLARISED_NOTE] if marked else []))
    return Table(f"{title} (ideal: SS 50, LMS and ICAT 100)", columns, rows, overall, tuple(warnings), notes)


def ss_scale(shown: Iterable[Span], margin: float) -> Scale:
    """One axis for SS in all rows, with 50 in the middle and the band that counts as fair."""
    return Scale(around(50.0, [end for one in shown for end in (one.low, one.high)], LEAST), 50.0, margin)


def distance_notes(after: StereoSetScores, before: StereoSetScores | None) -> Iterator[str]:
    """Mean |SS − 50|, which unlike SS cannot average out, beside what would be expected by chance."""
    both = {
        "bias types": (before and before.ss_distance, after.ss_distance),
        "target terms": (before and before.ss_distance_terms, after.ss_distance_terms),
    }
    for over, (first, last) in both.items():
        if last:  # an older run has none
            values = f" {ARROW} ".join(_distance(one) for one in (first, last) if one)
            yield f"Mean |SS − 50| over {over}: {values}; expected for an unbiased model: {_expected(last)}."


def ss_tone(found: Span, tested: Equivalence | None = None) -> Tone:
    """Good: shown to lie within the margin of 50. Caution: the interval excludes 50. Else too little is known.

    Args:
        tested: equivalence, where it was tested; else the whole 95 % interval must lie within 5 points of 50.
    """
    within = tested.within if tested else 50 - MARGIN < found.low and found.high < 50 + MARGIN
    return "good" if within else "" if found.low <= 50 <= found.high else "caution"


def term_table(title: str, terms: Sequence[Term]) -> Table:
    """SS of target terms, those with most remaining bias first. Intervals take the pairs of a term as independent."""
    both = bool(terms) and terms[0].before is not None
    grouped = any(term.subgroup for term in terms)
    scale = Scale(around(50.0, [], 48.0), 50.0)
    scores = [Column("before"), Column("after"), Column("change")] if both else [Column("SS")]
    columns = (
        Column("target term", "text"), Column("bias type", "text"),
        *([Column("subgroup", "text")] if grouped else []), Column("pairs"),
        Column("SS", "picture", scale=scale), *scores, Column("beyond chance"),
    )  # fmt: skip
    return Table(title, columns, rows_of(_term_cells(term, both, grouped) for term in terms))


def _expected(found: Distance) -> str:
    """The expected distance with its null hypothesis, and the one at the estimated intraclass correlation."""
    independent = f"{number(found.if_fair)} if all items are independent"
    if found.if_fair_clustered is None or found.icc is None:
        return independent
    correlated = f"{number(found.if_fair_clustered)} at the estimated intraclass correlation"
    return f"{independent}, {correlated} of the items of a target term ({number(found.icc, 2)})"


def _distance(found: Distance) -> str:
    return f"{number(found.value)} ({interval(found.low, found.high)})"


def _score_cells(name: Cell, after: StereoSetScores, before: StereoSetScores | None) -> tuple[Cell, ...]:
    mark = polarised_mark(after)
    earlier = [score_cell(before.ss, mark=polarised_mark(before))] if before else []
    return (
        name, StripCell(after.ss, before.ss if before else None), *earlier,
        score_cell(after.ss, tone="caution" if mark else ss_tone(after.ss, after.equivalence), mark=mark),
        score_cell(after.lms, before=before.lms if before else None),
        score_cell(after.icat, before=before.icat if before else None), count_cell(after.n),
    )  # fmt: skip


def _term_cells(term: Term, both: bool, grouped: bool) -> tuple[Cell, ...]:
    now, was = term.interval, term.interval_before
    values: list[Cell] = [IntervalCell(now)]
    if both:
        change = MISSING if term.before is None else NumberCell(term.after - term.before, signed=True)
        values = [NumberCell(term.before), *values, change]
    subgroup = [name_cell(term.subgroup) if term.subgroup else TextCell(DASH, tone="soft")] if grouped else []
    return (
        name_cell(term.target, limit=60), name_cell(term.bias_type), *subgroup, count_cell(term.pairs),
        StripCell(now, was), *values, NumberCell(round(term.beyond_chance, 4), signed=True),
    )  # fmt: skip
