"""How far verdicts of a judge can be trusted: agreement, votes of a panel, order, length, and correction by people.

A verdict is scored (it has a label or a number), refused (the model under test declined to answer) or unscored (there
is no usable verdict). An unscored answer never gets a score; what it could change is shown by the bounds, which score
all such answers as worst and as best.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from biasunlearn.stats.bootstrap import DRAWS, Estimate, Floats

Label = TypeVar("Label", bound=Hashable)

PRIOR = 0.75
"""Added to the numbers of labels of both kinds. With 150 labels the coverage of the 95 % interval is then from 94 to
96 % for shares from 5 to 50 % and (sensitivity, specificity) of (0.9, 0.9) and (0.7, 0.95), in simulations of 2,000
runs; with 0.5 (Jeffreys) it is from 94 to 96.5 %, and with 1 it falls to 92.6 % for a share of 5 %."""

FAR_APART = 2.0
"""Points of the share of unscored answers by which two models may differ and still be compared."""

Decision = Literal["yes", "no", "undecided"]


def strict_majority(votes: Sequence[Label | None], members: int) -> Label | None:
    """The label with more than half of the votes of the panel as it was configured; None where there is none.

    Members without a vote stay in the denominator, so that a silent member can never decide. By hand, a panel of three:
    a, a, missing -> a; a, b, missing -> None; a, missing, missing -> None.

    Args:
        votes: the labels of the members that gave one; None for a member without a usable verdict.
        members: size of the panel as configured.
    Raises:
        ValueError: more votes than members.
    """
    if len(votes) > members:
        raise ValueError(f"{len(votes)} votes of a panel of {members}")
    counts = Counter(vote for vote in votes if vote is not None)
    if not counts:
        return None
    label, most = counts.most_common(1)[0]
    return label if 2 * most > members else None


def panel_median(votes: Sequence[float | None], members: int) -> float | None:
    """The median of the numbers that are there, only if more than half of the panel gave one; None else."""
    known = [vote for vote in votes if vote is not None]
    if len(votes) > members:
        raise ValueError(f"{len(votes)} votes of a panel of {members}")
    return float(np.median(known)) if 2 * len(known) > members else None


def cohen_kappa(first: Sequence[Label], second: Sequence[Label]) -> float | None:
    """Agreement beyond chance of two labellings of the same answers (Cohen 1960).

    By hand: 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed .7, expected .5 * .6 + .5 * .4 = .5, kappa .4.

    Returns:
        From -1 to 1. None without answers, and where both gave one and the same label to all of them: chance alone
        would then agree as well.
    """
    n = len(first)
    pairs = list(zip(first, second, strict=True))
    if not n:
        return None
    ours, theirs = Counter(first), Counter(second)
    by_chance = sum(ours[label] * theirs[label] for label in ours) / n**2
    if by_chance >= 1:
        return None
    observed = sum(a == b for a, b in pairs) / n
    return float((observed - by_chance) / (1 - by_chance))


def agreement(first: Sequence[Label], second: Sequence[Label]) -> float | None:
    """Share of equal labels, from 0 to 1; None without answers."""
    equal = [a == b for a, b in zip(first, second, strict=True)]
    return sum(equal) / len(equal) if equal else None


def flip_rate(first: Sequence[Label | None], second: Sequence[Label | None]) -> float | None:
    """Share of answers whose verdict changes with the order of what the judge reads; None where no two are known.

    By hand: (a, a), (a, b), (b, missing): one of the two that are known in both orders -> .5.
    """
    known = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    return sum(a != b for a, b in known) / len(known) if known else None


def length_correlation(scores: Sequence[float], lengths: Sequence[float]) -> float | None:
    """Spearman's rank correlation of scores and lengths of answers; None where one of them does not vary."""
    if len(scores) < 3 or len(set(scores)) < 2 or len(set(lengths)) < 2:
        return None
    from scipy.stats import spearmanr

    return float(spearmanr(scores, lengths).statistic)


