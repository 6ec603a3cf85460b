"""What every method is given, and what it gives back; and the search for a strength that some of them share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from biasunlearn.config import DebiasConfig
from biasunlearn.models.load import Loaded
from biasunlearn.unlearn.checkpoint import Keeper
from biasunlearn.unlearn.evaluation import Evaluation, StopScores
from biasunlearn.unlearn.sets import TrainingSets
from biasunlearn.unlearn.stop import distance
from biasunlearn.unlearn.trainer import Outcome


@dataclass(frozen=True, slots=True)
class Task:
    """A model to debias on these sets. Nothing here knows the report split."""

    loaded: Loaded
    sets: TrainingSets
    config: DebiasConfig
    keep: Keeper
    look: Callable[[Any], StopScores]
    """Scores the stop split with any state of the model."""
    first: StopScores
    """What `look` gives for the model as it came."""
    say: Callable[[str], None] = lambda _line: None
    on_step: Callable[[dict[str, Any]], None] | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """The debiased model. What has no `disable_adapter` is saved as a whole model."""

    model: Any
    outcome: Outcome
    search: list[dict[str, Any]] = field(default_factory=list)
    """What a search on the stop split found, a row for each candidate."""


def nearest(task: Task, candidates: Iterable[Any], state: Callable[[Any], Any]) -> tuple[Any, list[dict[str, Any]]]:
    """The candidate whose state is nearest to 50 on the stop split within the LMS floor; None: the model as it came.

    Args:
        state: makes the model of a candidate; it only has to last until the next one is made.
    Returns:
        The candidate, and a row for each: SS by bias type, LMS and distance (`swap.distance`).
    """
    rows = [_row(task, None, task.first)]
    rows += [_row(task, candidate, task.look(state(candidate))) for candidate in candidates]
    return min(rows, key=lambda row: row["distance"])["candidate"], rows


def _row(task: Task, candidate: Any, scores: StopScores) -> dict[str, Any]:
    evaluation = Evaluation(0, scores, lms_before=task.first.lms)
    return {"candidate": candidate, **scores.to_dict(), "distance": distance(evaluation, task.config)}


def chosen(what: str, candidate: Any, rows: list[dict[str, Any]]) -> Outcome:
    """How a search ended, in words."""
    tried = f"of {len(rows) - 1} tried on the stop split"
    if candidate is None:
        return Outcome(0, f"{what}: none {tried} came nearer to 50; the model is unchanged", 0, False)
    return Outcome(0, f"{what}: {candidate}, the nearest to 50 {tried}", 0, False)
