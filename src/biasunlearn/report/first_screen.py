"""The first screen of a run's page: the verdict with its reason, the figures that carry it, and what it does not show.

A verdict differs from the others in its word, its sign and its frame as well as in its color.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from biasunlearn.report.explained import explained
from biasunlearn.report.formatting import ARROW, interval, listed, number, short, with_minus
from biasunlearn.report.html import Markup, tag
from biasunlearn.report.not_shown import not_shown
from biasunlearn.report.tables.benchmarks import change_in_percent
from biasunlearn.report.tables.run import VERDICT_TONES
from biasunlearn.runs.benchmark_results import PerplexityResult, StereoSetResult
from biasunlearn.runs.results import Results
from biasunlearn.runs.scores import CountedScore, Interval, Score, StereoSetScores, hides_polarisation
from biasunlearn.runs.verdict_results import Verdict

SIGNS = {
    "fair": "M7 13.5l4 4 8-9",
    "improved": "M13 20V7m-6 6l6-6 6 6",
    "no evidence": "M9.5 10a3.5 3.5 0 1 1 5 3.2q-1.5.8-1.5 2.6m0 3.4v.4",
    "worse": "M13 6v13m-6-6l6 6 6-6",
    "failed": "M7.5 7.5l11 11m0-11l-11 11",
}
"""Verdict -> the path of its sign: check mark, arrow up, question mark, arrow down, cross."""

POLARISED_SIGN = "M13 6.5v8.5m0 4.2v.3"
"""The path of the sign of a verdict whose mean hides opposites: an exclamation mark."""

ON_AVERAGE = "less bias on average than before"
"""What "improved" means where the mean hides opposites."""

PLAIN = {
    "fair": "no preference beyond the margin could be found",
    "improved": "less bias than before, though not shown to be gone",
    "no evidence": "inconclusive: the data do not show an effect",
    "worse": "the model is worse than before",
    "failed": "there is no debiased model to judge",
}
"""Verdict -> what it means, beside its word."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of the first screen."""

    term: str
    """Key of explained.TERMS."""
    unit: str
    now: float | None
    """None: not measured, and `below` says what to do."""
    was: float | None = None
    below: tuple[Markup | str, ...] = ()
    state: str = ""
    """good, caution or bad: a sign and a frame."""
    digits: int = 1


def verdict_banner(found: Verdict | None, name: str = "", *, brief: bool = False) -> Markup | None:
    """The verdict with its sign and its reason; nothing for a run without one.

    Args:
        name: of the run, on a page of several.
        brief: leaves out the reason, which is in terms of statistics, unless the run failed.
    """
    if found is None:
        return None
    hidden = found.value not in ("failed", "worse") and bool(found.polarised)
    word = tag("strong", found.headline)
    of = tag("span", short(name, 80), ": ") if name else None
    meaning = tag("span", ON_AVERAGE if hidden and found.value == "improved" else PLAIN[found.value], class_="meaning")
    shown = with_minus(found.reason[:1].upper() + found.reason[1:])
    reason = None if brief and found.value != "failed" else tag("span", f"{short(shown, 600)}.", class_="reason")
    where = f" in {listed(found.polarised)}: a mean near 50 hides groups above and below it."
    mixed = tag("span", tag("strong", "⚠ POLARISED"), where, class_="mixed") if hidden else None
    text = tag("span", of, word, " – ", meaning, ". ", mixed, reason)
    path, kind = (POLARISED_SIGN, "polarised") if hidden else (SIGNS[found.value], VERDICT_TONES[found.value])
    return tag("p", sign(path), text, class_=f"verdict {kind}")


def sign(path: str) -> Markup:
    """The sign of a verdict, hidden from screen readers since its word stands beside it."""
    return tag("svg", tag("circle", cx=13, cy=13, r=12), tag("path", d=path), viewbox="0 0 26 26",
               class_="sign", aria_hidden="true")  # fmt: skip


def key_figures(results: Results) -> Markup | None:
    """SS with its equivalence, group part, unseen wording, LMS and perplexity, as far as they apply to the run."""
    found = list(_figures(results))
    if not found:
        return None
    failed = (verdict := results.shown_verdict) is not None and verdict.value == "failed"
    return tag("dl", [_tile(one, failed) for one in found], class_="tiles void" if failed else "tiles")


def open_questions(results: Results) -> Markup:
    """What the run does not show."""
    lines = [tag("li", line) for line in not_shown(results)]
    return tag("div", tag("h2", "What this does not show"), tag("ul", lines), class_="limits")


def _figures(results: Results) -> Iterator[Figure]:
    after, before = results.benchmarks, results.before
    if after.stereoset:
        first = before.stereoset.overall if before and before.stereoset else None
        yield from _stereoset_figures(results, after.stereoset, first)
    if after.perplexity:
        yield _perplexity(after.perplexity, before.perplexity if before else None)
    elif before is not None:
        yield _missing("perplexity", "add --benchmark perplexity=TEXT")


