"""What `debias --bias belief` works with: pairs and a benchmark of our own, and the settings that fit them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from biasunlearn.data.belief_pairs import belief_data

SETTINGS = ("invariance_weight=0", "swap_by=bias_type")
"""Changes of the recipe: the pairs are about no groups, so that there is nothing to replace in them."""


@dataclass(frozen=True, slots=True)
class BiasInputs:
    """Generated data, as `debias` takes them."""

    train: list[dict[str, Any]]
    report: list[dict[str, Any]]
    unrelated: list[str]
    benchmarks: Mapping[str, Any]


def bias_inputs(benchmarks: Mapping[str, Any]) -> BiasInputs:
    """The pairs and texts for belief bias, and the benchmarks with belief_bias among them.

    Args:
        benchmarks: those of the caller; belief_bias of theirs takes the place of the generated one.
    """
    data = belief_data()
    return BiasInputs(data.train, data.report, data.unrelated, {"belief_bias": data.benchmark, **benchmarks})
