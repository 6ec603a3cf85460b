"""How strongly a LoRA acts: a model with its adapter scaled, the scale that is best on the stop split, and its adapter.

Scale 0 is the model without the adapter, 1 is as it was learned.
"""

import contextlib
import json
import shutil
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from biasunlearn.errors import RequestError
from biasunlearn.models.spec import ModelSpec
from biasunlearn.runs.atomic import whole_folder

GRID = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""What a search looks at first; then half a step to either side of the best."""

HALF_STEP = 0.125

HIGHEST = 10.0
"""Beyond this a scale is a slip of the pen: a LoRA acts in proportion to it."""


@contextlib.contextmanager
def scaled(model: Any, scale: float, adapter: str) -> Iterator[None]:
    """The model with one of its LoRA adapters at another strength; every layer as it was afterwards."""
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
    own = getattr(module, "scaling", None)  # attention layers have a number of that name
    return own if isinstance(own, dict) else {}


@dataclass(frozen=True, slots=True)
class Look:
    """The stop split at one scale."""

    scale: float
    ss: float
    distance: float
    """Mean |SS - 50| over bias types: since 40 and 60 average to 50, this and not the SS is what is made small."""
    lms: float | None


def search(look: Callable[[float], Look], lms_floor: float) -> list[Look]:
    """Looks at the grid, then around its best. In the order of the scales."""
    found = {scale: look(scale) for scale in GRID}
    best = nearest(list(found.values()), lms_floor).scale
    for near in (best - HALF_STEP, best + HALF_STEP):
        if near > 0 and near not in found:
            found[near] = look(near)
    return [found[scale] for scale in sorted(found)]


def nearest(looks: Sequence[Look], lms_floor: float, among: Collection[float] | None = None) -> Look:
    """The look nearest 50 among those whose LMS has fallen by at most the floor from that of the smallest scale.

    Of equal ones the weaker. By hand: distances 8, 3, 1 and LMS 90, 89, 85 with a floor of 1.5 -> the second.

    Args:
        among: scales to choose from (default: all). Where none of them keeps the floor, the smallest.
    """
    ordered = sorted(looks, key=lambda look: look.scale)
    first = ordered[0].lms
    may = [look for look in ordered if among is None or look.scale in among]
    within = [look for look in may if look.lms is None or first is None or look.lms >= first - lms_floor]
    return min(within or may[:1], key=lambda look: look.distance)


def checked(scales: Sequence[float]) -> tuple[float, ...]:
    """Distinct scales in their order. RequestError for one that makes no sense."""
    for scale in scales:
        if not 0 <= scale <= HIGHEST:
            raise RequestError(f"--scale {scale:g}: must lie between 0 (off) and {HIGHEST:g}; 1 is as it was learned")
    return tuple(sorted(set(scales)))


def save_scaled(source: Path, folder: Path, scale: float, base: ModelSpec, more: Callable[[Path], None]) -> None:
    """A saved LoRA once more, for another model and at another strength. Its weights stay as they are, byte by byte:
    what changes is lora_alpha, so that whoever loads it sees how strong it is.

    Args:
        base: the model that the new adapter says it belongs to.
        more: writes what belongs beside it, in the folder that it is given.
    """
    config = json.loads((source / "adapter_config.json").read_text(encoding="utf-8"))
    config["lora_alpha"] *= scale
    config["alpha_pattern"] = {name: alpha * scale for name, alpha in (config.get("alpha_pattern") or {}).items()}
    config |= {"base_model_name_or_path": base.model, "revision": base.revision}
    with whole_folder(folder) as place:
        shutil.copyfile(source / "adapter_model.safetensors", place / "adapter_model.safetensors")
        (place / "adapter_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        more(place)
