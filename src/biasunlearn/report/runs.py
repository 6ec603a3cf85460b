"""Several runs on one page: the Pareto front, bias type by bias type, tests against the base, and each run in full."""

from collections.abc import Sequence
from pathlib import PurePath

from biasunlearn.report.first_screen import verdict_banner
from biasunlearn.report.formatting import short
from biasunlearn.report.html import Markup, join, name_of, tag
from biasunlearn.report.html_table import html_table, html_warnings
from biasunlearn.report.page import Section, folded, page, section, warning
from biasunlearn.report.pareto_figure import PARETO_NOTE, pareto_figure
from biasunlearn.report.ranking import Ranked, ranking_section
from biasunlearn.report.run import RunData, report_page, run_sections
from biasunlearn.report.tables.comparison import bias_type_tests, letters_for, overview_table
from biasunlearn.report.tables.ranking import Nearer, nearest_sentence
from biasunlearn.report.tables.runs import BASE, RunLine, bias_type_tables, runs_table
from biasunlearn.report.warnings import over_debiased, over_debiased_warning
from biasunlearn.runs.comparison import RunComparison

TESTS_NOTE = (
    "Every run against {baseline}, item by item. A verdict of better or worse needs two things: a test that finds a "
    "difference, and an interval of the change of the distance from the ideal that lies on one side of 0. “Too few "
    "items” means that these data could not have detected a difference of ten points."
)


def runs_page(runs: Sequence[RunData], comparison: RunComparison | None = None, refused: str | None = None) -> str:
    """The page of one run, or of several.

    Args:
        comparison: tests of the runs against the base model of the first run, or against the first run.
        refused: why there are no tests.
    """
    if len(runs) == 1:
        return report_page(runs[0])
    lines, letters = _lines(runs), letters_for(len(runs))
    models = list(dict.fromkeys(run.name_of_model for run in runs))
    title = models[0] if len(models) == 1 else f"{len(runs)} runs"
    nearer = _nearer(lines, comparison)
    verdicts = [verdict_banner(run.results.shown_verdict, _named(letter, run))
                for letter, run in zip(letters, runs, strict=True)]  # fmt: skip
    ranked = _ranked(lines, runs)
    head = tag(
        "header", tag("p", f"Social bias, comparison of {len(runs)} runs", class_="eyebrow"),
        tag("h1", name_of(title)), tag("p", _summary(ranked, nearer), class_="lede"),
        tag("div", verdicts, class_="verdicts"),
    )  # fmt: skip
    failed = [run.letter for run in ranked if run.without_rank]
    each = [_article(letter, run) for letter, run in zip(letters, runs, strict=True)]
    tests = _tests(comparison, lines, refused)
    ranks = ranking_section(ranked, nearer) if nearer is not None else None
    return page(title, head, ranks, _pareto_section(lines, nearer, failed), _bias_type_section(lines), tests, each)


def _article(letter: str, run: RunData) -> Markup:
    """One run in full, folded away."""
    parts = [one.with_prefix(letter.lower()) for one in run_sections(run, single=False)]
    return tag("article", tag("h2", f"{letter} ", _label(run)), folded("Show this run in full", parts), class_="run")


def _ranked(lines: Sequence[RunLine], runs: Sequence[RunData]) -> list[Ranked]:
    """What can be ranked: every line with a distance from 50. A run that failed is listed without a rank."""
    failed = {letter: found.headline for letter, run in zip(letters_for(len(runs)), runs, strict=True)
              if (found := run.results.shown_verdict) is not None and found.value == "failed"}  # fmt: skip
    return [
        Ranked(line.letter, line.name, line.small, point.distance, failed.get(line.letter, ""))
        for line in lines if (point := line.point)
    ]  # fmt: skip


def _lines(runs: Sequence[RunData]) -> list[RunLine]:
    """The base model of the first run, where it has one, then every run."""
    base = runs[0].results.before
    first = [RunLine(BASE, "base model", "", base)] if base is not None and len(base) else []
    letters = zip(letters_for(len(runs)), runs, strict=True)
    return [*first, *(_line(letter, run) for letter, run in letters)]


