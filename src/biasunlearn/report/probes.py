"""Linear probes of the hidden states, as parts of a run's page: heat maps first, then all numbers with intervals."""

from collections.abc import Sequence
from typing import Literal

from biasunlearn.report.charts.marks import Square, heatmap
from biasunlearn.report.formatting import number, short
from biasunlearn.report.html import Markup, tag
from biasunlearn.report.html_table import html_table
from biasunlearn.report.page import Section, folded, section, warning
from biasunlearn.report.tables.probes import (
    What,
    accuracy_table,
    angles_of,
    chance_of,
    question_name,
    turned_line,
)  # fmt: skip
from biasunlearn.runs.sections import Angles, ProbeQuestion, Probes

STAGES = {"": "Model", "before": "Before", "after": "After"}
CAPTIONS: dict[What, str] = {"direction": "Directions", "subspace": "Subspaces"}

ACCURACY_NOTE = (
    "Balanced accuracy, in percent, of linear classifiers of the hidden states at the words in which the two sentences "
    "of a pair differ. Columns are layers; layer 0 is the embeddings. More strongly shaded cells are farther above "
    "chance. Probes of stereotype, group and bias type are tested on target terms that they were not trained on, "
    "probes of target terms on other pairs. In the control task every wording has a random label, which can only be "
    "memorised. A frame marks cells whose accuracy exceeds that of the control task: the interval of the difference "
    "(selectivity) lies above 0."
)


def probe_sections(probes: Probes | None) -> list[Section]:
    """What the probes predict, and the angles between bias types; nothing where nothing was probed."""
    if probes is None:
        return []
    return [_accuracy_section(probes), *([_angle_section(probes)] if probes.angles else [])]


def _accuracy_section(probes: Probes) -> Section:
    layers = [str(layer) for layer in probes.layers]
    pictures = [_accuracy_map(probes, place, "accuracy", STAGES[stage]) for place, stage in enumerate(probes.stages)]
    pictures.append(_accuracy_map(probes, -1, "control", "Control task"))
    last = layers[-1]
    settings = probes.settings
    made = (
        f"Logistic regression, C = {settings.C:g} on vectors of unit norm, {settings.folds} folds, {settings.draws} "
        f"draws of each control, seed {settings.seed}; {probes.pairs:,} pairs; pooling over tokens: "
        f"{short(probes.pooling, 40)}."
    )
    left_out = [warning(short(line, 300)) for line in probes.left_out]
    others = [folded(f"The same for layer {layer}", html_table(accuracy_table(probes, layer))) for layer in layers[:-1]]
    return section("Linear probes of the hidden states", tag("div", pictures, class_="maps"),
                   tag("h3", f"Layer {last}, the last one probed"), html_table(accuracy_table(probes, last)),
                   tag("p", made, class_="note"), left_out, others, note=ACCURACY_NOTE)  # fmt: skip


def _accuracy_map(probes: Probes, place: int, what: Literal["accuracy", "control"], title: str) -> Markup:
    layers = [str(layer) for layer in probes.layers]
    rows = [(question_name(one), _accuracy_squares(one, layers, place, what)) for one in probes.questions]
    drawn = heatmap(f"{title}: accuracy by layer; the numbers are in the table below.", layers, rows, cell=40)
    return tag("figure", tag("figcaption", title), drawn)


def _accuracy_squares(
    question: ProbeQuestion, layers: Sequence[str], place: int, what: Literal["accuracy", "control"]
) -> list[Square]:
    squares, chance = [], question.chance
    for layer in layers:
        found = question.layers[layer].stages[place]
        value = (found.accuracy if what == "accuracy" else found.control).value
        framed = what == "accuracy" and found.selectivity.low > 0
        squares.append(Square(number(value, 0), (value - chance) / (100 - chance), framed))
    return squares


# --- angles ----------------------------------------------------------------------------------------------------------


def _angle_section(probes: Probes) -> Section:
    last = str(probes.layers[-1])
    note = (
        f"Angles in degrees at layer {last} between the directions of two bias types (the mean of stereotype minus "
        "anti-stereotype) and between their subspaces (the first principal components of these differences, which do "
        "not depend on which sentence is the stereotype). Every angle is measured between random halves of the data; "
        "the diagonal, framed, is the angle between two halves of one bias type. Two bias types share a direction to "
        "the extent that their angle is as small as the angles on the diagonal. More strongly shaded cells are farther "
        "below chance."
    )
    parts = _angle_maps(probes, last)
    if probes.angles[last].turned:
        parts.append(tag("p", turned_line(probes.angles[last])))
    others = [folded(f"The same for layer {layer}", _angle_maps(probes, layer)) for layer in list(probes.angles)[:-1]]
    return section("Angles between the bias types", parts, others, note=note)


def _angle_maps(probes: Probes, layer: str) -> list[Markup]:
    found = probes.angles[layer].stages
    parts = []
    for what, title in CAPTIONS.items():
        pictures = [
            tag("figure", tag("figcaption", STAGES[stage]), _angle_map(angles, what, f"{title} {stage}".strip()))
            for stage, angles in zip(probes.stages, found, strict=True)
        ]
        chance = number(chance_of(found[0], what), 0)
        parts += [tag("h3", f"{title} (expected by chance: {chance}°)"), tag("div", pictures, class_="maps")]
    return parts


def _angle_map(angles: Angles, what: What, title: str) -> Markup:
    found, chance = angles_of(angles, what), chance_of(angles, what)
    names = list(found)
    rows = [
        (one, [Square(number(found[one][other], 0), 1 - found[one][other] / chance, one == other) for other in names])
        for one in names
    ]
    listed = "; ".join(
        f"{short(one, 40)} and {short(other, 40)} {number(found[one][other], 0)}"
        for place, one in enumerate(names)
        for other in names[place:]
    )
    return heatmap(f"{title}, degrees: {listed}", names, rows, cell=72)
