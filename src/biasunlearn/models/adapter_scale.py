"""The strength of a LoRA: a model with a scaled adapter, the scale that is best on the stop split, the scaled adapter.

Scale 0 is the model without the adapter, 1 is as it was trained.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.adapter_files import adapter_config
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.atomic import whole_folder

GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""The scales that a search evaluates first; then half a step to either side of the best."""

HALF_STEP = 0.125

HIGHEST = 10.0
"""A larger scale is a typing error: a LoRA acts in proportion to it."""


@contextlib.contextmanager
def scaled(model: Any, scale: float, adapter: str) -> Iterator[None]:
    """The model with one of its LoRA adapters at another strength; restored at the end of the block."""
    layers = [(module, module.scaling[adapter]) for module in model.modules() if adapter in _scaling(module)]
    if not layers:
        raise RequestError(f"the model has no LoRA adapter called {adapter!r}")
    try:
        for module, own in layers:
            module.scaling[adapter] = own * scale
        yield
    finally:
        for module, own in layers:
            module.scaling[adapter] = own


def _scaling(module: Any) -> dict[str, float]:
    own = getattr(module, "scaling", None)  # attention layers have a number with that name
    return own if isinstance(own, dict) else {}


@dataclass(frozen=True, slots=True)
class ScaleScores:
    """Scores of the stop split at one scale."""

    scale: float
    ss: float
    distance: float
    """Mean |SS - 50| over bias types, which is minimised: the SS of types at 40 and 60 averages to 50."""
    lms: float | None


def search(evaluate: Callable[[float], ScaleScores], lms_floor: float) -> list[ScaleScores]:
    """Evaluates the grid, then half a step to either side of its best scale. Returns all, in ascending order."""
    found = {scale: evaluate(scale) for scale in GRID}
    best = nearest(list(found.values()), lms_floor).scale
    for near in (best - HALF_STEP, best + HALF_STEP):
        if near > 0 and near not in found:
            found[near] = evaluate(near)
    return [found[scale] for scale in sorted(found)]


def nearest(evaluated: Sequence[ScaleScores], lms_floor: float, among: Collection[float] | None = None) -> ScaleScores:
    """The scale with the smallest distance whose LMS is at most `lms_floor` below that of the smallest scale.

    Of equal ones the smallest. Example: distances 8, 3, 1 and LMS 90, 89, 85 with a floor of 1.5 -> the second.

    Args:
        among: scales to choose from (default: all). Where none of them satisfies the floor, the smallest.
    """
    ordered = sorted(evaluated, key=lambda one: one.scale)
    first = ordered[0].lms
    allowed = [one for one in ordered if among is None or one.scale in among]
    within = [one for one in allowed if one.lms is None or first is None or one.lms >= first - lms_floor]
    return min(within or allowed[:1], key=lambda one: one.distance)


def check_scales(scales: Sequence[float]) -> tuple[float, ...]:
    """Distinct scales in ascending order. RequestError for one out of range."""
    for scale in scales:
        if not 0 <= scale <= HIGHEST:
            raise RequestError(f"--scale {scale:g}: must lie between 0 (off) and {HIGHEST:g}; 1 is as it was trained")
    return tuple(sorted(set(scales)))


def save_scaled(source: Path, folder: Path, scale: float, base: ModelSpec, more: Callable[[Path], None]) -> None:
    """Saves a copy of a LoRA for another model and at another strength.

    The weights are copied unchanged; lora_alpha is scaled, so that the strength is visible in the configuration.

    Args:
        base: the model that the copy names as its base.
        more: writes further files into the folder that it is given.
    """
    config = adapter_config(source).scaled(scale)
    config = config.with_values(base_model_name_or_path=base.model, revision=base.revision)
    with whole_folder(folder) as place:
        shutil.copyfile(source / "adapter_model.safetensors", place / "adapter_model.safetensors")
        content = json.dumps(config.to_dict(), indent=2, sort_keys=True)
        (place / "adapter_config.json").write_text(content + "\n", encoding="utf-8")
        more(place)
