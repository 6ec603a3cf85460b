"""The course of training as a part of a run's page: scores on the stop split and losses, step by step."""

import math
from collections.abc import Iterable, Sequence

from biasunlearn.report.charts.curves import Curve, Events, curve_panel, own_axis, score_axis, step_axis
from biasunlearn.report.formatting import short
from biasunlearn.report.html import Markup, tag
from biasunlearn.report.page import Section, section
from biasunlearn.runs.results import Results
from biasunlearn.runs.run_files import MetricsRow

SWAP_NOTE = "Triangles mark steps at which the forget and retain sets of a bias type were exchanged."
START_NOTE = "The horizontal line in the forget loss is its initial value, (2 / β) log 2."


def training_sections(results: Results, metrics: Sequence[MetricsRow], margin: float) -> list[Section]:
    """The section, or nothing where the run did not train.

    Args:
        margin: points around 50 that count as reached.
    """
    checks = [row for row in metrics if row.ss]
    losses = [row for row in metrics if row.loss_forget is not None]
    stopped = results.stopped
    events = Events(stopped.best_step, stopped.step) if stopped else Events()
    beta = results.config.beta if results.config else None
    parts: list[Markup] = []
    if len(checks) > 1:
        parts += [tag("h3", "Stereotype score on the stop split"), _panels(_score_panels(checks, margin, events))]
    if len(losses) > 1:
        panels = [*_loss_panels(losses, beta, events), *_lms_panel(checks, events)]
        parts += [tag("h3", "Unweighted losses, and LMS on the stop split"), _panels(panels)]
    if not parts:
        return []
    start = [START_NOTE] if beta and len(losses) > 1 else []
    return [section("Training", parts, note=" ".join([*_end(results), SWAP_NOTE, *start]))]


def _end(results: Results) -> list[str]:
    """How training ended, in words."""
    stopped = results.stopped
    if stopped is None:
        return []
    kept = "" if stopped.best_step is None else f" The adapter of step {stopped.best_step} was kept (dashed line)."
    return [f"Stopped at step {stopped.step}: {short(stopped.reason, 300)}.{kept}"]


def _score_panels(checks: Sequence[MetricsRow], margin: float, events: Events) -> list[Markup]:
    """SS of each bias type at every evaluation, all on the same axis."""
    curves = []
    for name in checks[0].ss or ():
        points = [(float(row.step), float(row.ss[name])) for row in checks if row.ss and name in row.ss]
        swaps = [row.step for row in checks if row.decision and _swapped(name, row.decision.swapped)]
        curves.append(Curve(name, points, is_name=True, level=50.0, band=margin, swaps=swaps))
    axis, steps = score_axis(curves, 50.0, margin), step_axis([row.step for row in checks], events)
    return [curve_panel(curve, steps, axis, events) for curve in curves]


def _swapped(bias_type: str, parts: Sequence[str]) -> bool:
    """Whether the sets of a bias type, or of a subgroup of it, were exchanged."""
    return any(part == bias_type or part.startswith(f"{bias_type}/") for part in parts)


def _loss_panels(rows: Sequence[MetricsRow], beta: float | None, events: Events) -> list[Markup]:
    """The losses: single steps thin, their running mean strong."""
    start = 2 / beta * math.log(2) if beta else None
    curves = [
        Curve("forget", _points((row.step, row.loss_forget) for row in rows), level=start, smooth=True),
        Curve("retain", _points((row.step, row.loss_retain) for row in rows), smooth=True),
        Curve("KL", _points((row.step, row.loss_kl) for row in rows), level=0.0, smooth=True),
        Curve("invariance", _points((row.step, row.loss_invariance) for row in rows), level=0.0, smooth=True),
        Curve("orthogonal", _points((row.step, row.loss_orthogonal) for row in rows), level=0.0, smooth=True),
    ]
    steps = step_axis([row.step for row in rows], events)
    return [curve_panel(curve, steps, own_axis(curve), events) for curve in curves if len(curve.points) > 1]


def _lms_panel(checks: Sequence[MetricsRow], events: Events) -> list[Markup]:
    curve = Curve("LMS", _points((row.step, row.lms) for row in checks))
    if len(curve.points) < 2:
        return []
    steps = step_axis([row.step for row in checks], events)
    return [curve_panel(curve, steps, own_axis(curve, least=2.0), events)]


def _points(pairs: Iterable[tuple[int, float | None]]) -> list[tuple[float, float]]:
    """The finite ones."""
    return [(float(step), float(y)) for step, y in pairs if y is not None and math.isfinite(y)]


def _panels(panels: Sequence[Markup]) -> Markup:
    return tag("div", panels, class_="panels")
