"""Comparisons and gates as tables for the terminal. Everything shown is read from them; nothing is computed here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Content = Mapping[str, Any]

STYLES = {"better": "green", "worse": "red", "changed": "yellow", "too few items": "dim", "no evidence": ""}


def comparison_table(result: Content) -> RenderableType:
    """The overview, then the bias types of every benchmark's first score, then the spread between seeds."""
    letters = dict(zip((run["name"] for run in result["runs"]), _letters(), strict=False))
    parts: list[RenderableType] = [_legend(result, letters), _overview(result["overview"], letters)]
    for comparison in result["comparisons"]:
        for benchmark, found in comparison["benchmarks"].items():
            parts += _by_bias_type(benchmark, found.get("scores", {}), letters[comparison["run"]])
        if comparison["not_shared"]:
            listed = ", ".join(comparison["not_shared"])
            parts.append(Text(f"measured in A or {letters[comparison['run']]} only: {listed}", style="yellow"))
    parts += [_seeds(group, letters) for group in result["seeds"]]
    return Group(*parts)


def gate_table(result: Content) -> RenderableType:
    """Every rule with pass or fail and the number that decided."""
    table = Table(title=f"{result['run']} against {result['policy']}", title_justify="left", title_style="bold")
    for name in ("", "rule", "found"):
        table.add_column(name)
    for rule in result["rules"]:
        mark = Text("pass", style="green") if rule["passed"] else Text("FAIL", style="bold red")
        table.add_row(mark, Text(rule["rule"]), Text(rule["found"]))
    failed = sum(not rule["passed"] for rule in result["rules"])
    last = f"{failed} of {len(result['rules'])} rules failed" if failed else f"all {len(result['rules'])} rules passed"
    return Group(table, Text(last, style="bold red" if failed else "green"))


def _letters() -> Iterator[str]:
    yield from ascii_uppercase
    yield from (f"run {number}" for number in range(27, 10_000))


def _legend(result: Content, letters: Mapping[str, str]) -> Text:
    lines = []
    for run in result["runs"]:
        seed = "" if run["seed"] is None else f", seed {run['seed']}"
        lines.append(f"{letters[run['name']]}  {run['name']}  ({run['stage'] + ', ' if run['stage'] else ''}model "
                     f"{run['model']}{seed})")  # fmt: skip
    return Text("\n".join(lines))


def _overview(lines: Sequence[Content], letters: Mapping[str, str]) -> Table:
    table = _table("Every benchmark, against A", ("benchmark", "score", "ideal"),
                   ("A", "run", "difference", "p", "verdict"))  # fmt: skip
    for number, line in enumerate(lines):
        places = _places([line])
        if line["verdict"] is None:
            change = line["change_percent"]
            difference, verdict = "-" if change is None else f"{change:+.2f} %", Text("one value, not tested")
        else:
            difference, verdict = _estimate(line["difference"], places), _verdict(line)
        last = number + 1 == len(lines) or lines[number + 1]["benchmark"] != line["benchmark"]
        ideal = f"{line['ideal']:g}" if line.get("ideal") is not None else ""
        run = f"{letters[line['run']]}: {_estimate(line['b'], places)}"
        table.add_row(Text(line["benchmark"]), Text(line["score"]), ideal, _estimate(line["a"], places), run,
                      difference, _p(line.get("p")), verdict, end_section=last)  # fmt: skip
    return table


def _by_bias_type(benchmark: str, scores: Content, letter: str) -> list[RenderableType]:
    score = next(iter(scores), None)
    if score is None or len(scores[score]["bias_types"]) < 2:
        return []
    found = scores[score]
    rows = [*found["bias_types"].items(), ("overall", found["overall"])]
    places = _places(row for _, row in rows)
    title = f"{benchmark}: {score} by bias type, {letter} against A ({found['overall']['test']})"
    right = ("items", "clusters", "A", letter, "difference", "p", "Holm", "shows from", "verdict")
    table = _table(title, ("bias type",), right)
    for name, row in rows:
        cells = [_estimate(row[key], places) for key in ("a", "b", "difference")]
        least = row["smallest_difference"]
        shows = "-" if least is None else f"{least:.{places}f}"
        clusters = f"{row['clusters']}{' (few)' if row['few_clusters'] else ''}"
        table.add_row(Text(name), str(row["n"]), clusters, *cells, _p(row["p"]), _p(row.get("p_holm")), shows,
                      _verdict(row), end_section=name == rows[-2][0])  # fmt: skip
    notes = []
    if found["unpaired"]:
        notes.append(f"{found['unpaired']} items have a {score} in one of the two runs only, and are left out")
    if any(row["few_clusters"] for _, row in rows):
        notes.append("few: fewer than 10 clusters; the wider interval of clusters and items is shown")
    return [table, *(Text(note, style="yellow") for note in notes)]


def _seeds(group: Content, letters: Mapping[str, str]) -> Table:
    listed = ", ".join(f"{letters[run]} (seed {seed})" for run, seed in zip(group["runs"], group["seeds"], strict=True))
    table = _table(f"Between seeds: {listed}", ("benchmark", "score", "bias type"),
                   ("mean", "sd between seeds", "smallest", "largest", "interval of one run"))  # fmt: skip
    for benchmark, parts in group["benchmarks"].items():
        first = next((score for score, s in parts["overall"].items() if "low" in s), next(iter(parts["overall"]), None))
        rows = [("overall", score, spread) for score, spread in parts["overall"].items()]
        rows += [(name, first, spread[first]) for name, spread in parts["bias_types"].items() if first in spread]
        for name, score, spread in rows:
            places = 1 if abs(spread["mean"]) >= 10 else 3
            span = f"{spread['low']:.{places}f} to {spread['high']:.{places}f}" if "low" in spread else "-"
            numbers = (spread["mean"], spread["sd"], min(spread["values"]), max(spread["values"]))
            cells = [f"{number:.{places + (at == 1)}f}" for at, number in enumerate(numbers)]
            table.add_row(Text(benchmark), Text(str(score)), Text(name), *cells, span)
    return table


def _table(title: str, left: Iterable[str], right: Iterable[str]) -> Table:
    table = Table(title=Text(title), title_justify="left", title_style="bold")
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right")
    return table


def _verdict(row: Content) -> Text:
    text = Text(row["verdict"], style=STYLES[row["verdict"]])
    if row.get("over_debiased"):
        text.append(", over-debiased", style="yellow")
    return text


def _estimate(estimate: Content, places: int) -> str:
    if "low" not in estimate:
        return f"{estimate['value']:.{places}f}"
    value, low, high = (f"{estimate[key]:.{places}f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def _places(rows: Iterable[Content]) -> int:
    """One decimal for percentages, three for scores that stay small."""
    largest = max((abs(row[key]["value"]) for row in rows for key in ("a", "b")), default=0.0)
    return 1 if largest >= 10 else 3


def _p(p: float | None) -> str:
    return "-" if p is None else "<0.0001" if p < 0.0001 else f"{p:.4f}"
