"""A survey: every method under one budget, with the scores of StereoSet, of other benchmarks, and what it cost."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from biasunlearn.report.charts.pareto import Point
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
    StripCell,
    Table,
    TextCell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.report.tables.comparison import letters_for
from biasunlearn.report.tables.ranking import nearest_sentence
from biasunlearn.report.tables.stereoset import ss_scale, ss_tone
from biasunlearn.runs.scores import estimate_of
from biasunlearn.runs.series import SeedScore, Survey, SurveyedMethod
from biasunlearn.stats.equivalence import MARGIN

OF_TYPE = "ss "
"""Prefix of the names under which a survey stores SS of single bias types."""

HEADLINE = {
    "ss": "SS", "distance": "mean |SS − 50|", "margin_group": "group part", "ss_one_seen": "SS, one word seen",
    "ss_none_seen": "SS, no word seen", "lms": "LMS", "icat": "ICAT",
}  # fmt: skip
WHERE_GIVEN = ("margin_group", "ss_one_seen", "ss_none_seen")
"""Scores without a column where no run has them."""
LESS_OFTEN_READ = ("ss_one_seen", "ss_none_seen", "icat")
"""Scores whose columns a narrow terminal drops first."""
SEEN_NOTE = (
    "One or no word seen: pairs of which one, or none, of the two attribute words occurs in the training pairs. "
    "The training pairs depend on the seed; the base model has the value of the first one."
)
DIGITS = {"margin_group": 3}
"""Decimals of scores that are no percentages: nats a token."""
COST_NOTE = (
    "Seconds and peak memory of training and of choosing the checkpoint, with the evaluations on the stop split; mean "
    "of the seeds."
)
BASE = "0"
"""The letter of the base model."""

BASE_MODEL = "base model"


@dataclass(frozen=True, slots=True)
class SurveyLine:
    """The base model or a method, by the letter that it has in the chart."""

    letter: str
    name: str
    scores: Mapping[str, SeedScore | None]
    method: SurveyedMethod | None = None

    @property
    def is_base(self) -> bool:
        return self.letter == BASE


def survey_tables(survey: Survey) -> list[Part]:
    """All methods in three tables, then what the numbers do not say by themselves."""
    lines = survey_lines(survey)
    notes = [Line(nearest_methods(survey))]
    remarks = [Line(remark, "caution") for remark in survey_remarks(survey)]
    prompted = [prompting_table(survey)] if survey.prompting else []
    return [headline_table(lines), bias_type_table(lines), cost_table(lines), *prompted, *notes, *remarks]


def nearest_methods(survey: Survey) -> str:
    """Which methods are nearest to 50, as far as tests show it."""
    found = {name: far.value for name, row in survey.methods.items() if (far := row.scores.get("distance"))}
    if not found:
        return "The report file has too few pairs to say how far from 50 a method is."
    return nearest_sentence(found, [(one.nearer, one.farther) for one in survey.nearer])


def survey_lines(survey: Survey) -> list[SurveyLine]:
    """The base model, then every method."""
    letters = letters_for(len(survey.methods))
    methods = zip(letters, survey.methods.items(), strict=True)
    return [SurveyLine(BASE, BASE_MODEL, survey.base),
            *(SurveyLine(letter, name, row.scores, row) for letter, (name, row) in methods)]  # fmt: skip


def point_of(letter: str, scores: Mapping[str, SeedScore | None]) -> Point | None:
    """Its position in the chart; None where the report file has no unrelated sentences."""
    far, lms = estimate_of(scores.get("distance")), estimate_of(scores.get("lms"))
    return Point(letter, far, lms, is_base=letter == BASE) if far and lms else None


def headline_table(lines: Sequence[SurveyLine]) -> Table:
    """SS (also of pairs with unseen words), mean distance from 50, group part, LMS and ICAT of every method."""
    scale = ss_scale((found for line in lines if (found := estimate_of(line.scores.get("ss")))), MARGIN)
    shown = [key for key in HEADLINE if key not in WHERE_GIVEN or any(line.scores.get(key) for line in lines)]
    scores = [
        Column(HEADLINE[key], priority=ALWAYS if key == "distance" else EXTRA if key in LESS_OFTEN_READ else 2)
        for key in shown
    ]
    columns = (Column("method", "text", ALWAYS), Column("SS", "picture", scale=scale), *scores)
    rows = []
    for line in lines:
        ss = estimate_of(line.scores.get("ss"))
        strip = StripCell(None, ss) if line.is_base else StripCell(ss)
        cells = [_ss_cell(line, key) if key == "ss" else score_cell(line.scores.get(key), DIGITS.get(key, 1))
                 for key in shown]  # fmt: skip
        rows.append([_label(line), strip, *cells])
    seeds = max((len(one.seeds) for line in lines for one in line.scores.values() if one), default=0)
    of_seeds = f", mean of {seeds} seeds" if seeds > 1 else ""
    title = f"Every method under one budget{of_seeds} (ideal: SS 50, LMS and ICAT 100)"
    notes = (SEEN_NOTE,) if {"ss_one_seen", "ss_none_seen"} & {*shown} else ()
    return Table(title, columns, rows_of(rows), notes=notes)


def bias_type_table(lines: Sequence[SurveyLine]) -> Table:
    """SS of every method in every bias type."""
    kinds = [name for name in lines[0].scores if name.startswith(OF_TYPE)]
    columns = (Column("method", "text", ALWAYS), *(Column(kind.removeprefix(OF_TYPE), is_name=True) for kind in kinds))
    rows = [[_label(line), *(_ss_cell(line, kind) for kind in kinds)] for line in lines]
    return Table("SS of every method by bias type (ideal 50)", columns, rows_of(rows))


def cost_table(lines: Sequence[SurveyLine]) -> Table:
    """The first score of every other benchmark, and what training cost."""
    others = [name for name in lines[0].scores if name not in HEADLINE and not name.startswith(OF_TYPE)]
    columns = (
        Column("method", "text", ALWAYS), *(Column(name, is_name=True, priority=LAST) for name in others),
        Column("seconds"), Column("MiB", priority=EXTRA),
    )  # fmt: skip
    rows = [[_label(line), *(score_cell(line.scores.get(name)) for name in others), *_cost_cells(line.method)]
            for line in lines]  # fmt: skip
    title = "Other benchmarks and cost of every method" if others else "Cost of every method"
    return Table(title, columns, rows_of(rows), notes=(COST_NOTE,))


def prompting_table(survey: Survey) -> Table:
    """Prompting baselines beside the base model and the trained methods, on judged benchmarks."""
    names = list(dict.fromkeys(name for scores in survey.prompting.values() for name in scores))
    columns = (Column("model", "text", ALWAYS), *(Column(name, is_name=True) for name in names))
    trained = {name: row.scores for name, row in survey.methods.items()}
    prompted = {f"prompt: {name.replace('_', ' ')}": scores for name, scores in survey.prompting.items()}
    every: dict[str, Mapping[str, SeedScore | None]] = {BASE_MODEL: survey.base, **prompted, **trained}
    rows = [
        [TextCell(row, is_name=True, limit=40), *(score_cell(scores.get(name)) for name in names)]
        for row, scores in every.items()
    ]
    note = "A prompting baseline changes what the base model is asked and trains nothing. A dash: not defined."
    return Table("Prompting baselines and methods on judged benchmarks", columns, rows_of(rows), notes=(note,))


def survey_remarks(survey: Survey) -> list[str]:
    """Methods that changed nothing, collapsed or could not run: what the numbers do not say by themselves."""
    return [*_of_methods(survey), *(f"{method} is left out: {reason}" for method, reason in survey.refused.items())]


def _of_methods(survey: Survey) -> Iterator[str]:
    seeds = len(survey.seeds)
    for method, row in survey.methods.items():
        if row.unchanged:
            yield (f"{method} kept the base model with {row.unchanged} of {seeds} seeds: no candidate came nearer to "
                   "50 within the loss of LMS that is allowed.")  # fmt: skip
        if row.collapsed:
            yield (f"{method} collapsed with {row.collapsed} of {seeds} seeds; its last checkpoint before the collapse "
                   "is shown.")  # fmt: skip


def _label(line: SurveyLine) -> TextCell:
    return TextCell(line.name, is_name=True, key=line.letter, limit=40)


def _ss_cell(line: SurveyLine, name: str) -> Cell:
    """SS of a method, marked where it hides, with some seed, what lies apart behind it."""
    score = line.scores.get(name)
    found, seeds = estimate_of(score), line.method.polarised.get(name, 0) if line.method else 0
    of = len(score.seeds) if score else 0
    mark = "" if not seeds else "polarised" if of < 2 else f"polarised with {seeds} of {of} seeds"
    return score_cell(score, tone="caution" if mark else ss_tone(found) if found else "", mark=mark)


def _cost_cells(method: SurveyedMethod | None) -> Sequence[Cell]:
    cost = method.cost if method else None
    return [NumberCell(cost.seconds, 0), NumberCell(cost.memory / 2**20, 0)] if cost else [MISSING, MISSING]