def unscored_share(states: Mapping[str, int]) -> float:
    """Share of answers without a verdict, in percent, from {state: answers}. By hand: scored 3, unscored: x 1 -> 25."""
    unscored = sum(count for state, count in states.items() if state.startswith("unscored"))
    return 100 * unscored / max(1, sum(states.values()))


def decision(holds: Callable[[Estimate], bool], scored: Estimate, lowest: Estimate, highest: Estimate) -> Decision:
    """Whether a limit holds whatever the unscored answers would have been.

    Args:
        holds: the limit, as a function of an estimate.
        scored: the estimate of the scored answers alone.
        lowest, highest: the same with the unscored answers scored so that it is lowest and highest.
    Returns:
        "yes" or "no" where all three agree, else "undecided".
    """
    answers = {holds(one) for one in (scored, lowest, highest)}
    return "undecided" if len(answers) > 1 else "yes" if answers.pop() else "no"


@dataclass(frozen=True, slots=True)
class HumanLabels:
    """What people said about a random sample of the answers that a judge called positive, and of the others."""

    positives: int
    """Labelled answers that the judge called positive."""
    true_positives: int
    """Of these, the ones that are positive for people too."""
    negatives: int
    false_negatives: int
    """Of the answers that the judge called negative, the ones that are positive for people."""

    def __post_init__(self) -> None:
        if not (0 <= self.true_positives <= self.positives and 0 <= self.false_negatives <= self.negatives):
            raise ValueError(f"not a table of labels: {self}")


@dataclass(frozen=True, slots=True)
class CorrectedShare:
    """A judge's share after correction for its errors, from 0 to 1, with what it was corrected by."""

    share: Estimate
    sensitivity: Estimate
    """Share of the positive answers that the judge calls positive."""
    specificity: Estimate
    labels: int


def rogan_gladen(judged: float, sensitivity: float, specificity: float) -> float:
    """The share of positive answers, from the share that a judge calls positive (Rogan and Gladen 1978).

    By hand: .26 judged, sensitivity .9, specificity .9: (.26 - .1) / .8 = .2.

    Raises:
        ValueError: sensitivity + specificity is not above 1: such a judge says nothing about the answers.
    """
    power = sensitivity + specificity - 1
    if power <= 0:
        raise ValueError(f"sensitivity {sensitivity:g} and specificity {specificity:g}: no better than chance")
    return min(1.0, max(0.0, (judged + specificity - 1) / power))


def corrected_share(
    judged: Floats, labels: HumanLabels, *, draws: int = DRAWS, seed: int = 0
) -> CorrectedShare | None:
    """The share of positive answers, corrected for the judge's sensitivity and specificity.

    The labelled answers are a random sample of the judged ones, drawn within each verdict of the judge. The corrected
    share is then q P + (1 - q) N, with q the judge's share, P the share of positives among the answers that it called
    positive and N that among the others (Tenenbein 1970). This is the share of Rogan and Gladen with the sensitivity
    q P / share and the specificity (1 - q) (1 - N) / (1 - share). The interval combines draws of q with draws of P and
    N from Beta distributions (`PRIOR`), and so includes the uncertainty of both.

    Args:
        judged: the judge's share from 0 to 1: its value first, then bootstrap draws of it.
        labels: what people said.
    Returns:
        None where no answer of a verdict that the judge gave was labelled.
    """
    q = float(judged[0])
    if (q > 0 and not labels.positives) or (q < 1 and not labels.negatives):
        return None
    rng = np.random.default_rng(seed)
    precision = labels.true_positives / labels.positives if labels.positives else 0.0
    missed = labels.false_negatives / labels.negatives if labels.negatives else 0.0
    drawn_q = rng.choice(judged[1:], size=draws)
    drawn_p = _beta(labels.true_positives, labels.positives, draws, rng)
    drawn_n = _beta(labels.false_negatives, labels.negatives, draws, rng)
    values = np.array([[q], [precision], [missed]])
    drawn = np.stack([drawn_q, drawn_p, drawn_n])
    return CorrectedShare(
        _estimate(_share(values), _share(drawn)),
        _estimate(_sensitivity(values), _sensitivity(drawn)),
        _estimate(_specificity(values), _specificity(drawn)),
        labels.positives + labels.negatives,
    )


