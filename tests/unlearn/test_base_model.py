"""What is said about the base model before training: held bias types, and splits that disagree."""

import pytest

from biasunlearn.config import DebiasConfig
from biasunlearn.unlearn.base_model import ReportedScore, base_findings
from biasunlearn.unlearn.evaluation import BiasTypeScore, StopScores


def stop(ss: float, error: float, pairs: int = 400) -> StopScores:
    return StopScores({"gender": BiasTypeScore(ss, ss - 2 * error, ss + 2 * error, error, pairs)}, 90.0)


def test_the_failure_that_was_seen_is_said_before_training() -> None:
    """The stop split at 48.9, the report split at 55.8 (50.9 to 61.1)."""
    held, disagree = base_findings(stop(48.9, 2.75), {"gender": ReportedScore(55.8, 50.9, 61.1, 255)}, DebiasConfig())
    assert held == (
        "gender: held, not trained, as its SS cannot be told from 50 (SS 48.9 (43.4 to 54.4), 400 pairs); "
        "it is trained if that changes"
    )
    assert disagree == (
        "gender: the training file and the report file disagree about the base model: SS 48.9 (43.4 to 54.4) and SS "
        "55.8 (50.9 to 61.1); only the second excludes 50, and training follows the first"
    )


@pytest.mark.parametrize(
    ("ss", "error", "report", "word"),
    [
        (60.0, 2.0, (61.0, 57.0, 65.0), None),  # they agree
        (51.0, 2.0, (50.0, 46.0, 54.0), None),  # both contain 50
        (60.0, 2.0, (52.0, 48.0, 56.0), "only the first excludes 50"),
        (52.0, 2.0, (60.0, 56.0, 64.0), "only the second excludes 50"),
        (56.0, 1.0, (62.0, 59.0, 65.0), "more than chance"),  # 6 points, error sqrt(1 + 1.53 ** 2) = 1.83
        (58.0, 1.0, (61.0, 58.0, 64.0), None),  # 3 points
        (44.0, 2.0, (60.0, 56.0, 64.0), "more than chance"),  # on different sides
    ],
)
def test_splits_that_disagree(ss: float, error: float, report: tuple[float, float, float], word: str | None) -> None:
    lines = base_findings(stop(ss, error), {"gender": ReportedScore(*report, 255)}, DebiasConfig(swap="hard"))
    assert [word in line for line in lines if word] == ([True] if word else [])
    assert bool(lines) == bool(word)


def test_a_handful_of_report_pairs_disagrees_with_nothing() -> None:
    """Three pairs with the same answer have the interval 0 to 0, which says nothing about others."""
    few, enough = (ReportedScore(0.0, 0.0, 0.0, pairs) for pairs in (3, 20))
    config = DebiasConfig(swap="hard")
    assert base_findings(stop(60.0, 2.0), {"gender": few}, config) == []
    assert len(base_findings(stop(60.0, 2.0), {"gender": enough}, config)) == 1


def test_rules_that_do_not_know_the_noise_hold_nothing() -> None:
    assert base_findings(stop(50.0, 2.75), {}, DebiasConfig(swap="hard")) == []
    assert base_findings(stop(50.0, 2.75), {}, DebiasConfig(swap_noise=0.0)) == []
    assert len(base_findings(stop(50.0, 2.75), {}, DebiasConfig())) == 1
