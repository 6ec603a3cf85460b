"""Linear probes of the hidden states: what they read, and angles between the bias types."""

from collections.abc import Mapping, Sequence
from typing import Literal

from biasunlearn.report.formatting import number
from biasunlearn.report.table import (
    ALWAYS,
    EXTRA,
    LAST,
    MISSING,
    USUAL,
    Cell,
    Column,
    Line,
    NumberCell,
    Part,
    Table,
    count_cell,
    name_cell,
    rows_of,
    score_cell,
)  # fmt: skip
from biasunlearn.runs.results import Results
from biasunlearn.runs.sections import Angles, LayerAngles, ProbeQuestion, Probes

What = Literal["direction", "subspace"]

ANGLES: Mapping[What, str] = {
    "direction": "Angles between the directions of the bias types (mean of stereotype − anti-stereotype)",
    "subspace": "Mean principal angles between the subspaces of differences of the bias types",
}


def probe_tables(results: Results) -> list[Part]:
    """The last layer in full, accuracies at every layer, angles at the last layer, and what was left out."""
    probes = results.probes
    if probes is None:
        return []
    last = str(probes.layers[-1])
    parts: list[Part] = [accuracy_table(probes, last), _accuracy_by_layer(probes)]
    if last in probes.angles:
        found = probes.angles[last]
        parts += [_angle_table(probes.stages, found, what, last) for what in ANGLES]
        if found.turned:
            parts.append(Line(turned_line(found)))
    return [*parts, *(Line(f"note: {line}", "soft") for line in probes.left_out)]


def question_name(question: ProbeQuestion) -> str:
    """By hand: asks "group" about the bias type race -> "group: race" """
    return ": ".join(part for part in (question.asks, question.bias_type) if part)


def accuracy_table(probes: Probes, layer: str) -> Table:
    """Everything that was read at one layer, with its controls."""
    both = len(probes.stages) > 1
    accuracy = (
        (Column("before"), Column("after", priority=ALWAYS), Column("change", priority=ALWAYS))
        if both else (Column("accuracy", priority=ALWAYS),)
    )  # fmt: skip
    columns = (
        Column("probe target", "text", ALWAYS), Column("sentences", priority=LAST), Column("chance", priority=USUAL),
        *accuracy, Column("control task", priority=EXTRA), Column("selectivity", priority=USUAL),
        Column("shuffled labels", priority=LAST),
    )  # fmt: skip
    rows = [_accuracy_cells(question, layer, both) for question in probes.questions]
    return Table(f"Linear probes at layer {layer}: balanced accuracy in %, 95 % intervals", columns, rows_of(rows))


def turned_line(found: LayerAngles) -> str:
    """By how much debiasing turned the direction of each bias type."""
    angles = ", ".join(f"{name} {number(degrees, 0)}°" for name, degrees in found.turned.items())
    return f"Angle between each direction before and after debiasing: {angles}."


def angles_of(angles: Angles, what: What) -> Mapping[str, Mapping[str, float]]:
    """Angles in degrees between every two bias types."""
    table = angles.direction if what == "direction" else angles.subspace
    return {one: {other: table[one][other].value for other in angles.direction} for one in angles.direction}


def chance_of(angles: Angles, what: What) -> float:
    """The angle that random directions have, in degrees."""
    return (angles.chance.direction if what == "direction" else angles.chance.subspace).value


def _accuracy_cells(question: ProbeQuestion, layer: str, both: bool) -> Sequence[Cell]:
    found = question.layers[layer]
    last = found.stages[-1]
    change = [score_cell(found.change.accuracy, signed=True)] if both else []
    return [
        name_cell(question_name(question), limit=60), count_cell(question.sentences), NumberCell(question.chance),
        *(score_cell(stage.accuracy) for stage in found.stages), *change, NumberCell(last.control.value),
        score_cell(last.selectivity, signed=True), NumberCell(last.shuffled.value),
    ]  # fmt: skip


def _accuracy_by_layer(probes: Probes) -> Table:
    before = ", before and after" if len(probes.stages) > 1 else ""
    ends = (probes.layers[0], probes.layers[-1])
    layers = [
        Column(f"layer {layer}", priority=ALWAYS if layer in ends else LAST if place % 4 else EXTRA)
        for place, layer in enumerate(probes.layers)
    ]
    rows = []
    for question in probes.questions:
        stages = [question.layers[str(layer)].stages for layer in probes.layers]
        rows.append([name_cell(question_name(question), limit=60), *(
            _change_cell([one.accuracy.value for one in found], 1) for found in stages
        )])  # fmt: skip
    title = f"Balanced accuracy by layer{before} (layer 0: the embeddings)"
    return Table(title, (Column("probe target", "text", ALWAYS), *layers), rows_of(rows))


def _angle_table(stages: Sequence[str], found: LayerAngles, what: What, layer: str) -> Table:
    tables = [angles_of(stage, what) for stage in found.stages]
    names = list(tables[0])
    rows = [
        [name_cell(one), *(_change_cell([table[one][other] for table in tables], 0, one == other) for other in names)]
        for one in names
    ]
    when = ", before and after" if len(stages) > 1 else ""
    chance = number(chance_of(found.stages[0], what), 0)
    title = f"{ANGLES[what]}, layer {layer}{when}, in degrees; expected by chance: {chance}"
    columns = (Column("bias type", "text", ALWAYS), *(Column(name, is_name=True) for name in names))
    return Table(title, columns, rows_of(rows), notes=("Diagonal: angle between two random halves of one bias type.",))


def _change_cell(values: Sequence[float], digits: int, strong: bool = False) -> Cell:
    if not values:
        return MISSING
    before = values[0] if len(values) > 1 else None
    return NumberCell(values[-1], digits, before=before, tone="strong" if strong else "")
