"""The peak learning rate of a run whose recipe leaves it open (`learning_rate: 0`): less for a larger model."""

import math
from dataclasses import replace
from typing import Any

from biasunlearn.config import DebiasConfig
from biasunlearn.method_defaults import LARGEST_RATE, RATES

SMALL_MODEL = 11_000_000
"""Weights outside the embeddings. The rates of `method_defaults.py` were chosen on a model of that size."""


def rate_for(weights: int, method: str = "biasunlearn") -> float:
    """The peak learning rate of a method on a model with so many weights outside its embeddings.

    r * sqrt(11e6 / weights), and never above r, which is 1e-3 for the default method. By hand: 11 million weights 1e-3,
    44 million 5e-4, 1.1 billion 1e-4. docs/evidence.md has the runs behind it. That the rates of other methods fall in
    the same way was not tested.
    """
    return RATES.get(method, LARGEST_RATE) * min(1.0, math.sqrt(SMALL_MODEL / weights))


def weight_count(model: Any) -> int:
    """Weights of a transformers model outside its embeddings, without those of an adapter that is being trained."""
    from biasunlearn.models.adapters import trainable
    from biasunlearn.models.forward import unwrapped

    inner = unwrapped(model)
    if not hasattr(inner, "peft_config"):
        return max(1, int(inner.num_parameters(exclude_embeddings=True)))
    adapter = sum(value.numel() for value in trainable(inner).values())
    return max(1, int(inner.get_base_model().num_parameters(exclude_embeddings=True)) - adapter)


def with_rate(config: DebiasConfig, model: Any) -> DebiasConfig:
    """The configuration with a learning rate: the given one, or that of method and model size where it is 0."""
    if config.learning_rate:
        return config
    return replace(config, learning_rate=rate_for(weight_count(model), config.method))


def rate_finding(config: DebiasConfig, model: Any) -> list[str]:
    """What `with_rate` chose, one line for the user, where it is not the rate of a small model."""
    chosen, largest = with_rate(config, model), rate_for(1, config.method)
    if chosen == config or chosen.learning_rate == largest:
        return []
    return [
        f"{weight_count(model):,} weights outside the embeddings: the learning rate is {chosen.learning_rate:.2g}, and "
        f"{largest:.2g} for a small model (learning_rate: 0)"
    ]
