"""Scores as a table in Markdown or HTML and as a plot, for notebooks: bias types in rows, scores in columns.

The tables of terminal and report page, with intervals of everything and warnings, are in the package report.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.runs.benchmark_results import BenchmarkResult, Measured
from biasunlearn.runs.scores import Interval, ScoredPart, estimate_of

LONGEST_NAME = 60
"""Characters of a name from the data that are shown."""

ARROW = "\u2192"

Rows = list[list[str]]


def tables(after: Measured, before: Measured | None) -> Iterator[tuple[str, Rows]]:
    """(benchmark, rows of cells, the names of the columns first) of every benchmark that has scores."""
    for name, entry in after.entries.items():
        first = before.entries.get(name) if before else None
        shown = _scores(entry)
        if not shown:
            continue
        rows = [["bias type", *shown]]
        for part_name, part in _parts(entry).items():
            earlier = _parts(first).get(part_name) if first else None
            rows.append([_short(part_name), *(_cell(score, part, earlier) for score in shown)])
        yield name, rows


def markdown(headlines: Sequence[str], after: Measured, before: Measured | None) -> str:
    """The headlines in bold, and a table for each benchmark."""
    parts = [f"**{_in_markdown(line)}**\n" for line in headlines]
    for name, rows in tables(after, before):
        head, *others = ([_in_markdown(cell) for cell in row] for row in rows)
        lines = [head, ["---", *["---:"] * (len(head) - 1)], *others]
        parts.append("\n".join((f"### {_in_markdown(name)}\n", *(f"| {' | '.join(line)} |" for line in lines), "")))
    return "\n".join(parts)


def html(headlines: Sequence[str], after: Measured, before: Measured | None) -> str:
    """The same in HTML, in which nothing from the data is markup."""
    parts = [f"<p><strong>{escape(line)}</strong></p>" for line in headlines]
    for name, (head, *rows) in tables(after, before):
        titles = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
        body = "".join(
            f'<tr><th scope="row">{escape(row[0])}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in row[1:])}</tr>'
            for row in rows
        )
        parts.append(
            f"<table><caption>{escape(name)}</caption><thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table>"
        )
    return "\n".join(parts)


def plot(after: Measured, before: Measured | None, benchmark: str | None, score: str | None, ax: Any) -> Any:
    """The Axes with a score of every bias type and its interval; see `Results.plot`."""
    try:
        from matplotlib import pyplot
    except ImportError:
        raise RequestError("plot: needs matplotlib: pip install 'biasunlearn[plot]'") from None
    name, entry, chosen = _plotted(after, benchmark, score)
    if ax is None:
        _, ax = pyplot.subplots(figsize=(6, 1 + 0.4 * len(_parts(entry))), layout="constrained")
    first = before.entries.get(name) if before else None
    names = list(_parts(entry))
    stages = [("before", first, "0.6", "o"), ("after", entry, "C0", "s")] if first else [("", entry, "C0", "s")]
    for number, (label, measured, color, marker) in enumerate(stages):
        shift = (number - (len(stages) - 1) / 2) * 0.25
        for place, part_name in enumerate(names):
            found = estimate_of(_parts(measured)[part_name].scores.get(chosen)) if measured else None
            if found is not None:
                ends = [[max(0.0, found.value - found.low)], [max(0.0, found.high - found.value)]]
                ax.errorbar(
                    found.value, place + shift, xerr=ends, fmt=marker, color=color, capsize=3,
                    label=label if place == 0 and label else None,
                )  # fmt: skip
    ideal = entry.ideals.get(chosen)
    if ideal is not None:
        ax.axvline(ideal, color="0.3", linestyle="--", linewidth=1)
    ax.set_yticks(range(len(names)), [_literal(_short(one)) for one in names])
    ax.invert_yaxis()
    ax.set_xlabel(f"{name}: {chosen}" + (f" (ideal {ideal:g})" if ideal is not None else "") + ", 95 % intervals")
    if first:
        ax.legend()
    return ax


def _plotted(after: Measured, benchmark: str | None, score: str | None) -> tuple[str, BenchmarkResult, str]:
    """Which benchmark and which of its scores. RequestError where there is none."""
    drawable = [name for name, entry in after.entries.items() if _scores(entry)]
    if not drawable or (benchmark is not None and benchmark not in drawable):
        raise RequestError(f"plot: no benchmark {benchmark or ''} with scores here; there are: {', '.join(drawable)}")
    name = benchmark or next((one for one in drawable if after.entries[one].parts), drawable[0])
    known = _scores(after.entries[name])
    if score is not None and score not in known:
        raise RequestError(f"plot: {name} has no score {score!r}; there are: {', '.join(known)}")
    return name, after.entries[name], score or known[0]


def _scores(entry: BenchmarkResult) -> list[str]:
    """The scores that a benchmark shows; those of one without ideals are all that it has."""
    return list(entry.shown_scores) or list(entry.whole.scores)


def _parts(entry: BenchmarkResult) -> dict[str, ScoredPart]:
    return {**entry.parts, "overall": entry.whole}


def _cell(score: str, part: ScoredPart, earlier: ScoredPart | None) -> str:
    """59.2 (57.1 to 61.3), with the value before in front of it where there is one."""
    found, was = part.scores.get(score), estimate_of(earlier.scores.get(score)) if earlier else None
    now = estimate_of(found)
    if now is None:
        return "-"
    ends = f" ({_number(now.low)} to {_number(now.high)})" if isinstance(found, Interval) else ""
    start = f"{_number(was.value)} {ARROW} " if was else ""
    return f"{start}{_number(now.value)}{ends}"


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def _short(name: str) -> str:
    text = " ".join("".join(sign if sign.isprintable() else " " for sign in name).split())
    return text if len(text) <= LONGEST_NAME else f"{text[:LONGEST_NAME]}\u2026"


def _in_markdown(text: str) -> str:
    """A text in a cell or a heading of Markdown, in which none of its signs is markup."""
    escaped = "".join(f"\\{sign}" if sign in r"\`*_{}[]|#~!" else sign for sign in " ".join(text.split()))
    return escape(escaped, quote=False)


def _literal(text: str) -> str:
    """A text for matplotlib, which takes what is between dollar signs for a formula."""
    return text.replace("$", r"\$")
