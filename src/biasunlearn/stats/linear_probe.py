"""Linear probes: how well a linear classifier predicts a label from hidden states, on groups that were not in training.

A probe is a logistic regression (scikit-learn, extra `[probes]`) on standardised states. It is scored by
cross-validation in which a whole cluster, a target term or a pair, is either in training or in test, so that memorized
terms do not help. Accuracy is balanced: the mean over classes, with chance at 100 / classes.

Two controls stand beside every accuracy. `shuffled`: the labels are permuted over the rows; anything but chance would
be an error of the scoring. `control`, the control task of Hewitt and Liang (arXiv 1909.03368): every wording of a
continuation gets a label at random, the same wherever it occurs, so that it can only be memorized. The accuracy of the
probe beyond that of the control task is its `selectivity`.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from biasunlearn.errors import RequestError
from biasunlearn.stats.bootstrap import Estimate, resample

Floats = NDArray[np.float64]
States = NDArray[np.floating[Any]]

FOLDS = 5
DRAWS = 3
"""Random draws of the labels of each control; the mean accuracy is reported."""

STRENGTH = 4.0
"""Scikit-learn's C, on inputs whose mean square norm is 1: the same at every width. Fixed, not searched."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a probe predicts from which rows of the states, and which rows must be in the same fold."""

    asks: str
    """stereotype, group, target term, bias type"""
    bias_type: str
    """"" for all bias types together"""
    rows: NDArray[np.int64]  # [n] places in the states
    labels: NDArray[np.str_]  # [n]
    clusters: tuple[str, ...]  # [n] target term or pair: on one side of a fold, drawn as one by the bootstrap
    strata: tuple[str, ...]  # [n] every fold trains on something of each
    wordings: tuple[str, ...]  # [n] units of the control task

    @property
    def classes(self) -> tuple[str, ...]:
        return tuple(sorted(set(self.labels.tolist())))

    @property
    def chance(self) -> float:
        """Balanced accuracy of random guessing, in percent."""
        return 100 / len(self.classes)


@dataclass(frozen=True, slots=True)
class Accuracies:
    """What the probes of one state of the model read, in percent, with 95 % intervals."""

    accuracy: Estimate
    control: Estimate
    shuffled: Estimate
    selectivity: Estimate
    """accuracy - control."""


@dataclass(frozen=True, slots=True)
class ProbeScores:
    """The accuracies of each state, and how they changed from the first to the last; None with one state."""

    stages: tuple[Accuracies, ...]
    accuracy_change: Estimate | None
    selectivity_change: Estimate | None


def dealt(clusters: Sequence[str], strata: Sequence[str], *, seed: int, folds: int = FOLDS) -> NDArray[np.int64]:
    """The fold of each row: [n]. Whole clusters, shuffled, the largest first, each in the smallest fold of its stratum.

    By hand: four clusters of one row each, two folds -> two rows in each fold.

    Raises:
        ValueError: a stratum has only one cluster, and would be missing in the training data of one fold.
    """
    members: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, (stratum, cluster) in enumerate(zip(strata, clusters, strict=True)):
        members[stratum][cluster].append(row)
    found = np.zeros(len(clusters), np.int64)
    rng = np.random.default_rng(seed)
    for stratum, groups in sorted(members.items()):
        if len(groups) < 2:
            raise ValueError(f"{stratum}: one cluster only")
        names = sorted(groups)
        rng.shuffle(names)
        filled = np.zeros(min(folds, len(groups)))
        for name in sorted(names, key=lambda name: -len(groups[name])):
            fold = int(filled.argmin())
            found[groups[name]] = fold
            filled[fold] += len(groups[name])
    return found


def predicted(states: States, labels: NDArray[np.str_], folds: NDArray[np.int64]) -> NDArray[np.str_]:
    """The predictions for each row of probes trained on the other folds: [n]."""
    make, found = _logistic(), labels.copy()
    for fold in np.unique(folds):
        train, test = folds != fold, folds == fold
        if len(set(labels[train].tolist())) < 2:  # possible for a control with very few rows
            found[test] = labels[train][0]
            continue
        mean, spread = states[train].mean(0), states[train].std(0)
        scale = np.where(spread > 1e-8, spread, 1.0) * np.sqrt(states.shape[1])
        probe = make().fit((states[train] - mean) / scale, labels[train])
        found[test] = probe.predict((states[test] - mean) / scale)
    return found


