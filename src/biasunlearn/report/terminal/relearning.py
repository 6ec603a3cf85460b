"""A relearning as tables for the terminal. Everything shown is read from the results; nothing is computed here."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Results = Mapping[str, Any]
Estimate = Mapping[str, float]


def relearning_table(results: Results) -> RenderableType:
    """SS, LMS and perplexity of both models at every step, then what was kept of the debiasing."""
    told = results["relearned"]
    last = told["kept"][-1]
    parts: list[RenderableType] = [_scores(told["points"]), _kept(told["kept"]), Text(kept_line(last))]
    if over := over_debiased(told["points"]):
        parts.append(Text(over, style="yellow"))
    if any(results[when]["stereoset"]["overall"].get("low_lms") for when in ("before", "benchmarks")):
        parts.append(Text("LMS is low: the model is broken or untrained, and its SS means nothing", style="yellow"))
    return Group(*parts)


def kept_line(kept: Results) -> str:
    """What is left after so many steps, in words."""
    moved = ", ".join(f"{name} {_signed(kept[key])}" for name, key in (("debiased", "returned"), ("base", "drift")))
    change = f"mean |SS - 50| since step 0: {moved}"
    if not kept["kept"]:
        return f"kept after {kept['step']} steps: not defined ({kept['reason']}); {change}"
    return f"kept after {kept['step']} steps: {share(kept['kept'])} of the debiasing; {change}"


def share(found: Estimate) -> str:
    """By hand: 0.853 (0.601 to 1.1) -> 85 % (60 to 110)"""
    value, low, high = (f"{100 * found[end]:.0f}" for end in ("value", "low", "high"))
    return f"{value} % ({low} to {high})"


def over_debiased(points: Sequence[Results]) -> str:
    """Where the whole interval of SS lies below 50, in words; "" where it does nowhere."""
    found = [
        f"{point['model']} at step {point['step']} ({', '.join(names)})"
        for point in points
        if (names := [name for name, row in _rows(point) if row["over_debiased"]])
    ]
    return f"over-debiased, the interval of SS lies below 50: {'; '.join(found)}" if found else ""


def _scores(points: Sequence[Results]) -> Table:
    title = "While it learns on (SS: ideal 50, with 95 % intervals)"
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("step", "model"):
        table.add_column(name, justify="right" if name == "step" else "left")
    perplexity = any(point["perplexity"] is not None for point in points)
    names = [name for name, _ in _rows(points[0])]
    for name in (*names, "LMS", *(["perplexity"] if perplexity else []), "loss"):
        table.add_column(Text(name), justify="right")
    ordered = sorted(points, key=lambda point: point["step"])
    for place, point in enumerate(ordered):
        cells: list[Any] = [_ss(row["ss"]) for _, row in _rows(point)]
        lms = point["overall"]["lms"]
        cells.append("-" if lms is None else f"{lms['value']:.1f}")
        if perplexity:
            cells.append(f"{point['perplexity']:.2f}")
        cells.append("-" if point["loss"] is None else f"{point['loss']:.3f}")
        ends = place + 1 == len(ordered) or ordered[place + 1]["step"] != point["step"]
        table.add_row(str(point["step"]), point["model"], *cells, end_section=ends)
    return table


def _kept(rows: Sequence[Results]) -> Table:
    title = "What is kept: against the base at the same step (gap: SS, base - debiased; lead, moved: mean |SS - 50|)"
    table = Table(title=title, title_justify="left", title_style="bold")
    for name in ("step", "gap", "share kept", "lead", "share of lead", "debiased moved", "base moved"):
        table.add_column(name, justify="right")
    for row in rows:
        cells = []
        for one in (row, row["distance"]):
            cells += [_signed(one["target"]), share(one["kept"]) if one["kept"] else "not defined"]
        table.add_row(str(row["step"]), *cells, _signed(row["returned"]), _signed(row["drift"]))
    return table


def _rows(point: Results) -> list[tuple[str, Results]]:
    return [*point["bias_types"].items(), ("overall", point["overall"])]


def _ss(found: Estimate) -> Text:
    text = f"{found['value']:.1f}\n({found['low']:.1f}-{found['high']:.1f})"
    return Text(text, style="green" if found["low"] <= 50 <= found["high"] else "yellow")


def _signed(found: Estimate) -> str:
    return f"{found['value']:+.1f} ({found['low']:.1f} to {found['high']:.1f})"
