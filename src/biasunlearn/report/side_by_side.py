"""The parts of the playground's page: what both models say to a prompt, attributes of two groups, figures of the run.

Prompts, words and continuations come from users, models and data files, and are escaped.
"""

from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any

from biasunlearn.report.formatting import ARROW, number, short
from biasunlearn.report.html import Markup, name_of, tag
from biasunlearn.report.model_name import model_name
from biasunlearn.runs.results import Results
from biasunlearn.stats.prompt_change import PromptChange, WordRow, changed_strongly

LEAST = 0.001
"""Words with a lower probability in both models are listed without a row of their own."""

GROUP = 24
"""Characters of the words that name a group in the head of a column."""

SECTIONS = {
    "stereotype-score-by-bias-type": "scores by bias type",
    "association-wording-and-subgroups": "association, wording and subgroups",
    "target-terms": "target terms",
    "single-pairs": "single pairs",
    "answers": "judged answers",
    "training": "training",
}
"""Anchor of a section of the report -> the text of the link to it."""


def prompt_section(seen: Any, title: str, instead_of: str = "") -> Markup:
    """The words of both models with bars, the continuations, and a remark where the two differ strongly.

    Args:
        seen: a scoring.side_by_side.Seen.
        instead_of: the original prompt; words that differ from it are marked.
    """
    few = [word for word, *values in seen.words if max(values) < LEAST]
    prompt = marked_prompt(seen.prompt, instead_of) if instead_of else seen.prompt
    written = [
        [tag("dt", f"{state} continues"), tag("dd", seen.prompt, tag("b", text))]
        for state, text in seen.completions.items()
    ]
    return live(
        tag("h2", title), tag("p", prompt, class_="prompt"), _flag(seen.change),
        _word_table([row for row in seen.words if max(row[1:]) >= LEAST], bool(seen.completions)),
        tag("p", f"Below {100 * LEAST:g} % in both: {', '.join(few)}") if few else None, tag("dl", written),
    )  # fmt: skip


def attribute_section(rows: Sequence[Any], prompts: Sequence[str]) -> Markup:
    """A table of attributes: their probability in the prompt about either group, before and after debiasing.

    Args:
        rows: scoring.side_by_side.AttributeRow of each attribute.
        prompts: the prompt as written, and about the other group if there is one.
    """
    groups = _groups(prompts)
    blank = "BLANK" in prompts[0]
    what = "shares of these attributes in the BLANK" if blank else "probability of the attribute as the next words"
    ratios = len(prompts) == 2
    head = [tag("th", "attribute", scope="col")]
    for state in ("base", "debiased"):
        head += [tag("th", f"{state}: ", name_of(group, GROUP), scope="col") for group in groups]
        head += [tag("th", f"{state}: ratio", scope="col")] if ratios else []
    body = [_attribute_row(row, groups if ratios else ()) for row in rows]
    table = tag("table", tag("caption", f"Attributes: {what}"), tag("thead", tag("tr", head)), tag("tbody", body))
    note = (
        "The ratio says for which of the two groups an attribute is more likely, and how many times. It is 1 if the "
        "group makes no difference."
        if ratios else "The group could not be swapped, so that there is nothing to compare with."
    )  # fmt: skip
    scrolls = tag("div", table, class_="scrolls", tabindex="0", role="region", aria_label="Attributes of both groups")
    return live(tag("h2", "Attributes of both groups"), scrolls, tag("p", note, class_="small"))


def swap_refused(reason: str) -> Markup:
    return live(tag("h2", "Swapped"), tag("p", f"Not swapped: {reason}"))


def fault(message: str) -> Markup:
    """What was wrong with a request."""
    return tag("p", message, role="alert", class_="fault")


def run_section(results: Results, run: str, report: str) -> Markup:
    """Which run it is, its verdict and its figures, with links to the sections of its report.

    Args:
        run: its folder.
        report: its page as HTML, to whose sections the links lead; "" if it could not be made.
    """
    before, after = results.before and results.before.stereoset, results.benchmarks.stereoset
    figures = []
    if before and after:
        for name, digits in (("ss", 1), ("lms", 1)):
            first, last = getattr(before.overall, name), getattr(after.overall, name)
            if first and last:
                figures.append(f"{name.upper()} {number(first.value, digits)} {ARROW} {number(last.value, digits)}")
    found = results.shown_verdict
    parts = [found.headline if found else "", ", ".join(figures), "on its report split" if figures else ""]
    line = " ".join(part if part.endswith(".") else part + ("" if n else ":") for n, part in enumerate(parts) if part)
    links = [
        tag("a", label, href=f"/report#{anchor}", target="_blank", rel="noopener")
        for anchor, label in SECTIONS.items() if f'id="{anchor}"' in report
    ]  # fmt: skip
    whole = tag("a", "whole report", href="/report", target="_blank", rel="noopener") if report else None
    listed = [[", " if n else None, link] for n, link in enumerate([whole, *links] if whole else [])]
    name = model_name(results.model or "", results.model_source)
    return tag(
        "div", tag("p", name_of(name), f", run {short(run, 200)}"), tag("p", line) if line else None,
        tag("nav", "Figures of this run: ", listed, aria_label="Figures of this run") if whole else None,
        class_="of-run",
    )  # fmt: skip


