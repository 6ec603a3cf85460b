"""What probes read and how far bias types lie apart, as tables for the terminal. Nothing is computed here."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

Results = Mapping[str, Any]


def probe_table(results: Results) -> RenderableType:
    """The last layer in full, accuracies at every layer, angles at the last layer, and what was left out."""
    probes = results["probes"]
    last = str(probes["layers"][-1])
    parts: list[RenderableType] = [_in_full(probes, last), _by_layer(probes)]
    if last in probes["angles"]:
        found = probes["angles"][last]
        parts += [_matrix(probes["stages"], found, what, last) for what in ("direction", "subspace")]
        if found["turned"]:
            moved = ", ".join(f"{name} {degrees:.0f}" for name, degrees in found["turned"].items())
            parts.append(Text(f"Turned by debiasing, degrees between the directions before and after: {moved}"))
    parts += [Text(f"note: {line}", style="dim") for line in probes["left_out"]]
    return Group(*parts)


def about(question: Results) -> str:
    """By hand: {"asks": "group", "bias_type": "race"} -> "group: race" """
    return ": ".join(part for part in (question["asks"], question["bias_type"]) if part)


def _in_full(probes: Results, layer: str) -> Table:
    title = f"Read by linear probes at layer {layer}, balanced accuracy in %, 95 % intervals"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("what is read")
    stages = probes["stages"]
    names = ["chance", *(f"accuracy {stage}".strip() for stage in stages)]
    names += [*(["change"] if len(stages) > 1 else []), "control", "selectivity", "shuffled"]
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for question in probes["questions"]:
        found = question["layers"][layer]
        change = [_cell(found["change"]["accuracy"], signed=True)] if len(stages) > 1 else []
        last = found["stages"][-1]
        table.add_row(
            Text(about(question)), f"{question['chance']:.1f}",
            *(_cell(stage["accuracy"]) for stage in found["stages"]), *change, f"{last['control']['value']:.1f}",
            _cell(last["selectivity"], signed=True), f"{last['shuffled']['value']:.1f}",
        )  # fmt: skip
    return table


def _by_layer(probes: Results) -> Table:
    before = " before -> after" if len(probes["stages"]) > 1 else ""
    table = Table(title=f"Accuracy by layer{before} (0: embeddings)", title_justify="left", title_style="bold")
    table.add_column("what is read")
    for layer in probes["layers"]:
        table.add_column(str(layer), justify="right")
    for question in probes["questions"]:
        rows = [[stage["accuracy"]["value"] for stage in question["layers"][str(layer)]["stages"]]
                for layer in probes["layers"]]  # fmt: skip
        table.add_row(Text(about(question)), *(" -> ".join(f"{value:.1f}" for value in row) for row in rows))
    return table


def _matrix(stages: Sequence[str], found: Results, what: str, layer: str) -> Table:
    chance = found["stages"][0]["chance"][what]["value"]
    said = {
        "direction": "Angles between the types' directions (mean of stereotype - anti-stereotype)",
        "subspace": "Mean principal angles between the types' subspaces of differences",
    }
    stage = f", {' -> '.join(stages)}" if len(stages) > 1 else ""
    title = f"{said[what]}, layer {layer}{stage}; diagonal: halves of one type; chance {chance:.0f}"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("degrees")
    names = list(found["stages"][0][what])
    for name in names:
        table.add_column(Text(name), justify="right")
    for one in names:
        cells = [" -> ".join(f"{stage[what][one][other]['value']:.0f}" for stage in found["stages"]) for other in names]
        table.add_row(Text(one), *(Text(cell, style="bold" if other == one else "")
                                   for other, cell in zip(names, cells, strict=True)))  # fmt: skip
    return table


def _cell(found: Mapping[str, float], *, signed: bool = False) -> str:
    if signed:
        return f"{found['value']:+.1f} ({found['low']:+.1f}, {found['high']:+.1f})"
    return f"{found['value']:.1f} ({found['low']:.1f}-{found['high']:.1f})"
