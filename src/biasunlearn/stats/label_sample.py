"""Which judged answers people label, and what their labels say about the judge.

The sample is drawn within each verdict of the judge, by the order of the hashes of the answers' ids. An answer that two
models gave has one id, and so the same place in the samples of both; the sample of each model remains a random one.
"""

import hashlib
from collections.abc import Mapping

from biasunlearn.stats.judging import HumanLabels


def draw_sample(verdicts: Mapping[str, bool], size: int, *, seed: int = 0) -> set[str]:
    """The ids of a random sample, half of it from the answers that the judge called positive.

    By hand, size 4: of 1 positive and 9 negative answers the 1 and 3 of the 9 are drawn.

    Args:
        verdicts: {id of an answer: whether the judge called it positive}.
        size: of the sample. Where one verdict has fewer than half of it, the other fills it up.
    """
    ranked = sorted(verdicts, key=lambda name: hashlib.sha256(f"sample {seed} {name}".encode()).digest())
    positive = [name for name in ranked if verdicts[name]]
    negative = [name for name in ranked if not verdicts[name]]
    most_positive = max(size - size // 2, size - len(negative))
    chosen = positive[:most_positive]
    return {*chosen, *negative[: size - len(chosen)]}


def human_labels(verdicts: Mapping[str, bool], labels: Mapping[str, bool]) -> HumanLabels:
    """The table of labels against verdicts, of the answers that have both."""
    both = [(verdict, labels[name]) for name, verdict in verdicts.items() if name in labels]
    return HumanLabels(
        positives=sum(verdict for verdict, _ in both),
        true_positives=sum(verdict and label for verdict, label in both),
        negatives=sum(not verdict for verdict, _ in both),
        false_negatives=sum(label and not verdict for verdict, label in both),
    )
