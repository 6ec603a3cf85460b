"""Results as tables for the terminal. Everything shown is read from the results; nothing is computed here."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from biasunlearn.stats.stereoset import over_debiased

Results = Mapping[str, Any]

MOST_WIDE = 4
"""Columns whose intervals stand beside their values; with more, they stand below."""


def results_table(results: Results) -> RenderableType:
    """Every benchmark of a run; before and after side by side where the run has both."""
    before, after = results.get("before"), results["benchmarks"]
    parts: list[RenderableType] = []
    if "stereoset" in after:
        parts.append(_stereoset(after["stereoset"], before and before.get("stereoset")))
        parts += _distances(after["stereoset"]["overall"], before and before["stereoset"]["overall"])
        inter = after["stereoset"].get("intersentence")
        if inter:
            first = before and before["stereoset"].get("intersentence")
            parts.append(_stereoset(inter, first, title="StereoSet, intersentence (ours)"))
        parts += _notes(after["stereoset"])
    for name, entry in after.items():
        if name != "stereoset" and "bias_types" in entry:
            parts += _panel(name, entry, before and before.get(name))
            if "tests" in entry:
                parts.append(_tests(name, entry["tests"], ((before or {}).get(name) or {}).get("tests")))
            if "gaps" in entry:
                parts += _gaps(name, entry["gaps"], ((before or {}).get(name) or {}).get("gaps"))
    if results.get("capability"):
        parts.append(_capability(results["capability"]))
    if "perplexity" in after:
        parts.append(_perplexity(after["perplexity"], before and before.get("perplexity")))
    return Group(*parts)


def _stereoset(after: Results, before: Results | None, title: str = "StereoSet, intrasentence") -> Table:
    """SS and LMS with intervals; ICAT, which follows from them, without (its interval is in results.json)."""
    table = Table(title=f"{title} (ideal: SS 50, LMS 100, ICAT 100)", title_justify="left", title_style="bold")
    table.add_column("bias type")
    whens = ("before", "after") if before else ("",)
    for name in ("items", *(f"{score} {when}".strip() for score in ("SS", "LMS") for when in whens), "ICAT"):
        table.add_column(name, justify="right")
    rows = [*((b, entry) for b, entry in after["bias_types"].items()), ("overall", after["overall"])]
    for name, entry in rows:
        first = None if before is None else before["overall"] if name == "overall" else before["bias_types"].get(name)
        shown = (first, entry) if before else (entry,)
        cells = [_cell(one and one[score], score) for score in ("ss", "lms") for one in shown]
        icat = " -> ".join(f"{one['icat']['value']:.1f}" if one and one["icat"] else "-" for one in shown)
        bold = "bold" if name == "overall" else ""
        table.add_row(Text(name), str(entry["n"]), *cells, icat, style=bold, end_section=name == rows[-2][0])
    return table


def _panel(name: str, after: Results, before: Results | None) -> list[RenderableType]:
    """Any benchmark of the common shape: a row per bias type and per group, a column per score."""
    scores = list(after.get("shown", after["ideal"]))
    ideals = ", ".join(f"{score} {ideal:g}" for score, ideal in after["ideal"].items() if ideal is not None)
    table = Table(title=f"{name} (ideal: {ideals})", title_justify="left", title_style="bold")
    table.add_column("")
    whens = ("before", "after") if before else ("",)
    for head in ("n", *(f"{score} {when}".strip() for score in scores for when in whens)):
        table.add_column(head, justify="right")
    firsts = dict(_panel_rows(before)) if before else {}
    rows = _panel_rows(after)
    between = " " if len(scores) * len(whens) <= MOST_WIDE else "\n"
    places = {score: _decimals(row[score] for _, row in rows) for score in scores}
    for at, (path, row) in enumerate(rows):
        shown = (firsts.get(path), row) if before else (row,)
        cells = [_plain_cell(one and one[score], places[score], between) for score in scores for one in shown]
        last = at + 1 == len(rows) or rows[at + 1][0][0] != path[0]
        table.add_row(Text(path[1]), str(row["n"]), *cells, style="bold" if path[0] == "" else "", end_section=last)
    few = [path[1] for path, row in rows if row.get("few_clusters")]
    notes = [*after.get("notes", ()), *_data_notes(after)]
    if over := over_debiased(after):
        notes.append(f"over-debiased: the interval lies below 50, at the anti-stereotype, in {', '.join(over)}")
    if few:
        notes.append(f"fewer than 10 clusters in {', '.join(few)}: the interval is unreliable; the wider one is shown")
    return [table, *(Text(note, style="yellow") for note in notes)]


def _tests(name: str, after: Results, before: Results | None) -> Table:
    """Every test of an association benchmark: effect size d and p, on the mean of the tokens and on the last one."""
    table = Table(title=f"{name}, test by test: d (p; * from drawn divisions, else exact)", title_justify="left")
    whens = ("before", "after") if before else ("",)
    for head in ("test", "bias type", "n", *(f"{p} {w}".strip() for p in ("mean", "last token") for w in whens)):
        table.add_column(head, justify="left" if head in ("test", "bias type") else "right")
    for test, row in after.items():
        shown = (before.get(test), row) if before else (row,)
        cells = [_effect(one, suffix) for suffix in ("", "_last") for one in shown]
        table.add_row(Text(test), Text(row["bias_type"]), "+".join(map(str, row["n"])), *cells)
    return table


def _gaps(name: str, after: Results, before: Results | None) -> list[RenderableType]:
    """How far the groups of a domain lie apart, beside what chance gives."""
    parts: list[RenderableType] = []
    for score, domains in after.items():
        table = Table(title=f"{name}: gap of {score} between groups (ideal: as by chance)", title_justify="left")
        for head in ("domain", *(["gap before"] if before else []), "gap", "by chance", "p", "highest", "lowest"):
            table.add_column(head)
        for domain, row in domains.items():
            first = [_plain_cell(before.get(score, {}).get(domain), 3, " ")] if before else []
            last = (Text(row["highest"]), Text(row["lowest"]))
            table.add_row(
                Text(domain), *first, _plain_cell(row, 3, " "), f"{row['by_chance']:.3f}", f"{row['p']:.3f}", *last
            )
        parts += [table] if domains else []
    return parts


def _capability(found: Results) -> Table:
    """Tasks of lm-eval, every metric a row."""
    first = found.get("before")
    limit = f", the first {found['limit']} documents of each" if found["limit"] else ""
    table = Table(title=f"Capability (lm-eval {found['lm_eval']}{limit})", title_justify="left", title_style="bold")
    for head in ("task", "metric", "n", *(("before", "after") if first else ("value",))):
        table.add_column(head)
    for task, row in found["tasks"].items():
        for metric, value in row.items():
            if isinstance(value, Mapping):
                cells = [_task_cell(one) for one in ((first[task].get(metric), value) if first else (value,))]
                table.add_row(Text(task), Text(metric), str(row["n"]), *cells)
    return table


def _task_cell(estimate: Mapping[str, float] | None) -> Text:
    if not estimate or "low" not in estimate:
        return Text(f"{estimate['value']:.3f}" if estimate else "-")
    return _plain_cell(estimate, 3, " ")


def _effect(row: Results | None, suffix: str) -> str:
    if row is None or row[f"effect_size{suffix}"] is None:
        return "-"
    drawn = "" if row[f"exact{suffix}"] else "*"
    return f"{row[f'effect_size{suffix}']:+.2f} ({row[f'p{suffix}']:.3f}{drawn})"


def _panel_rows(entry: Results) -> list[tuple[tuple[str, str], Results]]:
    """((grouping, group), scores): the bias types, then overall, then every other grouping."""
    rows = [(("bias_types", name), row) for name, row in entry["bias_types"].items()]
    rows.append((("", "overall"), entry["overall"]))
    for grouping, group in entry.get("groups", {}).items():
        rows += [((grouping, f"{grouping}: {name}"), row) for name, row in group.items()]
    return rows


def _decimals(estimates: Iterable[Mapping[str, float] | None]) -> int:
    """One decimal for percentages, three for scores between -1 and 1, two for what lies between."""
    largest = max((abs(e[end]) for e in estimates if e for end in ("value", "low", "high")), default=0.0)
    return 1 if largest >= 10 else 2 if largest > 1 else 3


def _plain_cell(estimate: Mapping[str, float] | None, places: int, between: str) -> Text:
    if not estimate:
        return Text("-", style="dim")
    value, low, high = (f"{estimate[key]:.{places}f}" for key in ("value", "low", "high"))
    return Text(f"{value}{between}({low} to {high})")


def _cell(estimate: Mapping[str, float] | None, score: str) -> Text:
    """`61.2 (58.9-63.4)`; an SS is green where its interval contains 50 and yellow where it does not."""
    if not estimate:
        return Text("-", style="dim")
    text = _estimate(estimate)
    if score != "ss":
        return Text(text)
    return Text(text, style="green" if estimate["low"] <= 50 <= estimate["high"] else "yellow")


def _estimate(estimate: Mapping[str, float]) -> str:
    return f"{estimate['value']:.1f} ({estimate['low']:.1f}-{estimate['high']:.1f})"


def _distances(after: Results, before: Results | None) -> list[RenderableType]:
    """Mean |SS - 50|, which cannot cancel as SS over bias types can, beside what luck gives a fair model."""
    lines = []
    for key, over in (("ss_distance", "bias types"), ("ss_distance_terms", "target terms")):
        if key not in after:  # an older run
            continue
        shown = [_estimate(one[key]) for one in (before, after) if one and key in one]
        lines.append(f"over {over} {' -> '.join(shown)}, a fair model by luck {after[key]['if_fair']:.1f}")
    return [Text(f"mean |SS - 50|: {'; '.join(lines)}")] if lines else []


def _data_notes(entry: Results) -> list[str]:
    """What the data of any benchmark has to be read with."""
    notes = []
    if entry.get("contaminated"):
        seen = entry["contaminated"]
        notes.append(f"contaminated: the adapter has seen {seen['clusters']} of {seen['of']} clusters")
    if entry.get("skipped"):
        notes.append(f"{entry['skipped']} invalid rows were skipped")
    return notes


def _notes(entry: Results) -> list[RenderableType]:
    notes = _data_notes(entry)
    if entry["overall"].get("low_lms"):
        notes.append("LMS is low: meaningful and unrelated sentences are hardly told apart; SS is no sign of fairness")
    if entry["overall"]["ties"]:
        notes.append(f"{entry['overall']['ties']} ties, counted as anti-stereotype as in the official scorer")
    few = [name for name, row in entry["bias_types"].items() if row["few_terms"]]
    if few:
        notes.append(f"fewer than 10 target terms in {', '.join(few)}: the wider interval of terms and items is shown")
    if over := [*over_debiased(entry), *(f"intersentence {name}" for name in _intersentence_over(entry))]:
        notes.append(f"over-debiased: the interval of SS lies below 50 in {', '.join(over)}")
    if entry.get("unscored_clusters"):
        notes.append(f"{entry['unscored_clusters']} clusters of the benchmark have no stored score")
    return [Text(note, style="yellow") for note in notes]


def _intersentence_over(entry: Results) -> list[str]:
    return over_debiased(entry["intersentence"]) if entry.get("intersentence") else []


def _perplexity(after: Results, before: Results | None) -> Text:
    size = f"{after['tokens']:,} tokens"
    if before is None:
        return Text(f"Perplexity per token {after['per_token']:.2f}, per byte {after['per_byte']:.3f} ({size})")
    change = 100 * (after["per_token"] / before["per_token"] - 1)
    return Text(f"Perplexity per token {before['per_token']:.2f} -> {after['per_token']:.2f} ({change:+.2f} %, {size})")
