"""Runs tested against the first of them, the spread between seeds, and the rules of a gate."""

from collections.abc import Iterable, Mapping
from string import ascii_uppercase

from biasunlearn.report.formatting import number, p_value
from biasunlearn.report.table import (
    ALWAYS,
    EXTRA,
    LAST,
    MISSING,
    Cell,
    Column,
    Line,
    NumberCell,
    Part,
    Row,
    Table,
    TextCell,
    Tone,
    count_cell,
    digits_of,
    name_cell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.report.tables.judged import arms_table
from biasunlearn.report.tables.run import VERDICT_TONES
from biasunlearn.report.warnings import few_clusters_warning
from biasunlearn.runs.comparison import (
    ComparedBenchmark,
    GateResult,
    OverviewLine,
    RunComparison,
    SeedGroup,
    SeedSpread,
    TestedRow,
)  # fmt: skip

TONES: Mapping[str, Tone] = {"better": "good", "worse": "bad", "changed": "caution", "too few items": "soft"}

Letters = Mapping[str, str]
"""Run -> the letter by which tables and charts call it."""


def comparison_tables(comparison: RunComparison) -> list[Part]:
    """The verdict of every run, its letter, the overview, every benchmark by bias type, and the spread of seeds."""
    letters = dict(zip((run.name for run in comparison.runs), letters_for(len(comparison.runs)), strict=True))
    parts: list[Part] = [*verdict_lines(comparison, letters), *_legend(comparison, letters)]
    parts.append(overview_table(comparison, letters))
    parts += bias_type_tests(comparison, letters)
    for compared in comparison.comparisons:
        if compared.not_shared:
            names = ", ".join(compared.not_shared)
            parts.append(Line(f"Measured in A or {letters[compared.run]} only: {names}.", "caution"))
    return [*parts, *(_spread_between_seeds(group, letters) for group in comparison.seeds)]


def gate_tables(result: GateResult) -> list[Part]:
    """Every rule with pass or fail and the number that decided."""
    columns = (Column("result", "text", ALWAYS), Column("rule", "text", ALWAYS), Column("measured", "text", ALWAYS))
    rows = [
        [TextCell("pass", tone="good") if rule.passed else TextCell("FAIL", tone="bad"), TextCell(rule.rule),
         TextCell(rule.found)]
        for rule in result.rules
    ]  # fmt: skip
    failed, count = sum(not rule.passed for rule in result.rules), len(result.rules)
    verdict = Line(f"{failed} of {count} rules failed", "bad") if failed else Line(f"all {count} rules passed", "good")
    notes = [Line(note) for note in result.notes]
    return [Table(f"{result.run} against {result.policy}", columns, rows_of(rows)), *notes, verdict]


def letters_for(count: int) -> list[str]:
    """A, B, ..., Z, 27, 28, ..."""
    return [ascii_uppercase[n] if n < 26 else str(n + 1) for n in range(count)]


def overview_table(comparison: RunComparison, letters: Letters) -> Table:
    """Every score that a benchmark is known by, of every run against the baseline."""
    columns = (
        Column("run", "text", ALWAYS), Column("benchmark", "text"), Column("score", "text", ALWAYS),
        Column("ideal", priority=LAST), Column("baseline", priority=EXTRA), Column("value"), Column("difference"),
        Column("p", priority=EXTRA), Column("verdict", "text", ALWAYS),
    )  # fmt: skip
    lines = comparison.overview
    rows = []
    for place, line in enumerate(lines):
        following = lines[place + 1] if place + 1 < len(lines) else None
        ends = following is None or (following.run, following.benchmark) != (line.run, line.benchmark)
        rows.append(Row(_overview_cells(line, letters[line.run]), ends_section=ends))
    baseline = comparison.runs[0]
    return Table(f"Every run against the baseline, {letters[baseline.name]}", columns, tuple(rows))


def bias_type_tests(comparison: RunComparison, letters: Letters) -> list[Table]:
    """The first score of every benchmark with more than one bias type, and the states of judged answers."""
    baseline = letters[comparison.runs[0].name]
    return [
        table
        for compared in comparison.comparisons
        for benchmark, found in compared.benchmarks.items()
        for table in [
            *_by_bias_type(benchmark, found, baseline, letters[compared.run]),
            *([arms_table(benchmark, found.judged, baseline, letters[compared.run])] if found.judged else []),
        ]
    ]


def _overview_cells(line: OverviewLine, letter: str) -> tuple[Cell, ...]:
    digits = digits_of((line.a, line.b))
    if line.difference:
        difference = score_cell(line.difference, digits, signed=True)
    else:
        difference = _percent(line.change_percent)
    ideal = NumberCell(line.ideal, text="" if line.ideal is None else f"{line.ideal:g}")
    return (
        TextCell(letter), name_cell(line.benchmark), name_cell(line.score, limit=60), ideal,
        score_cell(line.a, digits), score_cell(line.b, digits), difference, _p(line.p),
        _verdict(line.verdict, _past_50(bool(line.over_debiased), bool(line.base_over_debiased)), bool(line.polarised)),
    )  # fmt: skip


def verdict_lines(comparison: RunComparison, letters: Letters) -> list[Line]:
    """The verdict of every run that has one, against its own base model."""
    return [
        Line(f"{letters[run.name]}  {run.verdict.headline}: {run.verdict.reason}.", VERDICT_TONES[run.verdict.value])
        for run in comparison.runs if run.verdict
    ]  # fmt: skip


def _legend(comparison: RunComparison, letters: Letters) -> Iterable[Line]:
    for run in comparison.runs:
        seed = "" if run.seed is None else f", seed {run.seed}"
        stage = f"{run.stage}, " if run.stage else ""
        yield Line(f"{letters[run.name]}  {run.name}  ({stage}model {run.model}{seed})")


def _by_bias_type(benchmark: str, found: ComparedBenchmark, baseline: str, letter: str) -> list[Table]:
    """The first score of a benchmark; nothing where it has only one bias type."""
    score, tested = next(iter(found.scores.items()), ("", None))
    if tested is None or len(tested.bias_types) < 2:
        return []
    rows = {**tested.bias_types, "overall": tested.overall}
    digits = digits_of(one for row in rows.values() for one in (row.a, row.b))
    columns = (
        Column("bias type", "text", ALWAYS), Column("items", priority=LAST), Column("clusters", priority=LAST),
        Column(baseline, priority=EXTRA), Column(letter), Column("difference", priority=ALWAYS), Column("p"),
        Column("Holm-adjusted p", priority=EXTRA), Column("smallest detectable", priority=LAST),
        Column("verdict", "text", ALWAYS),
    )  # fmt: skip
    cells = {name: _tested_cells(name_cell(name), row, digits) for name, row in tested.bias_types.items()}
    total = Row(_tested_cells(TextCell("overall"), tested.overall, digits), tone="strong")
    unpaired = f"{tested.unpaired} items have a value of {score} in one of the two runs only and are left out."
    few = [name for name, row in rows.items() if row.few_clusters]
    warnings = (*([unpaired] if tested.unpaired else []), *few_clusters_warning(f"{score} of {benchmark}", few))
    title = f"{benchmark}: {score} by bias type, {letter} against {baseline} ({tested.overall.test})"
    return [Table(title, columns, rows_of(cells.values()), total, warnings)]


def _tested_cells(name: Cell, row: TestedRow, digits: int) -> tuple[Cell, ...]:
    return (
        name, count_cell(row.n), count_cell(row.clusters), score_cell(row.a, digits), score_cell(row.b, digits),
        score_cell(row.difference, digits, signed=True), _p(row.p), _p(row.p_holm),
        NumberCell(row.smallest_difference, digits),
        _verdict(row.verdict, _past_50(row.over_debiased, row.a.high < 50), row.polarised),
    )  # fmt: skip


def _spread_between_seeds(group: SeedGroup, letters: Letters) -> Table:
    runs = ", ".join(f"{letters[run]} (seed {seed})" for run, seed in zip(group.runs, group.seeds, strict=True))
    columns = (
        Column("benchmark", "text"), Column("score", "text", ALWAYS), Column("bias type", "text", ALWAYS),
        Column("mean", priority=ALWAYS), Column("sd between seeds", priority=ALWAYS), Column("smallest"),
        Column("largest"), Column("interval of one run", priority=EXTRA),
    )  # fmt: skip
    rows = []
    for benchmark, parts in group.benchmarks.items():
        with_interval = (score for score, spread in parts.overall.items() if spread.low is not None)
        first = next(with_interval, next(iter(parts.overall), ""))
        found = [("overall", score, spread) for score, spread in parts.overall.items()]
        found += [(name, first, spread[first]) for name, spread in parts.bias_types.items() if first in spread]
        rows += [[name_cell(benchmark), name_cell(score, limit=60), name_cell(name), *_spread_cells(spread)]
                 for name, score, spread in found]  # fmt: skip
    return Table(f"Spread between seeds: {runs}", columns, rows_of(rows))


def _spread_cells(spread: SeedSpread) -> tuple[Cell, ...]:
    digits = digits_of([spread.mean])
    span = MISSING
    if spread.low is not None and spread.high is not None:
        text = f"{number(spread.low, digits)} to {number(spread.high, digits)}"
        span = NumberCell(spread.high - spread.low, text=text)
    ends = (NumberCell(min(spread.values), digits), NumberCell(max(spread.values), digits))
    return (NumberCell(spread.mean, digits), NumberCell(spread.sd, digits + 1), *ends, span)


def _verdict(verdict: str | None, past_50: str, polarised: bool) -> TextCell:
    text = verdict or "single value, not tested"
    small = ", ".join([*([past_50] if past_50 else []), *(["polarised"] if polarised else [])])
    return TextCell(text, is_name=True, tone=TONES.get(text, ""), small=small)


def _past_50(run: bool, baseline: bool) -> str:
    """Whether the interval of the run lies below 50, and whether that of the baseline did already."""
    return "" if not run else "over-debiased, as the baseline" if baseline else "over-debiased"


def _percent(change: float | None) -> Cell:
    return MISSING if change is None else NumberCell(change, text=f"{number(change, 2, signed=True)} %")


def _p(p: float | None) -> Cell:
    return NumberCell(None) if p is None else NumberCell(p, text=p_value(p))


