"""A sweep: the Pareto front of its trials, all trials, the importance of the settings, and the chosen point."""

from collections.abc import Sequence

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
    name_cell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.report.tables.stereoset import ss_tone
from biasunlearn.report.warnings import over_debiased_seeds
from biasunlearn.runs.series import ChosenRun, Sweep, Trial

AIMS = {"bias": "mean |SS − 50|", "lms_lost": "LMS lost"}


def sweep_tables(sweep: Sweep) -> list[Part]:
    """The front with its knee, the importance of the settings, and the chosen point on the report split."""
    counts = f"{sweep.complete} trials complete, {sweep.pruned} pruned"
    if not sweep.front:
        return [Line(f"No trial has been completed yet ({counts}).", "caution")]
    parts: list[Part] = [front_table(sweep)]
    if sweep.knee:
        parts.append(Line(f"Knee: {sweep.knee.reason} ({counts})."))
    if any(sweep.importance.values()):
        parts.append(_importance_table(sweep))
    return [*parts, *([chosen_table(sweep.chosen)] if sweep.chosen else [])]


def recipe_trial(sweep: Sweep) -> int | None:
    """The trial that has the settings of the recipe itself."""
    recipe = sweep.request.recipe
    same = (trial for trial in sweep.trials if all(recipe.get(key) == value for key, value in trial.params.items()))
    return next((trial.trial for trial in same), None)


def front_table(sweep: Sweep) -> Table:
    """The trials on the front with their settings; the knee and the recipe are marked."""
    named: dict[int, list[str]] = {trial: [] for trial in (point.trial for point in sweep.front)}
    for name, trial in (("knee", sweep.knee.trial if sweep.knee else None), ("recipe", recipe_trial(sweep))):
        if trial is not None and trial in named:
            named[trial].append(name)
    columns = (Column("trial", priority=ALWAYS), *_columns(sweep))
    rows = [
        Row((NumberCell(point.trial, 0, small=", ".join(named[point.trial])), *_values(point)),
            "strong" if "knee" in named[point.trial] else "")
        for point in sweep.front
    ]  # fmt: skip
    return Table("Pareto front on the stop split, with the settings of each trial", columns, tuple(rows))


def trials_table(sweep: Sweep) -> Table:
    """All trials, those that were pruned among them."""
    ended = [(trial, "complete") for trial in sweep.trials]
    ended += [(trial, f"pruned at evaluation {trial.look}") for trial in sweep.given_up]
    rows = [[NumberCell(trial.trial, 0), TextCell(how), *_values(trial)] for trial, how in ended]
    return Table("All trials", (Column("trial"), Column("status", "text"), *_columns(sweep)), rows_of(rows))


def chosen_table(runs: Sequence[ChosenRun]) -> Table:
    """The chosen point on the report split, seed by seed."""
    columns = (
        Column("seed", priority=ALWAYS), Column("SS", priority=ALWAYS), Column("mean |SS − 50|"), Column("LMS"),
        Column("run", "text", EXTRA),
    )  # fmt: skip
    rows = [
        [NumberCell(run.seed, 0), score_cell(run.ss, tone=ss_tone(run.ss)), score_cell(run.ss_distance),
         score_cell(run.lms), name_cell(run.run, limit=120)]
        for run in runs
    ]  # fmt: skip
    warnings = over_debiased_seeds(run.seed for run in runs if run.over_debiased)
    return Table("The chosen point on the report split, seed by seed", columns, rows_of(rows), warnings=warnings)


def _importance_table(sweep: Sweep) -> Table:
    keys = list(sweep.front[0].params)
    shares = {aim: sweep.importance.get(aim) or {} for aim in AIMS}
    keys.sort(key=lambda key: -shares["bias"].get(key, 0.0))
    columns = (Column("setting", "text"), *(Column(f"for {label}") for label in AIMS.values()))
    rows = [[name_cell(key), *(_percent(shares[aim].get(key, 0.0)) for aim in AIMS)] for key in keys]
    return Table("Importance of the settings (PED-ANOVA, shares that add up to 100 %)", columns, rows_of(rows))


def _percent(share: float) -> Cell:
    return NumberCell(100 * share, text=f"{100 * share:.1f} %")


def _columns(sweep: Sweep) -> list[Column]:
    aims = [Column(label, priority=ALWAYS) for label in AIMS.values()]
    return [*aims, *(Column(key, is_name=True, priority=LAST) for key in sweep.front[0].params)]


def _values(trial: Trial) -> list[Cell]:
    aims = [NumberCell(trial.bias, 2), NumberCell(trial.lms_lost, 2, signed=True)]
    return [*aims, *(NumberCell(float(value), text=f"{value:.3g}") for value in trial.params.values())]


