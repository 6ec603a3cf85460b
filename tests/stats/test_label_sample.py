"""The sample that people label: its size, and that it is a random one for each of two models."""

import numpy as np

from biasunlearn.stats.judging import HumanLabels, corrected_share
from biasunlearn.stats.label_sample import draw_sample, human_labels


def test_the_sample_by_hand():
    verdicts = {"a": True, **{f"n{n}": False for n in range(9)}}
    assert len(draw_sample(verdicts, 4)) == 4 and "a" in draw_sample(verdicts, 4)
    assert draw_sample({name: True for name in "abcdef"}, 4) <= set("abcdef")
    assert len(draw_sample({name: True for name in "abcdef"}, 4)) == 4
    assert draw_sample(verdicts, 99) == set(verdicts)
    assert draw_sample(verdicts, 4) != draw_sample(verdicts, 4, seed=1)


def test_the_table_of_labels_by_hand():
    verdicts, labels = {"a": True, "b": True, "c": False, "d": False}, {"a": True, "c": True, "d": False}
    assert human_labels(verdicts, labels) == HumanLabels(1, 1, 2, 1)


def test_answers_that_two_models_share_do_not_distort_the_sample_of_either():
    """Shared answers are positive for people, the others are not: a sample that favoured them would be seen."""
    found = []
    for run in range(200):
        shared, own = [f"s{run}-{n}" for n in range(100)], [f"o{run}-{n}" for n in range(100)]
        other = [f"p{run}-{n}" for n in range(100)]
        ours, theirs = dict.fromkeys([*shared, *own], True), dict.fromkeys([*shared, *other], True)
        drawn = draw_sample(ours, 40) | draw_sample(theirs, 40)  # what people label
        mine = draw_sample(ours, 40)
        labels = human_labels(ours, {name: name in shared for name in drawn & mine})
        found.append(labels.true_positives / labels.positives)
        union = human_labels(ours, {name: name in shared for name in drawn})
        assert union.positives >= labels.positives
    assert abs(np.mean(found) - 0.5) < 0.02


def test_labels_of_both_verdicts_are_needed():
    assert corrected_share(np.full(9, 0.5), human_labels({"a": True, "b": False}, {"a": True})) is None
