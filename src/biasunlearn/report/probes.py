"""What linear probes read, as a part of a run's page: heat maps first, then every number with its interval."""

from collections.abc import Mapping, Sequence
from typing import Any

from biasunlearn.report.charts.heatmap import Square, heatmap
from biasunlearn.report.html import Markup, name_of, short, tag
from biasunlearn.report.html_table import Cell, Head, estimate, number, table, with_small
from biasunlearn.report.page import folded, section, warning
from biasunlearn.report.terminal.probes import about

Results = Mapping[str, Any]

STAGES = {"": "As the model is", "before": "Before", "after": "After"}


def probe_sections(probes: Results | None) -> list[Markup]:
    """Two sections, or none where nothing was probed."""
    if not probes:
        return []
    found = [_read(probes)]
    return [*found, _apart(probes)] if probes["angles"] else found


def _read(probes: Results) -> Markup:
    layers = [str(layer) for layer in probes["layers"]]
    pictures = [_map(probes["questions"], layers, place, "accuracy", STAGES[stage])
                for place, stage in enumerate(probes["stages"])]  # fmt: skip
    pictures.append(_map(probes["questions"], layers, -1, "control", "Control task"))
    settings = probes["settings"]
    note = (
        "Balanced accuracy, in percent, of linear classifiers that read the hidden states at the words in which the "
        "two sentences of a pair differ. Columns are layers, 0 the embeddings, which know nothing but these words; the "
        "ground is the stronger the farther above chance. Stereotype, group and bias type are asked on target terms "
        "that the probe has not seen, target terms on unseen pairs. In the control task every wording has a label at "
        "random, which can only be known by heart; a frame: the interval of what is read beyond that lies above 0."
    )
    last = layers[-1]
    listed = _in_full(probes, last)
    others = [folded(f"The same for layer {layer}", _in_full(probes, layer)) for layer in layers[:-1]]
    made = f"Logistic regression, C {settings['C']:g} at unit norm, {settings['folds']} folds, {settings['draws']} \
draws of either control, seed {settings['seed']}; {probes['pairs']:,} pairs, {probes['pooling']} of the tokens."
    left = [warning(short(line, 300)) for line in probes["left_out"]]
    return section("What the hidden states give away", tag("div", pictures, class_="maps"),
                   tag("h3", f"Layer {last}, the last one that was read"), listed, tag("p", made, class_="note"),
                   left, others, note=note)  # fmt: skip


def _map(questions: Sequence[Results], layers: Sequence[str], place: int, what: str, title: str) -> Markup:
    rows = []
    for question in questions:
        found = [question["layers"][layer]["stages"][place] for layer in layers]
        chance = question["chance"]
        rows.append((about(question), [
            Square(number(one[what]["value"], 0), (one[what]["value"] - chance) / (100 - chance),
                   what == "accuracy" and one["selectivity"]["low"] > 0) for one in found
        ]))  # fmt: skip
    drawn = heatmap(f"{title}: accuracy by layer; the numbers stand below.", layers, rows, wide=40)
    return tag("figure", tag("figcaption", title), drawn)


def _in_full(probes: Results, layer: str) -> Markup:
    both = len(probes["stages"]) > 1
    heads = [Head("what is read", kind="word"), Head("sentences"), Head("chance")]
    heads += [Head("before"), Head("after"), Head("change")] if both else [Head("accuracy")]
    heads += [Head("control"), Head("selectivity"), Head("shuffled")]
    rows = []
    for question in probes["questions"]:
        found = question["layers"][layer]
        last = found["stages"][-1]
        change = [_signed(found["change"]["accuracy"])] if both else []
        rows.append([
            Cell(name_of(about(question), 60)), Cell(f"{question['sentences']:,}", question["sentences"]),
            estimate({"value": question["chance"]}), *(estimate(stage["accuracy"]) for stage in found["stages"]),
            *change, estimate(last["control"]), _signed(last["selectivity"]), estimate(last["shuffled"]),
        ])  # fmt: skip
    return table(f"Balanced accuracy of linear probes at layer {layer}, percent", heads, rows)


def _signed(found: Mapping[str, float]) -> Cell:
    value = number(found["value"], 1, signed=True)
    return Cell(with_small(value, f"{number(found['low'])} to {number(found['high'])}"), found["value"])


# --- angles -----------------------------------------------------------------------------------------------------------


def _apart(probes: Results) -> Markup:
    last = str(probes["layers"][-1])
    note = (
        f"Angles in degrees at layer {last} between two bias types' directions (the mean of stereotype less "
        "anti-stereotype) and between their subspaces (the first principal components of these differences, which do "
        "not know which of two sentences is the stereotype). Every angle is one between random halves; framed, on the "
        "diagonal, two halves of one type. Two types share a direction as far as their angle is as small as the frames "
        "of both. The stronger the ground, the farther below what chance gives."
    )
    parts = _both(probes, last)
    turned = probes["angles"][last]["turned"]
    if turned:
        said = ", ".join(f"{short(name, 40)} {number(degrees, 0)}°" for name, degrees in turned.items())
        parts.append(tag("p", f"By how far debiasing turned each direction: {said}."))
    others = [folded(f"The same for layer {layer}", _both(probes, layer)) for layer in list(probes["angles"])[:-1]]
    return section("How far the bias types lie apart", parts, others, note=note)


def _both(probes: Results, layer: str) -> list[Markup]:
    found = probes["angles"][layer]["stages"]
    parts = []
    for what, title in (("direction", "Directions"), ("subspace", "Subspaces")):
        pictures = [
            tag("figure", tag("figcaption", STAGES[stage]), _matrix(tables, what, f"{title} {stage}".strip()))
            for stage, tables in zip(probes["stages"], found, strict=True)
        ]
        chance = number(found[0]["chance"][what]["value"], 0)
        parts += [tag("h3", f"{title}, chance {chance}°"), tag("div", pictures, class_="maps")]
    return parts


def _matrix(tables: Results, what: str, title: str) -> Markup:
    found, chance = tables[what], tables["chance"][what]["value"]
    names = list(found)
    rows = [
        (one, [Square(number(found[one][other]["value"], 0), 1 - found[one][other]["value"] / chance, one == other)
               for other in names])
        for one in names
    ]  # fmt: skip
    angles = "; ".join(
        f"{short(one, 40)} and {short(other, 40)} {number(found[one][other]['value'], 0)}"
        for place, one in enumerate(names) for other in names[place:]
    )  # fmt: skip
    return heatmap(f"{title}, degrees: {angles}", names, rows, wide=72)
