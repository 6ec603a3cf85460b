"""The sets, the swap that exchanges two of them, and the order in which their sentences are seen."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biasunlearn.config import DebiasConfig
from biasunlearn.data.records import Passage, Sentence, Triplet
from biasunlearn.unlearn.sampler import BatchSampler, StepBatch
from biasunlearn.unlearn.sets import TrainingSets, swapped, training_sets


def cluster(bias_type: str, number: int) -> Triplet:
    name = f"{bias_type}{number}"
    return Triplet(
        id=name,
        bias_type=bias_type,
        kind="intrasentence",
        context=f"The {name} is BLANK.",
        stereotype=Sentence(f"{name}-s", f"The {name} is stereotyped."),
        anti_stereotype=Sentence(f"{name}-a", f"The {name} is fair."),
    )


def sets_of(sizes: Mapping[str, int], *, unrelated: int = 3, share: float = 0.25, seed: int = 0) -> TrainingSets:
    clusters = [cluster(bias_type, number) for bias_type, size in sizes.items() for number in range(size)]
    sentences = [f"Unrelated {number}." for number in range(unrelated)]
    return training_sets(clusters, sentences, adversarial_share=share, seed=seed)


def config(**changes: Any) -> DebiasConfig:
    pinned = {"seed": 0, "forget_batch": 4, "retain_batch": 4, "unrelated_batch": 2, "batch_follows": "role",
              "batch_pairs": "independent", "batch_allocation": "even"}  # fmt: skip
    return DebiasConfig(**{**pinned, **changes})


def kinds(passages: tuple[Passage, ...]) -> Counter[str]:
    return Counter("stereotype" if "stereotyped" in passage.text else "anti" for passage in passages)


# --- building ------------------------------------------------------------------------------------------------------


def test_the_sets_by_hand() -> None:
    sets = sets_of({"race": 2}, unrelated=1, share=0.5)
    first, second = (Passage(f"The race{n} is", " stereotyped.") for n in (0, 1))
    fair = tuple(Passage(f"The race{n} is", " fair.") for n in (0, 1))
    assert sets.retain == {"race": fair}
    assert sets.forget["race"][:2] == (first, second)
    assert len(sets.forget["race"]) == 3 and sets.forget["race"][2] in fair  # half of two: one adversarial
    assert sets.unrelated == (Passage("", "Unrelated 0."),)  # whole
    assert sets.bias_types == ("race",) and sets.exchanged == frozenset()


@pytest.mark.parametrize(("share", "counts"), [(0.0, (0, 0)), (0.25, (2, 5)), (0.5, (4, 10)), (1.0, (8, 20))])
def test_the_adversarial_share_is_of_each_bias_type_and_stays_in_the_retain_set(
    share: float, counts: tuple[int, int]
) -> None:
    sets = sets_of({"gender": 8, "race": 20}, share=share)
    for (bias_type, size), adversarial in zip((("gender", 8), ("race", 20)), counts, strict=True):
        assert kinds(sets.forget[bias_type]) == Counter(stereotype=size, anti=adversarial)
        chosen = [passage for passage in sets.forget[bias_type] if "fair" in passage.text]
        assert len(set(chosen)) == adversarial  # none twice
        assert set(chosen) <= set(sets.retain[bias_type])
        assert kinds(sets.retain[bias_type]) == Counter(anti=size)
        assert all(bias_type in passage.prefix for passage in (*sets.forget[bias_type], *sets.retain[bias_type]))


def test_the_adversarial_ones_are_a_sample_that_the_seed_decides() -> None:
    def chosen(seed: int) -> tuple[Passage, ...]:
        return sets_of({"race": 40}, seed=seed).forget["race"][40:]

    assert chosen(0) == chosen(0) != chosen(1)
    assert chosen(0) != sets_of({"race": 40}).retain["race"][:10]  # not simply the first quarter
    # One bias type's sample does not depend on which others there are.
    assert sets_of({"race": 40, "gender": 7}).forget["race"] == sets_of({"race": 40}).forget["race"]


# --- swap ----------------------------------------------------------------------------------------------------------


def test_swapped_exchanges_forget_and_retain_of_the_named_bias_types() -> None:
    sets = sets_of({"gender": 4, "race": 4})
    found = swapped(sets, ["race"])
    assert found.forget == {"gender": sets.forget["gender"], "race": sets.retain["race"]}
    assert found.retain == {"gender": sets.retain["gender"], "race": sets.forget["race"]}
    assert found.unrelated == sets.unrelated
    assert found.exchanged == {"race"} and sets.exchanged == frozenset()


SOME = st.sets(st.sampled_from(["gender", "race", "religion"]))


@given(SOME, SOME)
def test_swapping_twice_is_doing_nothing(first: set[str], second: set[str]) -> None:
    sets = sets_of({"gender": 3, "race": 2, "religion": 4})
    assert swapped(swapped(sets, first), first) == sets
    assert swapped(swapped(sets, first), second) == swapped(sets, first ^ second)


# --- batches -------------------------------------------------------------------------------------------------------

PLUS = {"gender": 1.0, "race": 1.0}


@pytest.mark.parametrize("epochs", [1, 3])
def test_no_sentence_comes_twice_in_an_epoch(epochs: int) -> None:
    sets = sets_of({"race": 8}, unrelated=6)  # forget: 8 + 2, retain: 8
    sampler = BatchSampler(sets, config(forget_batch=5, retain_batch=4, unrelated_batch=3))
    orders = []
    for _ in range(epochs):
        steps = [sampler.next({"race": 1.0}) for _ in range(2)]
        forget = [passage for step in steps for passage in step.forget]
        assert Counter(forget) == Counter(sets.forget["race"])
        assert Counter(p for step in steps for p in step.retain) == Counter(sets.retain["race"])
        assert Counter(p for step in steps for p in step.unrelated) == Counter(sets.unrelated)
        orders.append(tuple(forget))
    assert len(set(orders)) == epochs  # each epoch in an order of its own


def test_an_epoch_may_end_within_a_batch() -> None:
    sets = sets_of({"race": 3}, share=0.0)
    sampler = BatchSampler(sets, config(forget_batch=7))
    seen = [passage for _ in range(3) for passage in sampler.next({"race": 1.0}).forget]
    for first in range(0, 21, 3):
        assert Counter(seen[first : first + 3]) == Counter(sets.forget["race"])


def test_a_restored_position_goes_on_with_the_very_next_sentence() -> None:
    sets = sets_of({"gender": 5, "race": 7}, unrelated=5)
    weights_of_steps = [PLUS, {"gender": -0.5, "race": 1.0}, {"gender": 0.0, "race": -1.0}] * 4
    whole = BatchSampler(sets, config())
    expected = [whole.next(weights) for weights in weights_of_steps]
    for stop in range(len(weights_of_steps)):
        first = BatchSampler(sets, config())
        for weights in weights_of_steps[:stop]:
            first.next(weights)
        again = BatchSampler(sets, config())
        again.position = dict(first.position)
        assert [again.next(weights) for weights in weights_of_steps[stop:]] == expected[stop:]


def test_the_seed_decides_the_order_and_nothing_else_does() -> None:
    sets = sets_of({"gender": 9, "race": 9})
    assert BatchSampler(sets, config()).next(PLUS) == BatchSampler(sets, config()).next(PLUS)
    assert BatchSampler(sets, config()).next(PLUS) != BatchSampler(sets, config(seed=1)).next(PLUS)


def test_a_negative_weight_exchanges_the_sets_and_only_of_that_bias_type() -> None:
    sets = sets_of({"gender": 8, "race": 8}, share=0.0)
    batch = BatchSampler(sets, config(forget_batch=8, retain_batch=6)).next({"gender": 1.0, "race": -0.5})

    def of(bias_type: str, passages: tuple[Passage, ...]) -> Counter[str]:
        return kinds(tuple(passage for passage in passages if bias_type in passage.prefix))

    assert of("gender", batch.forget) == Counter(stereotype=4)
    assert of("race", batch.forget) == Counter(anti=4)
    assert of("gender", batch.retain) == Counter(anti=3)
    assert of("race", batch.retain) == Counter(stereotype=3)
    for passages, weights in ((batch.forget, batch.forget_weights), (batch.retain, batch.retain_weights)):
        assert weights == tuple(1.0 if "gender" in passage.prefix else 0.5 for passage in passages)


def test_a_negative_weight_is_the_swap_of_the_sets() -> None:
    """A weight of -1, and +1 on exchanged sets, draw from the same sets."""
    sets = sets_of({"race": 8})
    whole = config(forget_batch=8, retain_batch=10)  # an epoch each, once exchanged
    turned = BatchSampler(sets, whole).next({"race": -1.0})
    plain = BatchSampler(swapped(sets, ["race"]), whole).next({"race": 1.0})
    assert Counter(turned.forget) == Counter(plain.forget) == Counter(sets.retain["race"])
    assert Counter(turned.retain) == Counter(plain.retain) == Counter(sets.forget["race"])


def test_sets_are_exchanged_once_for_all_steps_with_the_same_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[frozenset[str]] = []

    def counted(sets: TrainingSets, bias_types: frozenset[str]) -> TrainingSets:
        calls.append(bias_types)
        return swapped(sets, bias_types)

    monkeypatch.setattr("biasunlearn.unlearn.sampler.swapped", counted)
    sampler = BatchSampler(sets_of({"gender": 9, "race": 9}), config())
    for weights in ({"gender": 1.0, "race": -1.0}, {"gender": 0.3, "race": -0.2}, {"gender": 0.3, "race": 0.2}):
        for _ in range(3):
            sampler.next(weights)
    assert calls == [frozenset({"race"}), frozenset()]


def test_bias_types_alternate_even_if_the_batch_is_smaller_than_their_number() -> None:
    names = ["age", "gender", "race", "religion"]
    sampler = BatchSampler(sets_of(dict.fromkeys(names, 9)), config(forget_batch=3, retain_batch=1))
    steps = [sampler.next(dict.fromkeys(names, 1.0)) for _ in range(4)]
    for role, size in (("forget", 12), ("retain", 4)):
        turns = [next(n for n in names if n in p.prefix) for step in steps for p in getattr(step, role)]
        assert turns == (names * 3)[:size]


def test_a_bias_type_of_weight_0_is_not_drawn_and_the_others_fill_the_batch() -> None:
    batch = BatchSampler(sets_of({"gender": 9, "race": 9}), config()).next({"gender": 0.0, "race": 0.25})
    assert all("race" in passage.prefix for passage in (*batch.forget, *batch.retain))
    assert (len(batch.forget), len(batch.retain)) == (4, 4)
    assert set(batch.forget_weights) == set(batch.retain_weights) == {0.25}


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_with_all_weights_at_0_the_role_losses_have_weight_0(zero: float) -> None:
    """All bias types at 50: only the KL term is left."""
    batch = BatchSampler(sets_of({"gender": 9, "race": 9}), config()).next({"gender": zero, "race": zero})
    assert set(batch.forget_weights) == set(batch.retain_weights) == {0.0}
    assert len(batch.unrelated) == 2


@pytest.mark.parametrize(
    ("follows", "weights", "sizes"),
    [
        ("role", {"gender": 0.0, "race": -1.0}, (2, 6)),
        ("sentences", {"gender": 0.0, "race": -1.0}, (6, 2)),  # the released code: a swap exchanges the sizes
        ("sentences", {"gender": 0.0, "race": 1.0}, (2, 6)),
        ("sentences", {"gender": 1.0, "race": 1.0}, (2, 6)),
    ],
)
def test_what_the_batch_sizes_belong_to(follows: str, weights: dict[str, float], sizes: tuple[int, int]) -> None:
    sets = sets_of({"gender": 9, "race": 9})
    batch = BatchSampler(sets, config(forget_batch=2, retain_batch=6, batch_follows=follows)).next(weights)
    assert (len(batch.forget), len(batch.retain)) == sizes


def test_without_unrelated_sentences_there_are_none() -> None:
    batch = BatchSampler(sets_of({"race": 4}, unrelated=0), config()).next({"race": 1.0})
    assert batch.unrelated == ()


@given(st.lists(st.dictionaries(st.sampled_from(["gender", "race"]), st.floats(-1, 1), min_size=2), max_size=8))
def test_weights_are_never_negative_and_sizes_are_as_asked(weights_of_steps: list[dict[str, float]]) -> None:
    sampler = BatchSampler(sets_of({"gender": 5, "race": 3}), config())
    for weights in weights_of_steps:
        batch: StepBatch = sampler.next(weights)
        assert len(batch.forget) == len(batch.forget_weights) == 4
        assert len(batch.retain) == len(batch.retain_weights) == 4
        assert min((*batch.forget_weights, *batch.retain_weights)) >= 0


# --- matched pairs -------------------------------------------------------------------------------------------------


def test_every_forget_sentence_has_its_partner() -> None:
    """A stereotype goes with the anti-stereotype of its own pair; an adversarial sentence with itself."""
    sets = sets_of({"race": 8}, share=0.5)
    assert [forget for forget, _ in sets.pairs["race"]] == list(sets.forget["race"])
    for forget, retain in sets.pairs["race"]:
        assert forget.prefix == retain.prefix and "fair" in retain.text
    assert sum(forget == retain for forget, retain in sets.pairs["race"]) == 4


@pytest.mark.parametrize("weights", [1.0, -1.0])
def test_matched_batches_hold_partners_and_a_swap_turns_them_round(weights: float) -> None:
    sets = sets_of({"race": 6, "age": 6}, share=0.0)
    sampler = BatchSampler(sets, config(batch_pairs="matched", forget_batch=12, retain_batch=99))
    batch = sampler.next({"race": weights, "age": weights})
    assert len(batch.retain) == len(batch.forget) == 12
    for forget, retain in zip(batch.forget, batch.retain, strict=True):
        assert forget.prefix == retain.prefix and forget != retain
    assert kinds(batch.forget) == Counter({"stereotype" if weights > 0 else "anti": 12})
    assert len(set(batch.forget)) == 12  # every pair once before any twice


def test_allocation_by_gap_gives_most_of_the_batch_to_the_bias_type_farthest_from_50() -> None:
    """Weights 0.9, -0.3 and 0: of 12 sentences 9, 3 and none; every sentence has the largest weight."""
    sets = sets_of({"race": 30, "age": 30, "work": 30}, share=0.0)
    sampler = BatchSampler(sets, config(batch_pairs="matched", batch_allocation="gap", forget_batch=12))
    for _ in range(3):
        batch = sampler.next({"race": 0.9, "age": -0.3, "work": 0.0})
        counts = Counter(name for p in batch.forget for name in ("race", "age", "work") if name in p.prefix)
        assert counts == Counter(race=9, age=3)
        assert set(batch.forget_weights) == {0.9}


def test_shares_that_do_not_divide_the_batch_even_out_over_steps() -> None:
    sets = sets_of({"race": 50, "age": 50}, share=0.0)
    sampler = BatchSampler(sets, config(batch_pairs="matched", batch_allocation="gap", forget_batch=2))
    seen: Counter[str] = Counter()
    for _ in range(20):
        batch = sampler.next({"race": 0.8, "age": 0.2})
        seen.update("race" if "race" in p.prefix else "age" for p in batch.forget)
    assert seen == Counter(race=32, age=8)


def test_with_all_weights_at_0_there_is_a_batch_of_weight_0() -> None:
    sampler = BatchSampler(sets_of({"race": 9, "age": 9}), config(batch_allocation="gap"))
    batch = sampler.next({"race": 0.0, "age": -0.0})
    assert len(batch.forget) == 4 and set(batch.forget_weights) == {0.0}
