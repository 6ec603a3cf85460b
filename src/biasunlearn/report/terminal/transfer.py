"""Tables of a transfer and of a combination for the terminal. No torch: everything is read from the results."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from biasunlearn.report.terminal.run import results_table

Results = Mapping[str, Any]


def transfer_table(results: Results) -> RenderableType:
    """How far the target is, what the scales came to, before and after, and how much of the effect was kept."""
    told = results["transferred"]
    parts: list[RenderableType] = [_distances(told), *_scales(told), results_table(results)]
    if direct := results.get("direct"):
        parts += [Text("\nTrained on the target itself", style="bold"), results_table(direct)]
    return Group(*parts, Text(effect_line(told["effect"])))


def effect_line(effect: Results) -> str:
    """In words."""
    if not effect.get("kept"):
        return f"effect kept: not known ({effect['reason']})"
    kept, own, base = effect["kept"], effect["target"], effect["base"]
    share = f"{100 * kept['value']:.0f} % ({100 * kept['low']:.0f} to {100 * kept['high']:.0f})"
    falls = f"mean |SS - 50| falls by {own['value']:.1f} points here, by {base['value']:.1f} on the base"
    most = effect.get("most", 1.0)
    left = f"; at most {100 * most:.0f} % here, where there is less bias to begin with" if most < 1 else ""
    return f"effect kept: {share}: {falls}{left}"


def combination_table(results: Results) -> RenderableType:
    """Which adapters, how strongly, and what came of them."""
    table = Table(title="Combined adapters", title_justify="left", title_style="bold")
    for name in ("run", "weight"):
        table.add_column(name, justify="left" if name == "run" else "right")
    for part in results["combined"]["parts"]:
        table.add_row(part["run"], f"{part['weight']:g}")
    return Group(table, results_table(results))


def _distances(told: Results) -> RenderableType:
    parts = told["compatibility"]["distances"]
    where = f"{told['target_kind']}, from {told['base']}"
    if not parts:
        return Text(f"target: {where}; its distance from the base is not known")
    listed = ", ".join(f"{name} {value:.3f}" for name, value in parts.items())
    return Text(f"target: {where}; relative distance of its weights: {listed}")


def _scales(told: Results) -> list[RenderableType]:
    if not told["scales"]:
        return [Text(f"scale {told['scale']:g}, as given")]
    table = Table(title="Scales on the stop split", title_justify="left", title_style="bold")
    for name in ("scale", "SS", "mean |SS - 50|", "LMS", ""):
        table.add_column(name, justify="right")
    for look in told["scales"]:
        lms = "-" if look["lms"] is None else f"{look['lms']:.1f}"
        chosen = "chosen" if look["scale"] == told["scale"] else ""
        table.add_row(f"{look['scale']:g}", f"{look['ss']:.1f}", f"{look['distance']:.1f}", lms, chosen)
    return [table]
