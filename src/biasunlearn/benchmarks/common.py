"""What the results of every benchmark have: scores overall, by bias type and by other groups, from its outcomes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol, Self, TypeVar

from biasunlearn.data.records import Passage
from biasunlearn.errors import UnscorableError
from biasunlearn.runs.results import BiasTypeScores, PanelResult
from biasunlearn.scoring.protocol import EvalPlan
from biasunlearn.stats.bootstrap import summarize
from biasunlearn.stats.outcome import Outcome

Result = TypeVar("Result", bound=PanelResult)
Scores = TypeVar("Scores")


class Data(Protocol):
    """What was read for a benchmark: a `Table`, or a `DataFile` of triplets."""

    @property
    def records(self) -> tuple[Any, ...]: ...

    def without(self, reasons: Mapping[int, str], *, skip_invalid: bool) -> Self: ...


Read = TypeVar("Read", bound=Data)


def score_usable(
    data: Read, score: Callable[[Read], Scores], passages: Callable[[Any], Iterable[Passage]], plan: EvalPlan
) -> tuple[Read, Scores]:
    """Scores data, and leaves out records that the model cannot score: too long for it, or without a token.

    Args:
        score: scores all records of its data.
        passages: what is scored of a record.
    Returns:
        The data without such records, which are listed in `skipped`, and the scores.
    Raises:
        DataError: there are such records, and `plan.skip_invalid` is off. It names every one by its place.
    """
    try:
        return data, score(data)
    except UnscorableError as error:
        usable = _without(data, error, passages, plan)
    return score_usable(usable, score, passages, plan)


def only_scorable(
    data: Read, check: Callable[[list[Passage]], None], passages: Callable[[Any], Iterable[Passage]], plan: EvalPlan
) -> Read:
    """The data without records that the model cannot score. Nothing is scored. Raises as `score_usable`.

    Args:
        check: raises UnscorableError where a model cannot score some of the passages.
    """
    try:
        check([passage for record in data.records for passage in passages(record)])
    except UnscorableError as error:
        return _without(data, error, passages, plan)
    return data


def _without(
    data: Read, error: UnscorableError, passages: Callable[[Any], Iterable[Passage]], plan: EvalPlan
) -> Read:
    """The data without the records of which the error names a passage; the error itself where it names none."""
    reasons = {}
    for number, record in enumerate(data.records):
        if reason := next((error.reasons[one] for one in passages(record) if one in error.reasons), None):
            reasons[number] = reason
    if not reasons:
        raise error
    return data.without(reasons, skip_invalid=plan.skip_invalid)


def panel(
    kind: type[Result],
    found: Sequence[Outcome],
    *,
    version: int,
    formulation: str,
    ideal: Mapping[str, float | None],
    groups: Mapping[str, Sequence[Outcome]] | None = None,
    **own: Any,
) -> Result:
    """Scores overall, per bias type, and per group of any other grouping that the benchmark has.

    Args:
        kind: the benchmark's type of results.
        found: outcomes; those of scores that are not in `ideal` are left out.
        ideal: {score: its ideal value, or None where there is none to name}.
        groups: {grouping: outcomes whose bias_type names the group}, e.g. by direction.
        own: the other fields of `kind`.
    Returns:
        A result in which a score without outcomes is None.
    """

    def chosen(outcomes: Sequence[Outcome]) -> list[Outcome]:
        return [outcome for outcome in outcomes if outcome.score in ideal]

    row: Any = kind.model_fields["overall"].annotation  # the benchmark's own type of scores
    summary = summarize(chosen(found))
    beside = {
        name: {group: BiasTypeScores.of(one, ideal) for group, one in summarize(chosen(of)).bias_types.items()}
        for name, of in (groups or {}).items()
    }
    return kind.model_validate({
        "version": version,
        "formulation": formulation,
        "ideal": dict(ideal),
        "n": summary.n,
        "overall": row.of(summary.overall, ideal),
        "bias_types": {name: row.of(one, ideal) for name, one in summary.bias_types.items()},
        "groups": beside,
        **own,
    })  # fmt: skip
