"""Judged answers: the states of the answers, the bounds of the scores, and how far each judge can be trusted."""

from collections.abc import Mapping

from biasunlearn.report.table import (
    ALWAYS,
    EXTRA,
    MISSING,
    Cell,
    Column,
    NumberCell,
    Table,
    TextCell,
    count_cell,
    digits_of,
    name_cell,
    rows_of,
    score_cell,
)
from biasunlearn.runs.benchmark_results import BenchmarkResult, JudgedResult
from biasunlearn.runs.comparison import JudgedArms
from biasunlearn.runs.judged_results import Estimate, JudgeFacts, JudgingFacts
from biasunlearn.runs.scores import Interval
from biasunlearn.stats.judging import FAR_APART, unscored_share


def judged_tables(name: str, entry: JudgedResult, before: BenchmarkResult | None) -> list[Table]:
    """States of the answers, bounds where some are unscored, and the judges."""
    first = before if isinstance(before, JudgedResult) else None
    found = [_states(name, entry, first)]
    if entry.bounds:
        found.append(_bounds(name, entry))
    if entry.corrected:
        found.append(_corrected(name, entry, first))
    if entry.judging is not None:
        found.append(_judges(name, entry.judging))
    if entry.without_judge:
        found.append(_without_judge(name, entry))
    return found


def arms_table(benchmark: str, arms: JudgedArms, baseline: str, letter: str) -> Table:
    """States of the answers of two runs, and why the runs cannot be compared where they cannot.

    Args:
        baseline, letter: the letters of the two runs.
    """
    columns = (Column("state", "text", ALWAYS), Column(baseline), Column(letter))
    states = dict.fromkeys([*arms.a, *arms.b])
    rows: list[list[Cell]] = [
        [name_cell(one), count_cell(arms.a.get(one, 0)), count_cell(arms.b.get(one, 0))] for one in states
    ]
    title = f"{benchmark}: states of the answers, {letter} against {baseline}"
    return Table(title, columns, rows_of(rows), warnings=tuple(f"Not comparable: {why}." for why in arms.apart))


def estimate_tables(found: Estimate) -> list[Table]:
    """What a run of judged benchmarks needs at most."""
    columns = (
        Column("benchmark", "text", ALWAYS), Column("model", "text", ALWAYS), Column("calls"), Column("tokens read"),
        Column("tokens written"),
    )  # fmt: skip
    rows: list[list[Cell]] = [
        [name_cell(row.benchmark), name_cell(row.model), *map(count_cell, (row.calls, row.tokens_in, row.tokens_out))]
        for row in found.rows
    ]
    notes = (
        f"{found.paid_calls} calls are to endpoints. Tokens are estimates, at four characters each, and those written "
        "the most that is allowed. A judge's reply that cannot be read is asked for up to two more times.",
    )
    return [Table("Estimate; nothing was measured", columns, rows_of(rows), notes=notes)]


def _states(name: str, entry: JudgedResult, before: JudgedResult | None) -> Table:
    now = entry.states.get("overall", {})
    was = before.states.get("overall", {}) if before else None
    columns = [Column("state", "text", ALWAYS), *([Column("before")] if was is not None else []), Column("answers")]
    rows: list[list[Cell]] = []
    for state in dict.fromkeys([*now, *(was or {})]):
        counts = [*([count_cell(was.get(state, 0))] if was is not None else []), count_cell(now.get(state, 0))]
        rows.append([name_cell(state), *counts])
    return Table(f"{name}: states of the answers", tuple(columns), rows_of(rows), warnings=_far_apart(now, was))


def _far_apart(now: Mapping[str, int], was: Mapping[str, int] | None) -> tuple[str, ...]:
    """About arms that differ in what could be scored, so that a difference of scores may come from that."""
    if not was:
        return ()
    before, after = unscored_share(was), unscored_share(now)
    if abs(after - before) <= FAR_APART:
        return ()
    return (
        f"Not comparable: {before:.1f} % of the answers were unscored before and {after:.1f} % after; they may "
        f"differ by {FAR_APART:g} points.",
    )


def _bounds(name: str, entry: JudgedResult) -> Table:
    columns = (Column("score", "text", ALWAYS), Column("scored answers"), Column("lowest"), Column("highest"))
    rows = []
    for score, one in entry.bounds.get("overall", {}).items():
        three = (entry.overall.scores.get(score), one.lowest, one.highest)
        digits = digits_of(three)  # of this score: shares in percent stand beside scores from -1 to 1
        rows.append([name_cell(score), *(score_cell(found, digits) for found in three)])
    note = "Lowest and highest: all unscored answers get the verdict that makes the score so."
    return Table(f"{name}: what the unscored answers could change", columns, rows_of(rows), notes=(note,))


