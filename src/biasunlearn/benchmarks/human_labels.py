"""Labels by people for judged answers: which answers they label, and the shares corrected by what they said."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from biasunlearn.benchmarks.judged_scores import Share, is_unscored
from biasunlearn.data.label_table import AnswerToLabel
from biasunlearn.runs.judged_results import Corrected
from biasunlearn.runs.responses import ResponseRecord
from biasunlearn.runs.scores import Interval
from biasunlearn.scoring.rubrics import LETTERS, RUBRICS, Judged, Rubric
from biasunlearn.stats.bootstrap import Estimate, Floats, resample
from biasunlearn.stats.judging import LabelledArm, corrected_difference, corrected_share
from biasunlearn.stats.label_sample import draw_sample, human_labels
from biasunlearn.stats.stereoset import Item


class WrongLabel(ValueError):
    """A label that is none of the choices."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """The label that people gave an answer."""

    label: str | None = None
    score: float | None = None


def answer_id(benchmark: str, item: str, text: str) -> str:
    """The id of an answer to a question: equal answers of two models have the same, and it tells nothing else."""
    return hashlib.sha256("\n".join((benchmark, item, text.strip())).encode()).hexdigest()[:16]


def items_to_label(items: Sequence[Item], shares: Mapping[str, Share], size: int, seed: int) -> dict[str, Item]:
    """{id: item} of a sample of the scored answers of one model, of `size` answers for each share."""
    found: dict[str, Item] = {}
    for share in shares.values():
        by_id = {_id(item): item for item, _ in _about(items, share)}
        verdicts = {_id(item): verdict for item, verdict in _about(items, share)}
        found |= {name: by_id[name] for name in draw_sample(verdicts, size, seed=seed)}
    return found


def to_label(name: str, record: ResponseRecord) -> AnswerToLabel:
    """An answer as people see it. The choices stand in an order drawn from its id."""
    rubric = RUBRICS[record.rubric or ""]
    beside = [f"{what.capitalize()}: {text}" for what, text in record.references.items() if what not in rubric.labels]
    question = "\n\n".join([record.question, *beside])
    return AnswerToLabel(name, record.benchmark, question, record.text, _choices(rubric, name, record.references))


def read_label(rubric: Rubric, name: str, written: str) -> Labelled:
    """The label that somebody wrote for an answer: a letter of its choices, or a number.

    Raises:
        WrongLabel: it is neither.
    """
    if rubric.kind == "number":
        try:
            score = float(written.replace(",", "."))
        except ValueError:
            score = float("nan")
        if not rubric.lowest <= score <= rubric.highest:
            raise WrongLabel(f"must be a number from {rubric.lowest:g} to {rubric.highest:g}")
        return Labelled(score=score)
    order = _order(rubric, name)
    place = LETTERS.find(written.strip(" .)'").upper() or "?")
    if not 0 <= place < len(order):
        raise WrongLabel(f"must be one of the letters {', '.join(LETTERS[: len(order)])}")
    return Labelled(label=order[place])


def corrected_shares(
    items: Sequence[Item], shares: Mapping[str, Share], labels: Mapping[str, Labelled], size: int, seed: int
) -> dict[str, Corrected]:
    """Every share of one model, corrected for the errors of the judge where enough answers have labels.

    Only labels of the model's own sample count (`items_to_label` with the same size and seed): the others were drawn
    for another model, and are no random sample of this one's answers.
    """
    drawn = items_to_label(items, shares, size, seed)
    found = {}
    for score, share in shares.items():
        about = list(_about(items, share))
        if not about:
            continue
        verdicts = {_id(item): verdict for item, verdict in about}
        said = {
            name: answer for name, item in drawn.items()
            if name in labels and (answer := share(_with_label(item, labels[name]))) is not None
        }  # fmt: skip
        sample = resample(
            np.array([[float(verdict)] for _, verdict in about]), [item.target for item, _ in about],
            [item.bias_type for item, _ in about],
        )  # fmt: skip
        judged = np.concatenate([sample.means, sample.widest(lambda means: means[..., 0])])
        corrected = corrected_share(judged, human_labels(verdicts, said))
        if corrected is not None:
            found[score] = Corrected(
                judged=_percent(sample.estimate(lambda means: means[..., 0])), share=_percent(corrected.share),
                sensitivity=_percent(corrected.sensitivity), specificity=_percent(corrected.specificity),
                labels=corrected.labels, drawn=len(verdicts.keys() & drawn.keys()),
            )  # fmt: skip
    return found


def corrected_changes(
    before: Sequence[Item], after: Sequence[Item], shares: Mapping[str, Share], labels: Mapping[str, Labelled],
    size: int, seed: int,
) -> dict[str, tuple[Interval, Interval]]:  # fmt: skip
    """{share: (after - before as the judge has it, the same corrected)}, in points; see `corrected_difference`."""
    found = {}
    for score, share in shares.items():
        about = [{item.item_id: (item, verdict) for item, verdict in _about(arm, share)} for arm in (before, after)]
        if not all(about):
            continue
        questions = sorted({*about[0], *about[1]})
        items = [(about[0].get(name) or about[1][name])[0] for name in questions]
        rows = [[value for arm in about for value in _verdict_row(arm.get(name))] for name in questions]
        sample = resample(np.array(rows), [item.target for item in items], [item.bias_type for item in items])
        parts = [part for part in (sample.clustered, sample.items) if part is not None]
        known = [part[(part[:, 1] > 0) & (part[:, 3] > 0)] for part in parts]
        drawn = max(known, key=lambda part: float(np.std(_judged_change(part))))
        every = np.concatenate([sample.means[None], drawn])
        arms = [
            LabelledArm(every[:, 2 * n] / every[:, 2 * n + 1], _said(arm, share, labels, size, seed))
            for n, arm in enumerate((before, after))
        ]  # fmt: skip
        judged, corrected = _percent(sample.estimate(_judged_change)), corrected_difference(*arms)
        change = None if corrected is None else _percent(corrected)
        if judged is not None and change is not None:
            found[score] = judged, change
    return found


def _said(
    items: Sequence[Item], share: Share, labels: Mapping[str, Labelled], size: int, seed: int
) -> dict[str, tuple[bool, bool]]:
    """{question: (the judge's verdict, that of people)} of the labelled answers in a model's own sample."""
    drawn = items_to_label(items, {"": share}, size, seed)
    found = {}
    for item, verdict in _about(items, share):
        name = _id(item)
        if name in drawn and name in labels and (said := share(_with_label(item, labels[name]))) is not None:
            found[item.item_id] = verdict, said
    return found


def _verdict_row(found: tuple[Item, bool] | None) -> tuple[float, float]:
    """(verdict, 1), and zeros for an answer without one: their sums give the share among answers with a verdict."""
    return (0.0, 0.0) if found is None else (float(found[1]), 1.0)


def _judged_change(means: Floats) -> Floats:
    found: Floats = means[..., 2] / means[..., 3] - means[..., 0] / means[..., 1]
    return found


def _about(items: Sequence[Item], share: Share) -> Iterator[tuple[Item, bool]]:
    """The scored answers that a share is about, with the judge's verdict."""
    for item in items:
        if not is_unscored(item) and (verdict := share(item)) is not None:
            yield item, verdict


def _id(item: Item) -> str:
    return answer_id(item.benchmark, item.item_id, item.text)


def _with_label(item: Item, given: Labelled) -> Item:
    if given.score is not None:
        return replace(item, score=given.score)
    return replace(item, condition=given.label or "")


def _order(rubric: Rubric, name: str) -> tuple[str, ...]:
    return rubric.order(Judged(name, "", ""))


def _choices(rubric: Rubric, name: str, references: Mapping[str, str]) -> str:
    if rubric.kind == "number":
        return f"a number from {rubric.lowest:g} to {rubric.highest:g}"
    order = _order(rubric, name)
    meanings = [references.get(label, rubric.labels[label]) for label in order]
    return "\n".join(f"{letter}. {text}" for letter, text in zip(LETTERS, meanings, strict=False))


def _percent(found: Estimate) -> Interval | None:
    """In percent; None where it is not defined."""
    ends = [100.0 * end for end in (found.value, found.low, found.high)]
    return None if any(np.isnan(ends)) else Interval(value=ends[0], low=ends[1], high=ends[2])
