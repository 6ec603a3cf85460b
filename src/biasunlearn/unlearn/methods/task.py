"""The input and the result of every method, and the search for a strength that some methods share."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from biasunlearn.config import DebiasConfig
from biasunlearn.models.load import Loaded
from biasunlearn.runs.sections import Candidate
from biasunlearn.unlearn.checkpoint import Checkpointer
from biasunlearn.unlearn.evaluation import Evaluation, StopScores, lms_fall_error
from biasunlearn.unlearn.sequential import SequentialEvaluator
from biasunlearn.unlearn.sets import TrainingSets
from biasunlearn.unlearn.stop import distance
from biasunlearn.unlearn.trainer import TrainingOutcome


@dataclass(frozen=True, slots=True)
class Task:
    """A model to debias with these sets. The report split is not part of it."""

    loaded: Loaded
    sets: TrainingSets
    config: DebiasConfig
    checkpointer: Checkpointer
    evaluate: Callable[[Any], StopScores]
    """Scores the stop split with a model."""
    base_scores: StopScores
    """The scores of the base model."""
    say: Callable[[str], None] = lambda _line: None
    on_step: Callable[[dict[str, Any]], None] | None = None
    sequential: Callable[[Any], SequentialEvaluator] | None = None
    """With `evaluation: sequential`: how a model in training is evaluated."""


@dataclass(frozen=True, slots=True)
class MethodResult:
    """The debiased model. A model without `disable_adapter` is saved as a whole."""

    model: Any
    outcome: TrainingOutcome
    search: list[Candidate] = field(default_factory=list)
    """The candidates of a search on the stop split with their scores."""


def nearest(task: Task, candidates: Iterable[Any], state: Callable[[Any], Any]) -> tuple[Any, list[Candidate]]:
    """The candidate with the smallest distance from the goal on the stop split; None: the base model.

    Args:
        state: makes the model of a candidate; it is not used any more once the next one is made.
    Returns:
        The candidate, and a row for each: SS by bias type, LMS and distance (`stop.distance`).
    """
    rows = [candidate_row(task, None, task.base_scores)]
    rows += [candidate_row(task, candidate, task.evaluate(state(candidate))) for candidate in candidates]
    return min(rows, key=lambda row: row.distance).candidate, rows


def candidate_row(task: Task, candidate: Any, scores: StopScores) -> Candidate:
    """A candidate with its scores on the stop split: SS by bias type, LMS and distance."""
    error = lms_fall_error(task.base_scores.meaningful, scores.meaningful)
    evaluation = Evaluation(0, scores, lms_before=task.base_scores.lms, fall_error=error)
    far = distance(evaluation, task.config)
    return Candidate(candidate=candidate, ss=scores.ss, lms=scores.lms, distance=far)


def search_outcome(what: str, candidate: Any, rows: list[Candidate]) -> TrainingOutcome:
    """How a search ended: which candidate it found."""
    tried = f"of {len(rows) - 1} tried on the stop split"
    if candidate is None:
        return TrainingOutcome(0, f"{what}: none {tried} is nearer to 50; the model is unchanged", 0, False)
    return TrainingOutcome(0, f"{what}: {candidate}, the nearest to 50 {tried}", 0, False)