def _corrected(name: str, entry: JudgedResult, before: JudgedResult | None) -> Table:
    """Shares of the judge beside the corrected ones, with the errors of the judge, of each model."""
    columns = (
        Column("share", "text", ALWAYS), *([Column("model", "text", ALWAYS)] if before else []), Column("judge"),
        Column("corrected", priority=ALWAYS), Column("sensitivity"), Column("specificity"), Column("labels", "text"),
    )  # fmt: skip
    arms = [("before", before.corrected), ("after", entry.corrected)] if before else [("", entry.corrected)]
    rows: list[list[Cell]] = []
    for arm, shares in arms:
        for score, one in shares.items():
            found = (one.judged, one.share, one.sensitivity, one.specificity)
            rows.append([
                name_cell(score), *([TextCell(arm)] if arm else []), *map(score_cell, found),
                TextCell(f"{one.labels} of {one.drawn} drawn"),
            ])  # fmt: skip
    for score, one in entry.corrected.items():
        if before and one.change is not None:
            rows.append([
                name_cell(score), TextCell("after - before"), score_cell(one.judged_change), score_cell(one.change),
                MISSING, MISSING, TextCell(_direction(one.change)),
            ])  # fmt: skip
    note = (
        "In percent, and after - before in points. The intervals of the corrected shares and of their difference "
        "include the uncertainty of the judge's errors about each model."
    )
    return Table(f"{name}: shares corrected by labels of people", columns, rows_of(rows), notes=(note,))


def _direction(change: Interval) -> str:
    """Whether the interval of a difference excludes 0."""
    return "higher" if change.low > 0 else "lower" if change.high < 0 else "may be 0"


def _judges(name: str, judging: JudgingFacts) -> Table:
    columns = (
        Column("judge", "text", ALWAYS), Column("kappa", priority=ALWAYS), Column("agreement"),
        Column("gold set read"), Column("repeat kappa", priority=EXTRA), Column("flipped", priority=EXTRA),
    )  # fmt: skip
    kappa = "not defined" if judging.kappa is None else f"{judging.kappa:.2f}"
    together = " of the judges together" if len(judging.judges) > 1 else ""
    result = "No verdict became a score" if judging.asked else "The judges were not asked about the answers"
    warnings = () if judging.usable else (
        f"Not usable: kappa{together} is {kappa}, and at least {judging.minimum_kappa:g} is needed. {result}; "
        "use another judge, or the rule where it can read the answers.",
    )  # fmt: skip
    gold = max((one.gold for one in judging.judges), default=0)
    notes = [
        f"Kappa: agreement beyond chance with the gold set, {gold} answers whose labels are known, on those that the "
        f"judge could read; {kappa}{together}, and at least {judging.minimum_kappa:g} is needed. Repeat kappa: "
        "agreement with itself when asked again. Flipped: share of the answers asked again whose verdict changes "
        "with the order of the labels.",
    ]
    notes += [f"Kappa between {pair}: {_plain(value)}." for pair, value in judging.between_judges.items()]
    if judging.length_correlation is not None:
        notes.append(
            "Rank correlation of the verdict with the number of words of the answer: "
            f"{judging.length_correlation:.2f} (0: the judge does not follow the length)."
        )
    return Table(
        f"{name}: judges", columns, rows_of(_judge_row(one) for one in judging.judges), warnings=warnings,
        notes=tuple(notes),
    )  # fmt: skip


def _without_judge(name: str, entry: JudgedResult) -> Table:
    """Whether one judge decides the result."""
    scores = [score for score in entry.shown_scores if score != "scored"]
    columns = (Column("panel without", "text", ALWAYS), *(Column(score, is_name=True) for score in scores))
    rows: list[list[Cell]] = [
        [name_cell(judge), *(_number(found.get(score)) for score in scores)]
        for judge, found in entry.without_judge.items()
    ]
    return Table(f"{name}: scores if one judge is left out", columns, rows_of(rows))


def _judge_row(judge: JudgeFacts) -> list[Cell]:
    return [
        name_cell(judge.judge), _number(judge.gold_kappa), _number(judge.gold_agreement),
        TextCell(f"{judge.gold_scored} of {judge.gold}"), _number(judge.repeat_kappa), _number(judge.flipped),
    ]  # fmt: skip


def _number(value: float | None) -> Cell:
    return MISSING if value is None else NumberCell(value, digits=2)


def _plain(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.2f}"
