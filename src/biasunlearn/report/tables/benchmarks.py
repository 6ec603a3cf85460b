"""Every benchmark but StereoSet's headline: by bias type, all scores that share an ideal, and lm-eval's tasks."""

from collections.abc import Iterator, Mapping, Sequence

from biasunlearn.report.charts.axis import Scale
from biasunlearn.report.formatting import ARROW, number
from biasunlearn.report.score_names import SCORES, meaning
from biasunlearn.report.table import (
    ALWAYS,
    EXTRA,
    LAST,
    MISSING,
    Cell,
    Column,
    Line,
    NumberCell,
    Row,
    StripCell,
    Table,
    TextCell,
    count_cell,
    digits_of,
    name_cell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.report.tables.judged import judged_tables
from biasunlearn.report.warnings import benchmark_warnings
from biasunlearn.runs.benchmark_results import (
    BenchmarkResult,
    BoldResult,
    Capability,
    Gap,
    JudgedResult,
    PanelResult,
    PerplexityResult,
    SeatResult,
    SeatTest,
    TaskScores,
)
from biasunlearn.runs.scores import BiasTypeScores, Score, estimate_of

ScoreRow = tuple[str, str, Score, Score]
"""Benchmark, score, after, before."""


def benchmark_tables(name: str, entry: PanelResult, before: BenchmarkResult | None) -> list[Table]:
    """A benchmark by bias type, then what only association tests or generated texts have."""
    first = before if isinstance(before, PanelResult) else None
    found = [_by_bias_type(name, entry, first)]
    if isinstance(entry, SeatResult) and entry.tests:
        found.append(_association_tests(name, entry.tests, first.tests if isinstance(first, SeatResult) else None))
    if isinstance(entry, JudgedResult):
        found += judged_tables(name, entry, first)
    if isinstance(entry, BoldResult | JudgedResult):
        gaps = first.gaps if isinstance(first, BoldResult | JudgedResult) else {}
        found += [_gaps(name, score, domains, gaps.get(score)) for score, domains in entry.gaps.items() if domains]
    return found


def capability_table(found: Capability) -> Table:
    """Tasks of lm-eval: a row for each metric."""
    limit = f", the first {found.limit} documents of each task" if found.limit else ""
    scores = (Column("before"), Column("after", priority=ALWAYS)) if found.before else (Column("value"),)
    columns = (Column("task", "text", ALWAYS), Column("metric", "text", ALWAYS), Column("n", priority=LAST), *scores)
    rows = []
    for task, row in found.tasks.items():
        first = (found.before or {}).get(task)
        for metric, value in row.metrics.items():
            both = (_metric(first, metric), value) if found.before else (value,)
            count = MISSING if row.n is None else count_cell(row.n)
            rows.append([name_cell(task), name_cell(metric), count, *(score_cell(one, 3) for one in both)])
    return Table(f"Capability (lm-eval {found.lm_eval}{limit})", columns, rows_of(rows))


def perplexity_line(after: PerplexityResult, before: PerplexityResult | None) -> Line:
    """Perplexity of a text, and its change."""
    size, what = f"{after.tokens:,} tokens", "Pseudo-perplexity" if after.pseudo else "Perplexity"
    if before is None:
        per_byte = f"per byte {number(after.per_byte, 3)}"
        return Line(f"{what} per token: {number(after.per_token, 2)}, {per_byte} ({size}).")
    change = number(change_in_percent(after, before), 2, signed=True)
    values = f"{number(before.per_token, 2)} {ARROW} {number(after.per_token, 2)}"
    return Line(f"{what} per token: {values} ({change} %, {size}).")


def change_in_percent(after: PerplexityResult, before: PerplexityResult) -> float:
    """Of perplexity per token."""
    return 100 * (after.per_token / before.per_token - 1)


def shared_ideal_table(title: str, scale: Scale, rows: Sequence[ScoreRow]) -> Table:
    """Scores of all benchmarks that are drawn on one axis."""
    both = any(before is not None for *_, before in rows)
    digits = digits_of(after for _, _, after, _ in rows)
    values = (Column("before"), Column("after")) if both else (Column("value"),)
    columns = (
        Column("benchmark", "text"), Column("score", "text"), Column("interval", "picture", scale=scale), *values,
    )  # fmt: skip
    cells = []
    for benchmark, score, after, before in rows:
        shown = (before, after) if both else (after,)
        strip = StripCell(estimate_of(after), estimate_of(before))
        names = (name_cell(benchmark), TextCell(score, is_name=True, small=meaning(score)))
        cells.append([*names, strip, *(score_cell(one, digits) for one in shown)])
    return Table(f"Scores, {title[0].lower()}{title[1:]}", columns, rows_of(cells))


# --- by bias type ----------------------------------------------------------------------------------------------------


def _by_bias_type(name: str, entry: PanelResult, before: PanelResult | None) -> Table:
    """A row for each bias type and each other group. Of a run with a before the first score has two columns."""
    scores = list(entry.shown_scores)
    rows, firsts = dict(_rows(entry)), dict(_rows(before)) if before else {}
    digits = {score: digits_of(row.scores.get(score) for row in rows.values()) for score in scores}
    named = "bias type or group" if entry.groups else "bias type"
    columns = [Column(named, "text", ALWAYS), Column("n", priority=LAST)]
    for place, score in enumerate(scores):
        if before and place == 0:
            columns.append(Column(f"{score} before", is_name=True))
            columns.append(Column(f"{score} after", is_name=True, priority=ALWAYS))
        else:
            columns.append(Column(score, is_name=True, priority=EXTRA if place else ALWAYS))
    made = {path: _row_cells(path[1], row, firsts.get(path), digits) for path, row in rows.items()}
    overall = Row(made.pop(("", "overall")), tone="strong")
    ideals = ", ".join(f"{score} {ideal:g}" for score, ideal in entry.ideal.items() if ideal is not None)
    title = f"{name} (ideal: {ideals})" if ideals else name
    notes = tuple(f"{score}: {SCORES[score]}." for score in scores if score in SCORES)
    return Table(
        title, tuple(columns), rows_of(made.values()), overall, benchmark_warnings(name, entry, before),
        notes=notes if isinstance(entry, JudgedResult) else (),
    )  # fmt: skip


def _row_cells(
    name: str, row: BiasTypeScores, before: BiasTypeScores | None, digits: Mapping[str, int]
) -> tuple[Cell, ...]:
    cells: list[Cell] = [name_cell(name), count_cell(row.n)]
    for place, (score, decimals) in enumerate(digits.items()):
        first = before.scores.get(score) if before else None
        if before and place == 0:
            cells += [score_cell(first, decimals), score_cell(row.scores.get(score), decimals)]
        else:
            cells.append(score_cell(row.scores.get(score), decimals, before=first))
    return tuple(cells)


def _rows(entry: PanelResult) -> Iterator[tuple[tuple[str, str], BiasTypeScores]]:
    """((grouping, name), scores): bias types, every other grouping, and overall."""
    for name, row in entry.bias_types.items():
        yield ("bias type", name), row
    for grouping, group in entry.groups.items():
        for name, row in group.items():
            yield (grouping, f"{grouping}: {name}"), row
    yield ("", "overall"), entry.overall


# --- what only some benchmarks have ----------------------------------------------------------------------------------


def _association_tests(name: str, tests: Mapping[str, SeatTest], before: Mapping[str, SeatTest] | None) -> Table:
    """Effect size d and p of every test, on the mean of the token vectors and on the last one."""
    whens = (" before", " after") if before is not None else ("",)
    columns = [Column("test", "text", ALWAYS), Column("bias type", "text", EXTRA), Column("n", "text", LAST)]
    columns += [Column(f"{pooling}{when}", priority=ALWAYS if pooling == "mean" and when != " before" else EXTRA)
                for pooling in ("mean", "last token") for when in whens]  # fmt: skip
    rows = []
    for test, row in tests.items():
        both = (before.get(test), row) if before is not None else (row,)
        cells = [_effect(one, last) for last in (False, True) for one in both]
        sizes = TextCell("+".join(map(str, row.n)))
        rows.append([name_cell(test, limit=60), name_cell(row.bias_type), sizes, *cells])
    note = "Effect size d with its p-value; * marks a p-value from sampled divisions of the targets."
    return Table(f"{name}, every association test", tuple(columns), rows_of(rows), notes=(note,))


def _effect(test: SeatTest | None, last: bool) -> Cell:
    if test is None:
        return MISSING
    size = test.effect_size_last if last else test.effect_size
    p, exact = (test.p_last, test.exact_last) if last else (test.p, test.exact)
    if size is None:
        return MISSING
    return NumberCell(size, 2, signed=True, small=f"{number(p, 3)}{'' if exact else '*'}")


def _gaps(name: str, score: str, domains: Mapping[str, Gap], before: Mapping[str, Gap] | None) -> Table:
    """How far the groups of each domain lie apart, beside what chance gives."""
    earlier = (Column("gap before", priority=EXTRA),) if before is not None else ()
    columns = (
        Column("domain", "text", ALWAYS), *earlier, Column("gap", priority=ALWAYS), Column("expected by chance"),
        Column("p"), Column("highest", "text", LAST), Column("lowest", "text", LAST),
    )  # fmt: skip
    rows = []
    for domain, gap in domains.items():
        first = [score_cell(before.get(domain), 3)] if before is not None else []
        chance = (NumberCell(gap.by_chance, 3), NumberCell(gap.p, 3))
        rows.append([name_cell(domain), *first, score_cell(gap, 3), *chance, name_cell(gap.highest),
                     name_cell(gap.lowest)])  # fmt: skip
    return Table(f"{name}: gap of {score} between groups (ideal: no larger than by chance)", columns, rows_of(rows))


def _metric(task: TaskScores | None, metric: str) -> Score:
    return task.metrics.get(metric) if task else None
