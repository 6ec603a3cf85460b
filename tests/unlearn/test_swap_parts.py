"""Subgroups with a swap weight of their own: which parts there are, their shrunk scores, and that both reach 50."""

from dataclasses import replace

import numpy as np
import pytest

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Sentence, Triplet
from biasunlearn.stats.stereoset import Comparison
from biasunlearn.unlearn.decision import first_decision
from biasunlearn.unlearn.evaluation import BaseAnswers, BiasTypeScore, Evaluation, shrunk, stop_scores
from biasunlearn.unlearn.sets import training_sets
from biasunlearn.unlearn.stop import distance, stop_reason
from biasunlearn.unlearn.swap_parts import FEWEST_PAIRS, SwapParts, swap_parts

CONFIG = DebiasConfig(swap_by="subgroup")
GENDER = SwapParts(
    {("gender", "aunt"): "gender/female", ("gender", "uncle"): "gender/male"},
    {"gender/female": "gender", "gender/male": "gender", "race": "race"},
)


def pair(number: int, target: str, bias_type: str = "gender") -> Triplet:
    return Triplet(
        str(number), bias_type, "intrasentence", f"The {target} is BLANK.",
        Sentence(f"{number}s", f"The {target} is slow."), Sentence(f"{number}a", f"The {target} is quick."),
        None, target, "pairs",
    )  # fmt: skip


def many(target: str, count: int = FEWEST_PAIRS, bias_type: str = "gender") -> list[Triplet]:
    return [pair(number, target, bias_type) for number in range(count)]


def compared(target: str, stereotyped: int, count: int = 100, bias_type: str = "gender") -> list[Comparison]:
    return [
        Comparison(bias_type, target, float(n < stereotyped), 1.0, 1.0 if n < stereotyped else -1.0, f"{target}{n}")
        for n in range(count)
    ]


def test_parts_are_the_subgroups_of_the_term_lists() -> None:
    pairs = [*many("aunt"), *many("uncle"), *many("person")]
    found = swap_parts(pairs, pairs, CONFIG)
    assert found is not None
    assert found.bias_types == {"gender": "gender", "gender/female": "gender", "gender/male": "gender"}
    assert [found.of("gender", term) for term in ("aunt", "uncle", "person", None)] == [
        "gender/female", "gender/male", "gender", "gender",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("aunts", "uncles", "expected"),
    [(FEWEST_PAIRS, FEWEST_PAIRS - 1, ["gender"]), (FEWEST_PAIRS, FEWEST_PAIRS, ["gender/female", "gender/male"])],
)
def test_a_subgroup_with_few_stop_pairs_is_no_part_of_its_own(aunts: int, uncles: int, expected: list[str]) -> None:
    stop = [*many("aunt", aunts), *many("uncle", uncles)]
    found = swap_parts([*many("aunt"), *many("uncle")], stop, CONFIG)
    assert found is not None and list(found.bias_types) == expected


@pytest.mark.parametrize("change", [{"swap_by": "bias_type"}, {"swap": "none"}])
def test_without_it_bias_types_have_the_weights(change: dict[str, str]) -> None:
    pairs = [*many("aunt"), *many("uncle")]
    assert swap_parts(pairs, pairs, replace(CONFIG, **change)) is None  # type: ignore[arg-type]
    assert stop_scores(compared("aunt", 60), seed=0).subgroups == {}


def test_shrinkage_by_hand() -> None:
    """w = 25 / (25 + 25); SS 0.5 * 34 + 0.5 * 50 = 42; variance 0.5 * 25 + 0.25 * 9 = 14.75."""
    found = shrunk(BiasTypeScore(34, 24, 44, 5.0, 40), BiasTypeScore(50, 44, 56, 3.0, 80))
    assert (found.ss, found.pairs) == (42.0, 40)
    assert found.standard_error == pytest.approx(14.75**0.5)
    assert found.high - found.ss == pytest.approx(1.96 * 14.75**0.5, abs=1e-3)


