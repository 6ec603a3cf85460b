"""How often the swap rule moves a bias type that is even, and how near it brings one that is not: a simulation.

    python evidence/simulate_swap.py

Each bias type is a plant without a model. Its true SS s changes by

    ds = rate(step) * (-EFFECT * swap weight + RETURN * (base SS - s))        points a step

where rate is the cosine schedule of the learning rate, and the second term is the pull of the KL term towards the base
model. An evaluation of the stop split reads s plus an error. Most of the error is the same in every evaluation of a
run, since the target terms of a stop split are drawn once; a fifth of its standard deviation is new each time.
The weights come from the controller of training itself (unlearn/decision.py). EFFECT and RETURN are rough values of a
16 M model (race: 10 points within 75 steps at full weight; 9 points back within 25 steps without weight is the fastest
return that was seen, and a third of it is assumed here).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.decision import decide, first_decision
from biasunlearn.unlearn.evaluation import BiasTypeScore, Evaluation, StopScores
from biasunlearn.unlearn.trainer import share_of_peak

EFFECT, RETURN = 0.2, 0.015
NEW_EACH_TIME = 0.2
INTERVAL = 1.96


@dataclass(frozen=True, slots=True)
class Course:
    """How a simulated bias type began and ended: [replicates] each, in points of SS."""

    base: float
    final: np.ndarray
    trained_up: np.ndarray
    """Sum of negative swap weights times rate: how much it was trained towards the stereotype."""

    @property
    def moved_away(self) -> float:
        """Percent of replicates that end further from 50 than they began, by more than one point."""
        return 100 * float(np.mean(abs(self.final - 50) > abs(self.base - 50) + 1))

    @property
    def towards_stereotype(self) -> float:
        """Percent of replicates that end more than one point above the base."""
        return 100 * float(np.mean(self.final > self.base + 1))

    @property
    def distance(self) -> float:
        """Mean |SS - 50| at the end."""
        return float(np.mean(abs(self.final - 50)))


def simulate(base: float, error: float, config: DebiasConfig, *, replicates: int = 400, seed: int = 0) -> Course:
    """Runs the controller against bias types whose true SS begins at `base`.

    Args:
        error: standard error of SS on the stop split, in points, of which the controller knows.
    """
    rng = np.random.default_rng(seed)
    names = [str(number) for number in range(replicates)]
    lasting = rng.normal(0, error * np.sqrt(1 - NEW_EACH_TIME**2), replicates)
    true, up = np.full(replicates, float(base)), np.zeros(replicates)

    def evaluation(step: int) -> Evaluation:
        read = true + lasting + rng.normal(0, error * NEW_EACH_TIME, replicates)
        half = INTERVAL * error
        scores = {name: BiasTypeScore(ss, ss - half, ss + half, error) for name, ss in zip(names, read, strict=True)}
        return Evaluation(step, StopScores(scores, None), None)

    decision = first_decision(evaluation(0), config)
    for step in range(1, config.max_steps + 1):
        weights = np.array([decision.swap_weights[name] for name in names])
        rate = share_of_peak(step, config)
        true += rate * (RETURN * (base - true) - EFFECT * weights)
        up += rate * np.maximum(0, -weights)
        if step % config.evaluate_every == 0:
            decision = decide(decision, evaluation(step), config)
    return Course(base, true, up)


def table(noises: Sequence[float], bases: Sequence[float], errors: Sequence[float]) -> None:
    """Prints a row for every value of `swap_noise`, base and standard error."""
    print("swap_noise | base SS | standard error | moved away from 50 | towards the stereotype | mean |SS - 50| after")
    for base in bases:
        for error in errors:
            for swap_noise in noises:
                found = simulate(base, error, replace(DebiasConfig(), swap_noise=swap_noise))
                print(
                    f"{swap_noise:10g} | {base:7g} | {error:14g} | {found.moved_away:16.1f} % | "
                    f"{found.towards_stereotype:20.1f} % | {found.distance:.1f}"
                )


if __name__ == "__main__":
    table((0.0, 1.0, 1.5, 2.0), (50.0, 53.0, 56.0, 60.0), (1.5, 2.5, 5.0))