def live(*content: Any) -> Markup:
    """A part of the page whose changes a screen reader announces."""
    return tag("div", content, aria_live="polite")


def marked_prompt(prompt: str, other: str) -> list[Any]:
    """The prompt with the words that differ from another prompt's marked."""
    found: list[Any] = []
    for same, words in _parts(prompt, other):
        found += [" " if found else None, words if same else tag("mark", words)]
    return found


def _parts(prompt: str, other: str) -> list[tuple[bool, str]]:
    """(whether the other prompt has these words in this place, words), in order."""
    own, theirs = prompt.split(), other.split()
    found = []
    for what, first, last, *_ in SequenceMatcher(None, own, theirs, autojunk=False).get_opcodes():
        if first < last:
            found.append((what == "equal", " ".join(own[first:last])))
    return found


def _groups(prompts: Sequence[str]) -> list[str]:
    """The words in which two prompts differ; of a single prompt, that it is as written."""
    if len(prompts) < 2:
        return ["as written"]
    return [" … ".join(words for same, words in _parts(*pair) if not same) for pair in (prompts, prompts[::-1])]


def _flag(change: PromptChange) -> Markup | None:
    """A remark on a prompt with a large change; it says that one prompt is no evidence."""
    if not change.reasons:
        return None
    advice = ". Read what follows. A single prompt is no evidence about the model; the figures of the run are."
    return tag("p", tag("strong", "Large change: "), "; ".join(change.reasons), advice, class_="fault")


def _word_table(rows: Sequence[WordRow], next_word: bool) -> Markup:
    if not rows:
        return tag("p", "No complete word follows.")
    widest = max(max(row[1:]) for row in rows)
    what = "Probability of the next word" if next_word else "In the BLANK: shares of the words shown"
    head = tag("tr", [tag("th", name, scope="col") for name in ("word", "base", "debiased")])
    body = [
        tag("tr", tag("th", tag("bdi", word), _star(changed_strongly(base, debiased)), scope="row"),
            _cell(base, widest, "base"), _cell(debiased, widest, "debiased"))
        for word, base, debiased in rows
    ]  # fmt: skip
    return tag("table", tag("caption", what), tag("thead", head), tag("tbody", body))


def _star(changed: bool) -> Markup | None:
    """A sign beside a word whose probability changed strongly."""
    return tag("span", " ▲", title="large change", role="img", aria_label="large change") if changed else None


def _attribute_row(row: Any, groups: Sequence[str]) -> Markup:
    changed = any(changed_strongly(*pair) for pair in row.probabilities)
    cells = [tag("th", name_of(row.attribute), _star(changed), scope="row")]
    widest = max((value for pair in row.probabilities for value in pair), default=1.0) or 1.0
    for place, state in enumerate(("base", "debiased")):
        values = [pair[place] for pair in row.probabilities]
        cells += [_cell(value, widest, state) for value in values]
        if groups:
            cells.append(tag("td", _ratio(values, groups), class_="ratio"))
    return tag("tr", cells)


def _ratio(values: Sequence[float], groups: Sequence[str]) -> list[Any]:
    """By hand: 0.2 and 0.1 for "she" and "he" -> 2.0 × she."""
    first, second = values
    if min(values) <= 0:
        return ["not defined"]
    more, times = (groups[0], first / second) if first >= second else (groups[1], second / first)
    shown = number(times, 1) if times < 100 else number(times, 0)
    return ["1.0"] if shown == "1.0" else [f"{shown} × ", name_of(more, GROUP)]


def _cell(value: float, widest: float, state: str) -> Markup:
    percent = 100 * value
    share = f"{percent:.1f} %" if value >= LEAST / 2 or not value else f"{percent:.1g} %"
    bar = tag("span", class_="bar", style=f"width:{5 * value / widest:.2f}em")
    return tag("td", tag("span", share, class_="share"), bar, class_=state)
