"""Number of steps and learning rate for a small file: a few dozen pairs would be read a hundred times otherwise."""

import math
from dataclasses import replace

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.sets import TrainingSets


def fitted(config: DebiasConfig, sets: TrainingSets) -> DebiasConfig:
    """The configuration with the number of steps, warm-up and learning rate that fit the number of training pairs.

    At most `max_epochs` passes are made. With a share s of `max_steps`, the warm-up is shortened to s of its steps, and
    the learning rate is multiplied by sqrt(s), since a step on few pairs is less certain. Where the pairs suffice for
    `max_steps`, nothing changes.

    By hand: 26 pairs, 16 a step, 30 epochs: 49 steps of 200. Warm-up 10 * 0.245 = 2, learning rate 1e-3 * 0.495.
    """
    steps = math.ceil(config.max_epochs * pair_count(sets) / config.forget_batch)
    if steps >= config.max_steps:
        return config
    share = steps / config.max_steps
    warmup = min(config.warmup, max(1, round(config.warmup * share)))
    return replace(config, max_steps=steps, warmup=warmup, learning_rate=config.learning_rate * math.sqrt(share))


def pair_count(sets: TrainingSets) -> int:
    """Training pairs, with the adversarial ones."""
    return sum(len(pairs) for pairs in sets.pairs.values())


def small_data_finding(config: DebiasConfig, sets: TrainingSets) -> list[str]:
    """What `fitted` changed, one line for the user; none where it changed nothing."""
    found = fitted(config, sets)
    if found == config:
        return []
    return [
        f"{pair_count(sets)} training pairs: at most {found.max_steps} steps ({config.max_epochs} epochs) instead of "
        f"{config.max_steps}, at a learning rate of {found.learning_rate:.2g} instead of {config.learning_rate:.2g}"
    ]