def _line(letter: str, run: RunData) -> RunLine:
    return RunLine(letter, _folder(run), _more(run), run.after, run.stereoset_before)


def _folder(run: RunData) -> str:
    return PurePath(run.name).name or run.name


def _more(run: RunData) -> str:
    """Method and seed, where they say more than the folder."""
    config, method = run.results.config, run.results.method
    seed = config.seed if config else None
    named = [short(method, 40)] if method and method != _folder(run) else []
    return ", ".join([*named, *([] if seed is None else [f"seed {seed}"])])


def _label(run: RunData) -> Markup:
    more = _more(run)
    return join([name_of(_folder(run), 48), " ", tag("small", more) if more else None])


def _nearer(lines: Sequence[RunLine], comparison: RunComparison | None) -> list[Nearer] | None:
    """Every two letters of which the first is nearer to 50 by a test; None where the runs were not tested."""
    if comparison is None:
        return None
    letters = dict(zip((run.name for run in comparison.runs), [line.letter for line in lines], strict=False))
    return [(letters[one.nearer], letters[one.farther]) for one in comparison.nearer]


def _summary(ranked: Sequence[Ranked], nearer: Sequence[Nearer] | None) -> str:
    """Which runs are nearest to 50, of those that did not fail."""
    if not ranked:
        return "No run was measured on StereoSet with unrelated sentences; the other results are below."
    if nearer is None:
        return "The runs could not be tested against each other, so that nothing is said about their order."
    distances = {run.letter: run.distance.value for run in ranked if not run.without_rank}
    return nearest_sentence(distances, nearer) if distances else "All runs failed."


def _named(letter: str, run: RunData) -> str:
    """A run beside its verdict. By hand: "B seed-0 (dpo, seed 0)"."""
    more = _more(run)
    return f"{letter} {short(_folder(run), 40)}{f' ({more})' if more else ''}"


def _pareto_section(
    lines: Sequence[RunLine], nearer: Sequence[Nearer] | None, failed: Sequence[str]
) -> Section | None:
    table = runs_table(lines)
    if not table.rows:
        return None
    points = [point for line in lines if (point := line.point)]
    names = {line.letter: join([name_of(line.name, 48), " ", tag("small", line.small) if line.small else None])
             for line in lines}  # fmt: skip
    note = PARETO_NOTE.format(points="runs") + " Thin lines are 95 % intervals. This chart cannot separate runs whose \
intervals overlap; see the tests below."
    figure = pareto_figure(points, names, nearer or (), failed)
    return section("Remaining bias and ability", figure, html_table(table), note=note)


def _bias_type_section(lines: Sequence[RunLine]) -> Section | None:
    tables = bias_type_tables(lines)
    if not tables:
        return None
    over = []
    for line in lines:
        found = over_debiased(line.measured.stereoset) if line.measured.stereoset and not line.is_base else []
        was = over_debiased(line.before) if line.before else None
        over += [warning(f"Run {line.letter}. {sentence}") for sentence in over_debiased_warning(found, was)]
    shown = [html_table(table, kind="several") for table in tables]
    note = "Hollow circles: the base model. All bias types share one axis."
    return section("Stereotype score by bias type", over, shown, note=note)


def _tests(comparison: RunComparison | None, lines: Sequence[RunLine], refused: str | None) -> Section | None:
    """Every benchmark's own scores against the first line, with the verdict in words."""
    if comparison is None:
        return section("Tests", warning(short(refused, 500))) if refused else None
    names = [run.name for run in comparison.runs]
    letters = dict(zip(names, [line.letter for line in lines], strict=False))
    baseline = f"{letters[names[0]]} ({short(names[0], 80)})"
    by_type = [[html_warnings(table), tag("h3", table.title), html_table(table, kind="close")]
               for table in bias_type_tests(comparison, letters)]  # fmt: skip
    folds = [folded("Tests by bias type", by_type)] if by_type else []
    table = html_table(overview_table(comparison, letters), kind="close")
    return section("Tests against the baseline", table, folds, note=TESTS_NOTE.format(baseline=baseline))