def _stereoset_figures(results: Results, entry: StereoSetResult, was: StereoSetScores | None) -> Iterator[Figure]:
    now = entry.overall
    state = _ss_state(entry)
    yield _figure("ss", "% (ideal 50)", now.ss, was.ss if was else None, _equivalence(entry), state)
    if now.ss_group is not None:
        below, state = _group_lines(results, entry)
        yield _figure("group", "% (ideal 50)", now.ss_group, was.ss_group if was else None, below, state)
    elif was is not None:
        yield _missing("group", "measure with --replacements 4")
    if was is not None:
        yield _unseen(now, was)
    if now.lms is not None:
        state = "bad" if now.low_lms else ""
        yield _figure("lms", "% (ideal 100)", now.lms, was.lms if was else None, [], state)


def _equivalence(entry: StereoSetResult) -> list[Markup | str]:
    """Whether SS is shown to lie near 50, overall and by bias type, and whether a mean hides opposites."""
    whole = entry.overall.equivalence
    if whole is None:
        return []
    tested = [row.equivalence.within for row in entry.bias_types.values() if row.equivalence]
    label = f"within ±{whole.margin:g} of 50"
    answer = f": {'✓ shown' if whole.within else '? not shown'}"
    made: list[Markup | str] = [tag("span", explained("equivalence", label, place="ss"), answer)]
    made += [f"bias types: {sum(tested)} of {len(tested)}"] if tested else []
    if hidden := _hidden(entry):
        made.append(tag("span", "⚠ ", explained("polarised", place="ss"), f": {listed(hidden, 20)}"))
    return made


def _hidden(entry: StereoSetResult) -> list[str]:
    rows = {**entry.bias_types, "overall": entry.overall}
    return [name for name, row in rows.items() if hides_polarisation(row)]


def _ss_state(entry: StereoSetResult) -> str:
    """Good only if every bias type, too, is shown to lie near 50 and none hides opposites."""
    tested = [row.equivalence for row in (entry.overall, *entry.bias_types.values())]
    if not all(tested):
        return ""
    return "good" if all(one.within for one in tested if one) and not _hidden(entry) else "caution"


def _group_lines(results: Results, entry: StereoSetResult) -> tuple[list[Markup | str], str]:
    """How much of the group part remains, and whether its mean hides bias types on both sides of 50."""
    change = results.association.overall if results.association else None
    left = change.remaining if change else None
    kept = f"{_percent(left)} of its size" if left else ""
    made: list[Markup | str] = [f"reversed: {kept}" if left.value < 0 else f"{kept} remains"] if left else []
    found = [row.ss_group for row in entry.bias_types.values() if row.ss_group]
    if any(one.high < 50 for one in found) and any(one.low > 50 for one in found):
        low, high = min(one.value for one in found), max(one.value for one in found)
        return [*made, f"⚠ bias types from {number(low)} to {number(high)}"], "caution"
    return made, ""


def _unseen(now: StereoSetScores, was: StereoSetScores) -> Figure:
    found = now.unseen_wording.neither if now.unseen_wording else None
    if found is None or found.ss is None:
        return _missing("unseen", "no pair has it" if now.unseen_wording else "not stored by this run")
    first: CountedScore | None = was.unseen_wording.neither if was.unseen_wording else None
    return _figure("unseen", "% (ideal 50)", found.ss, first.ss if first else None, [f"{found.n:,} pairs"])


def _perplexity(now: PerplexityResult, was: PerplexityResult | None) -> Figure:
    below = f"{number(change_in_percent(now, was), 2, signed=True)} %" if was else "per token"
    what = "pseudo-perplexity" if now.pseudo else "perplexity"
    return Figure(what, "lower is better", now.per_token, was.per_token if was else None, (below,), digits=2)


def _figure(
    term: str, unit: str, now: Interval, was: Score, more: list[Markup | str], state: str = ""
) -> Figure:
    label = explained("interval", place=term) if term == "ss" else "95 % interval"
    span = tag("span", label, " ", tag("span", interval(now.low, now.high), class_="unbroken"))
    return Figure(term, unit, now.value, was.value if isinstance(was, Interval) else None, (span, *more), state)


def _missing(term: str, remedy: str) -> Figure:
    return Figure(term, "", None, below=(remedy,))


def _tile(figure: Figure, failed: bool) -> Markup:
    name = [explained(figure.term, place="tile"), tag("small", f" {figure.unit}") if figure.unit else None]
    below = [tag("small", line) for line in figure.below]
    if figure.now is None:
        value = tag("span", "not measured", class_="absent")
    else:
        was = None if figure.was is None else [
            tag("span", "before ", class_="unseen"), tag("span", number(figure.was, figure.digits), class_="was"),
            tag("span", f" {ARROW} ", class_="was", aria_hidden="true"), tag("span", " after ", class_="unseen"),
        ]  # fmt: skip
        value = tag("span", was, tag("span", number(figure.now, figure.digits), class_="now"), class_="big")
    return tag("div", tag("dt", name), tag("dd", value, below), class_=None if failed else figure.state or None)


def _percent(found: Interval) -> str:
    low, high = (number(100 * end, 0) for end in (found.low, found.high))
    return f"{number(100 * found.value, 0)} % ({low} to {high})"
