"""One page about a run for readers who do no statistics: what was tested, what was found, what is open, what to do.

Shares are written as counts out of 100, which more readers understand than percentages and probabilities (Gigerenzer
and Hoffrage 1995). It fits on one sheet in print.
"""

from biasunlearn.report.checklist import checklist
from biasunlearn.report.first_screen import verdict_banner
from biasunlearn.report.formatting import number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.not_shown import not_shown
from biasunlearn.report.page import page
from biasunlearn.report.run import RunData, partial_paragraph
from biasunlearn.report.tables.benchmarks import change_in_percent
from biasunlearn.runs.benchmark_results import StereoSetResult
from biasunlearn.runs.comparison import GateResult
from biasunlearn.runs.scores import StereoSetScores, hides_polarisation

NEXT = {
    "fair": "The model can be tried in its intended use. Test it there as well: these pairs of sentences are not your "
            "users' texts.",
    "improved": "Do not describe the model as unbiased. If it is used, say what remains, and test it in its intended "
                "use.",
    "no evidence": "Do not rely on this run: it neither shows an improvement nor rules one out. More pairs, or more "
                   "training, could.",
    "worse": "Do not use the debiased model. The base model is preferable.",
    "failed": "There is no debiased model to use. The run has to be repeated with other settings.",
}  # fmt: skip
"""Verdict -> what follows from it."""

OPEN_QUESTIONS = 5
SIDE, STEP = 8, 10
"""A square and its distance from the next one."""


def summary_page(run: RunData, checked: GateResult | None = None) -> str:
    """The page of one run.

    Args:
        checked: the run against a policy, as `gate` returns it.
    """
    found = run.results.shown_verdict
    head = tag(
        "header", partial_paragraph(run.results),
        tag("p", "Social bias of a language model, in brief", class_="eyebrow"),
        tag("h1", name_of(run.name_of_model)), verdict_banner(found, brief=True),
    )  # fmt: skip
    entry, first = run.stereoset, run.stereoset_before
    questions = tag("ul", [tag("li", one) for one in not_shown(run.results)[:OPEN_QUESTIONS]])
    parts = [
        _tested(entry) if entry else None,
        _found(entry, first) if entry else None,
        _ability(run),
        _part("What this does not show", questions),
        _part("What follows", tag("p", NEXT[found.value])) if found else None,
        _part("Policy", checklist(checked, brief=True)) if checked else None,
    ]
    state = found.headline if found is not None and not found.succeeded else ""
    return page(f"{run.name_of_model}, summary", tag("div", head, parts, class_="summary"), state=state)


def _part(title: str, *content: Markup | None) -> Markup:
    return tag("section", tag("h2", title), content)


def _tested(entry: StereoSetResult) -> Markup:
    """What a pair is, and how many there were."""
    terms = f" about {entry.overall.terms:,} groups and occupations" if entry.overall.terms else ""
    kinds = ", ".join(short(name, 40) for name in entry.bias_types)
    text = (
        f"The model read {entry.n:,} pairs of sentences{terms} ({kinds}). The two sentences of a pair differ in a few "
        "words: one repeats a stereotype, the other says the opposite. It was measured which of the two the model "
        "finds more likely. A model that does not follow the stereotype chooses it in about 50 of 100 pairs."
    )
    return _part("What was tested", tag("p", text))


def _found(entry: StereoSetResult, first: StereoSetResult | None) -> Markup:
    """Two fields of a hundred squares, and a line for each bias type."""
    fields = [_field("before", first.overall)] if first else []
    fields.append(_field("after" if first else "now", entry.overall))
    lines = [_line(name, row, first.bias_types.get(name) if first else None) for name, row in entry.bias_types.items()]
    shown = tag("div", tag("div", fields, class_="fields"), tag("ul", lines, class_="plain"), class_="beside")
    return _part("What was found", shown)


def _field(stage: str, row: StereoSetScores) -> Markup:
    """A hundred squares, filled for the pairs in which the stereotype is more likely; a line after the fiftieth."""
    count = round(row.ss.value)
    squares = [
        tag("rect", x=STEP * (n % 10), y=STEP * (n // 10), width=SIDE, height=SIDE, rx=1.5,
            class_="on" if n < count else "off")  # fmt: skip
        for n in range(100)
    ]
    half = tag("line", x1=-2, x2=100, y1=5 * STEP - 1, y2=5 * STEP - 1, class_="ideal")
    label = f"{stage}: the stereotype in {count} of 100 pairs"
    picture = tag("svg", squares, half, viewbox="-2 -1 102 101", role="img", aria_label=label, class_="field")
    return tag("figure", tag("figcaption", tag("span", stage), " ", tag("b", f"{count} of 100")), picture)


def _line(name: str, row: StereoSetScores, first: StereoSetScores | None) -> Markup:
    was = f"{number(first.ss.value, 0)} before, " if first else ""
    now = f"{number(row.ss.value, 0)} {'after' if first else ''}".strip()
    if hides_polarisation(row):
        remark = "⚠ on average only: single groups are above or below"
    elif row.equivalence is None:
        remark = ""
    else:
        remark = "✓ near 50" if row.equivalence.within else "? not certain to be near 50"
    return tag("li", tag("b", name_of(name, 40)), f": {was}{now} of 100 ", tag("small", remark))


def _ability(run: RunData) -> Markup | None:
    """Whether the model still models language, in words."""
    lines = []
    if run.stereoset and (now := run.stereoset.overall.lms):
        first = run.stereoset_before.overall.lms if run.stereoset_before else None
        was = f" ({number(first.value, 0)} before)" if first else ""
        count = number(now.value, 0)
        lines.append(f"It prefers a meaningful sentence to a meaningless one in {count} of 100 cases{was}.")
    earlier = run.results.before.perplexity if run.results.before else None
    if run.after.perplexity and earlier:
        change = change_in_percent(run.after.perplexity, earlier)
        size = "hardly changed" if abs(change) < 1 else f"{'rose' if change > 0 else 'fell'} by {number(abs(change))} %"
        lines.append(f"Its uncertainty about ordinary text (perplexity, lower is better) {size}.")
    return _part("Is it still a good language model?", tag("p", " ".join(lines))) if lines else None
