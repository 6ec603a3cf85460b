"""Evaluations and decisions with few words, for the tables of test_swap, test_stop and test_decision."""

from collections.abc import Iterable
from typing import Any

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.decision import Decision
from biasunlearn.unlearn.evaluation import BiasTypeScore, Evaluation, StopScores


def config(**changes: Any) -> DebiasConfig:
    """The numbers that the tables are worked with, whatever the defaults are."""
    pinned = {
        "swap": "proportional", "swap_band": 6.0, "swap_noise": 0.0, "focus": "all", "stop_rule": "point",
        "margin": 2.0, "confirm": 1, "interval_margin": 6.0, "lms_floor": 1.5, "collapse_lms": 8.0,
        "collapse_ratio": 60.0,
    }  # fmt: skip
    return DebiasConfig(**{**pinned, **changes})


def score(ss: float, width: float = 3.0) -> BiasTypeScore:
    """SS whose 95 % interval reaches `width` points to both sides."""
    return BiasTypeScore(ss, ss - width, ss + width, width / 1.96)


def evaluation(scores: dict[str, float], *, width: float = 3.0, lms: float | None = 90.0, **others: Any) -> Evaluation:
    """An evaluation at step 20; LMS was 90 before training."""
    found = StopScores({name: score(ss, width) for name, ss in scores.items()}, lms)
    return Evaluation(**{"step": 20, "scores": found, "lms_before": 90.0, **others})


def start(bias_types: Iterable[str]) -> Decision:
    """The start of the paper: every bias type at full swap weight, nothing exchanged."""
    return Decision(dict.fromkeys(bias_types, 1.0))
