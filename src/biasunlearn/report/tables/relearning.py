"""Further training of a debiased model and of its base: scores at every step, and how much of the debiasing is left."""

from collections.abc import Sequence

from biasunlearn.report.formatting import interval, number
from biasunlearn.report.table import (
    ALWAYS,
    EXTRA,
    LAST,
    Cell,
    Column,
    Line,
    NumberCell,
    Part,
    Row,
    Table,
    TextCell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.report.tables.benchmarks import benchmark_tables
from biasunlearn.report.tables.stereoset import ss_tone
from biasunlearn.report.tables.transfer import share
from biasunlearn.report.warnings import low_lms_warning, over_debiased_points
from biasunlearn.runs.benchmark_results import JudgedResult
from biasunlearn.runs.results import Results
from biasunlearn.runs.scores import Interval
from biasunlearn.runs.sections import Effect, Kept, Point, Relearned

KEPT_NOTE = (
    "Gap in SS: SS of the base model minus SS of the debiased model at the same step, toward the side that the base "
    "model prefers, mean over bias types; % kept: this gap relative to that at step 0. Lead: how much nearer to 50 the "
    "debiased model is; a step past 50 widens the gap but not the lead, while noise near 50 reduces the lead. Moved: "
    "change of mean |SS − 50| since step 0, in points."
)


def relearning_tables(results: Results) -> list[Part]:
    """Both models at every step, then how much of the debiasing is left."""
    found = results.relearned
    if found is None:
        return []
    return [steps_table(found.points), kept_table(found), Line(kept_line(found.kept[-1])),
            *(Line(warning, "caution") for warning in relearning_warnings(results)), *_judged(results)]  # fmt: skip


def _judged(results: Results) -> list[Table]:
    """Judged answers of the debiased model, before and after it was trained further."""
    first = results.before.entries if results.before else {}
    return [
        table
        for name, entry in results.benchmarks.entries.items() if isinstance(entry, JudgedResult)
        for table in benchmark_tables(name, entry, first.get(name))
    ]  # fmt: skip


def relearning_warnings(results: Results) -> tuple[str, ...]:
    """About both models at every step."""
    found = results.relearned
    if found is None:
        return ()
    measured = [one.stereoset.overall for one in (results.before, results.benchmarks) if one and one.stereoset]
    last = found.kept[-1]
    undefined = () if last.kept else (f"The share kept is not defined: {last.reason}.",)
    return (*undefined, *over_debiased_points(found.points), *low_lms_warning(*measured))


def kept_line(last: Kept) -> str:
    """How much of the debiasing is left after the last step."""
    moved = f"debiased model {_moved(last.returned)}, base model {_moved(last.drift)}"
    left = f"{share(last.kept)} of the debiasing is left" if last.kept else f"share kept not defined ({last.reason})"
    steps = f"{last.step} step{'' if last.step == 1 else 's'}"
    return f"After {steps}: {left}; change of mean |SS − 50| since step 0: {moved}."


def steps_table(points: Sequence[Point]) -> Table:
    """SS, LMS, perplexity and loss of both models at each step."""
    names = list(points[0].bias_types)
    columns = (
        Column("step", priority=ALWAYS), Column("model", "text", ALWAYS), Column("SS", priority=ALWAYS), Column("LMS"),
        Column("perplexity", priority=EXTRA), Column("loss", priority=EXTRA),
        *(Column(f"SS {name}", is_name=True, priority=LAST) for name in names),
    )  # fmt: skip
    ordered = sorted(points, key=lambda point: point.step)
    rows = []
    for place, point in enumerate(ordered):
        ends = place + 1 == len(ordered) or ordered[place + 1].step != point.step
        rows.append(Row(_step_cells(point, names), ends_section=ends))
    return Table("Both models at each step (SS: ideal 50, with 95 % intervals)", columns, tuple(rows))


def kept_table(found: Relearned) -> Table:
    """The debiased model against its base at the same step."""
    columns = (
        Column("step", priority=ALWAYS), Column("gap in SS"), Column("% kept", priority=ALWAYS), Column("lead"),
        Column("% of lead kept"), Column("debiased moved", priority=EXTRA), Column("base moved", priority=EXTRA),
    )  # fmt: skip
    rows = []
    for row in found.kept:
        gaps = [cell for one in (row, row.distance) for cell in (score_cell(one.target), _percent(one))]
        moved = (score_cell(row.returned, signed=True), score_cell(row.drift, signed=True))
        rows.append([NumberCell(row.step, 0), *gaps, *moved])
    return Table("How much of the debiasing is kept at each step", columns, rows_of(rows), notes=(KEPT_NOTE,))


def _step_cells(point: Point, names: Sequence[str]) -> tuple[Cell, ...]:
    overall = point.overall
    types = [point.bias_types[name].ss for name in names]
    return (
        NumberCell(point.step, 0), TextCell(point.model), score_cell(overall.ss, tone=ss_tone(overall.ss)),
        score_cell(overall.lms), NumberCell(point.perplexity, 2), NumberCell(point.loss, 3),
        *(score_cell(ss, tone=ss_tone(ss)) for ss in types),
    )  # fmt: skip


def _percent(effect: Effect) -> Cell:
    kept = effect.kept
    if kept is None:
        return NumberCell(None)
    value, low, high = (100 * end for end in (kept.value, kept.low, kept.high))
    return score_cell(Interval(value=value, low=low, high=high), 0)


def _moved(found: Interval) -> str:
    return f"{number(found.value, signed=True)} ({interval(found.low, found.high)})"