def test_a_subgroup_of_many_pairs_keeps_its_score_and_one_of_few_has_that_of_its_bias_type() -> None:
    whole = BiasTypeScore(50, 44, 56, 3.0, 80)
    assert shrunk(BiasTypeScore(34, 34, 34, 0.0), whole).ss == 34
    assert shrunk(BiasTypeScore(34, 0, 100, 1000.0), whole).ss == pytest.approx(50, abs=0.01)


def test_two_subgroups_whose_mean_is_50_have_opposite_weights() -> None:
    """The control is the same evaluation by bias type: it is at 50, so that nothing would be trained."""
    answers = [*compared("aunt", 20), *compared("uncle", 80), *compared("Arvanian", 50, bias_type="race")]
    apart = Evaluation(0, stop_scores(answers, seed=0, parts=GENDER), 100.0)
    together = Evaluation(0, stop_scores(answers, seed=0), 100.0)
    weights = first_decision(apart, CONFIG).swap_weights
    assert weights["gender/female"] < 0 < weights["gender/male"] and weights["race"] == 0
    assert first_decision(together, CONFIG).stop and not first_decision(apart, CONFIG).stop
    assert stop_reason(together, CONFIG) and not stop_reason(apart, CONFIG)
    assert distance(apart, CONFIG) > distance(together, CONFIG) == 0
    assert apart.scores.bias_types == together.scores.bias_types


def test_a_part_without_stop_pairs_has_the_score_of_its_bias_type() -> None:
    parts = SwapParts(GENDER.subgroups, {**GENDER.bias_types, "gender": "gender"})
    found = stop_scores([*compared("aunt", 20), *compared("uncle", 80)], seed=0, parts=parts)
    assert found.subgroups["gender"] == found.bias_types["gender"] and "race" not in found.subgroups


def test_base_answers_are_used_for_the_subgroups_too() -> None:
    """The stop pairs of the base model: 80 of 100; training pairs 60 of 100: 70. Now 50 of 100: 70 - 30 = 40.
    The other subgroup did not change from 50. Of the whole: (70 + 50) / 2 - 15 = 45; 40 is shrunk towards it."""
    still = compared("uncle", 50)
    base = BaseAnswers([*compared("aunt", 80), *still], [*compared("aunt", 60), *still])
    now = [*compared("aunt", 50), *still]
    found = stop_scores(now, seed=0, base=base, parts=GENDER)
    alone = stop_scores(compared("aunt", 50), seed=0, base=BaseAnswers(compared("aunt", 80), compared("aunt", 60)))
    assert alone.ss["gender"] == pytest.approx(40) and found.ss["gender"] == pytest.approx(45)
    assert 40 < found.subgroups["gender/female"].ss < 45
    assert found.subgroups["gender/female"].ss == shrunk(alone.bias_types["gender"], found.bias_types["gender"]).ss


def test_the_sets_are_kept_by_part() -> None:
    pairs = [*many("aunt", 3), *many("uncle", 2), *many("Arvanian", 1, "race")]
    sets = training_sets(pairs, (), adversarial_share=0.0, seed=0, parts=GENDER)
    assert {name: len(found) for name, found in sets.pairs.items()} == {
        "gender/female": 3, "gender/male": 2, "race": 1,
    }  # fmt: skip


@pytest.mark.slow
def test_one_weight_cannot_bring_two_subgroups_to_50() -> None:
    """Supposed that the SS of a subgroup falls by five times its swap weight in every step: with one weight for both,
    subgroups that begin at 70 and 30 stay 40 points apart; with two they meet, but for the noise of 400 pairs."""

    def after(parts: SwapParts | None) -> tuple[float, float]:
        female, male = 30.0, 70.0
        decision = None
        for _ in range(12):
            answers = [*compared("aunt", round(4 * female), 400), *compared("uncle", round(4 * male), 400)]
            found = Evaluation(0, stop_scores(answers, seed=0, parts=parts), 100.0)
            decision = first_decision(found, replace(CONFIG, swap="proportional"))
            weight = decision.swap_weights
            female -= 5 * weight.get("gender/female", weight.get("gender", 0.0))
            male -= 5 * weight.get("gender/male", weight.get("gender", 0.0))
        return female, male

    assert np.ptp(after(None)) == 40 and np.ptp(after(GENDER)) < 20