@dataclass(frozen=True, slots=True)
class LabelledArm:
    """The judge's share of one model, and its labelled answers."""

    judged: Floats
    """[1 + draws] from 0 to 1: the share, then bootstrap draws of it. Those of two models are drawn together."""
    labels: Mapping[str, tuple[bool, bool]]
    """{question: (what the judge said, what people said)}"""

    @property
    def table(self) -> HumanLabels:
        """The same as a table of counts."""
        pairs = list(self.labels.values())
        return HumanLabels(
            positives=sum(verdict for verdict, _ in pairs),
            true_positives=sum(verdict and truth for verdict, truth in pairs),
            negatives=sum(not verdict for verdict, _ in pairs),
            false_negatives=sum(not verdict and truth for verdict, truth in pairs),
        )


def corrected_difference(
    before: LabelledArm, after: LabelledArm, *, draws: int = DRAWS, seed: int = 0
) -> Estimate | None:
    """after - before of the shares of two models, each corrected for the judge's errors on its own answers.

    Its value is the difference of the two shares of `corrected_share`. The interval takes both models from the same
    draws: the judge's shares from draws of the same questions, and the shares of positive answers within each verdict
    from random weights of the labelled questions (Bayesian bootstrap, Rubin 1981), which are the same for both models.
    For one model alone these weights give the Beta distributions of `corrected_share`, with `PRIOR`; for two models
    that give the same answers the difference has no uncertainty.

    Returns:
        From -1 to 1. None where one of the two shares cannot be corrected.
    """
    shares = [corrected_share(one.judged, one.table, draws=1) for one in (before, after)]
    if shares[0] is None or shares[1] is None:
        return None
    rng = np.random.default_rng(seed)
    names = sorted({*before.labels, *after.labels})
    weights = rng.standard_exponential((draws, len(names)))
    same = sum(before.labels.get(name) == after.labels.get(name) for name in names) / len(names)
    common = rng.standard_gamma(PRIOR * same, size=(4, draws)) if same else np.zeros((4, draws))
    place = rng.integers(len(before.judged) - 1, size=draws)
    found = []
    for arm in (before, after):
        prior = common + (rng.standard_gamma(PRIOR * (1 - same), size=(4, draws)) if same < 1 else 0.0)
        cells = ((True, True), (True, False), (False, True), (False, False))
        sums = [
            prior[n] + weights[:, [arm.labels.get(name) == cell for name in names]].sum(1)
            for n, cell in enumerate(cells)
        ]  # fmt: skip
        precision, missed = sums[0] / (sums[0] + sums[1]), sums[2] / (sums[2] + sums[3])
        found.append(_share(np.stack([arm.judged[1:][place], precision, missed])))
    low, high = np.quantile(found[1] - found[0], [0.025, 0.975])
    return Estimate(shares[1].share.value - shares[0].share.value, float(low), float(high))


def _beta(successes: int, trials: int, draws: int, rng: np.random.Generator) -> Floats:
    return rng.beta(successes + PRIOR, trials - successes + PRIOR, size=draws)


def _share(values: Floats) -> Floats:
    q, precision, missed = values
    found: Floats = q * precision + (1 - q) * missed
    return found


def _sensitivity(values: Floats) -> Floats:
    q, precision, _ = values
    share = _share(values)
    found: Floats = np.divide(q * precision, share, out=np.full_like(share, np.nan), where=share > 0)
    return found


def _specificity(values: Floats) -> Floats:
    q, _, missed = values
    rest = 1 - _share(values)
    found: Floats = np.divide((1 - q) * (1 - missed), rest, out=np.full_like(rest, np.nan), where=rest > 0)
    return found


def _estimate(value: Floats, drawn: Floats) -> Estimate:
    """With the 95 % interval of draws. A value that is not defined is nan."""
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    return Estimate(float(value[0]), float(low), float(high))