def read(states: States, question: Question, *, seed: int = 0) -> Floats:
    """The values from which the scores of a question at one layer are computed: [n, 3 * 2 * classes].

    For the labels, the control task and the shuffled labels, and for each class: whether the row was predicted
    correctly, and whether it belongs to that class. The controls are means over their draws, which are the same for all
    states of a question.
    """
    folds = dealt(question.clusters, question.strata, seed=seed)
    rng = np.random.default_rng(seed)
    inputs = np.asarray(states[question.rows], np.float64)
    parts = [_hits(inputs, question.labels, folds, question.classes)]
    for draw in (_by_wording, _permuted):
        drawn = [_hits(inputs, draw(question, rng), folds, question.classes) for _ in range(DRAWS)]
        parts.append(np.mean(drawn, axis=0))
    return np.concatenate(parts, axis=1)


def scores(question: Question, stages: Sequence[Floats], *, seed: int = 0) -> ProbeScores:
    """Accuracies of each stage and how they changed from the first to the last, in percent, with 95 % intervals.

    The bootstrap draws clusters and does not train the probes again. Differences between two stages, or between the
    labels and the control, are computed within the same draws.

    Args:
        stages: the values of `read` for each state of the model, before debiasing and after.
    """
    width = 2 * len(question.classes)
    sample = resample(np.concatenate(stages, axis=1), question.clusters, question.strata, seed=seed)

    def part(number: int) -> Callable[[Floats], Floats]:
        return lambda means: balanced(means[..., number * width : (number + 1) * width])

    def less(one: int, other: int) -> Estimate:
        return sample.estimate(lambda means: part(one)(means) - part(other)(means))

    firsts = range(0, 3 * len(stages), 3)
    estimates = [[sample.estimate(part(first + at)) for at in range(3)] for first in firsts]
    found = tuple(
        Accuracies(accuracy, control, shuffled, less(first, first + 1))
        for first, (accuracy, control, shuffled) in zip(firsts, estimates, strict=True)
    )
    if len(stages) < 2:
        return ProbeScores(found, None, None)
    last = firsts[-1]
    moved = sample.estimate(lambda m: part(last)(m) - part(last + 1)(m) - part(0)(m) + part(1)(m))
    return ProbeScores(found, less(last, 0), moved)


def balanced(means: Floats) -> Floats:
    """Mean over classes of the share of each that was predicted correctly, in percent: [..., 2 * classes] -> [...].

    By hand: 3 of 4 and 1 of 2, of six rows: (3/6, 1/6, 4/6, 2/6) -> 62.5
    """
    hits, sizes = np.split(means, 2, axis=-1)
    there = sizes > 0  # a draw may contain no row of a class
    shares = np.divide(hits, sizes, out=np.zeros_like(hits), where=there)
    found: Floats = 100 * shares.sum(-1) / there.sum(-1)
    return found


def _hits(
    inputs: Floats, labels: NDArray[np.str_], folds: NDArray[np.int64], classes: Sequence[str]
) -> Floats:
    """[n, 2 * classes]"""
    right = predicted(inputs, labels, folds) == labels
    of_class = np.stack([labels == name for name in classes], axis=1)
    return np.concatenate([of_class & right[:, None], of_class], axis=1).astype(np.float64)


def _by_wording(question: Question, rng: np.random.Generator) -> NDArray[np.str_]:
    """A random label for each wording, with the frequencies of the labels."""
    given = {wording: rng.choice(question.labels) for wording in sorted(set(question.wordings))}
    return np.array([given[wording] for wording in question.wordings])


def _permuted(question: Question, rng: np.random.Generator) -> NDArray[np.str_]:
    return rng.permutation(question.labels)


def _logistic() -> Callable[[], Any]:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        raise RequestError("probe needs scikit-learn: pip install 'biasunlearn[probes]'") from None
    return lambda: LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=500, tol=1e-3)
