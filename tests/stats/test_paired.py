"""Paired tests by hand, and what a verdict does when nothing, something, or the wrong thing happened."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from biasunlearn.errors import RequestError
from biasunlearn.stats import paired
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.paired import Pairs, compare_pairs, compare_score, holm, mcnemar, pair, sign_flips
from biasunlearn.stats.stereoset import smallest_difference


def pairs(values, clusters, bias_types=None):
    n = len(values)
    types = tuple(bias_types) if bias_types is not None else ("x",) * n
    return Pairs(np.asarray(values, float), tuple(clusters), types, tuple(str(place) for place in range(n)))


def table(both, down, up, neither, terms=20):
    """SS outcomes: stereotyped for both models, only a, only b, none of them; dealt out over terms of equal size."""
    values = np.array([(100, 100)] * both + [(100, 0)] * down + [(0, 100)] * up + [(0, 0)] * neither)
    np.random.default_rng(0).shuffle(values)
    return pairs(values, [f"t{place % terms}" for place in range(len(values))])


# --- tests by hand -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("up", "down", "p"),
    [
        (3, 12, 2 * (1 + 15 + 105 + 455) / 2**15),  # C(15, 0..3)
        (12, 3, 2 * (1 + 15 + 105 + 455) / 2**15),
        (0, 6, 2 / 64),
        (5, 5, 1.0),
        (1, 0, 1.0),
        (0, 0, 1.0),
    ],
)
def test_mcnemar(up, down, p):
    assert mcnemar(up, down) == pytest.approx(p, abs=1e-12)


def test_mcnemar_is_scipys_binomial_test():
    """In a quarter of its time, which counts for a page of many runs."""
    pairs = [(up, down) for up in range(12) for down in range(12) if up + down] + [(250, 300), (3, 900), (700, 699)]
    assert [mcnemar(*pair) for pair in pairs] == [binomtest(min(pair), sum(pair), 0.5).pvalue for pair in pairs]


def test_mcnemar_of_two_published_models():
    """gpt2 against gpt2-medium on StereoSet's gender, race and religion: 87 and 108 discordant pairs, p = 0.15."""
    assert mcnemar(108, 87) == pytest.approx(0.15, abs=0.005)


def test_sign_flips():
    assert sign_flips(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 8)
    assert sign_flips(np.array([1.0, -1.0])) == 1.0  # 0 is as far from 0 as anything
    assert sign_flips(np.array([2.0, 2.0, 2.0, 2.0, 2.0, 2.0])) == pytest.approx(2 / 64)
    assert sign_flips(np.array([0.0, 0.0])) == 1.0
    # 3 and 1, 1, 1: sums at least 4 in size: 6 (++++), 4 (three ways), and their negatives -> 8 / 16
    assert sign_flips(np.array([3.0, 1.0, 1.0, -1.0])) == pytest.approx(8 / 16)


def test_drawn_sign_flips_agree_with_all_of_them():
    """20 clusters are drawn, 16 are enumerated; four that hardly count make the one from the other."""
    values = np.random.default_rng(1).normal(0.2, 1, 16)
    exact, drawn = sign_flips(values), sign_flips(np.concatenate([values, [1e-12] * 4]))
    assert 0.01 < exact < 0.9
    assert drawn == pytest.approx(exact, abs=0.015)  # standard error of 10,000 draws: at most 0.005
    assert sign_flips(np.ones(40)) == pytest.approx(1 / 10_001)  # never 0: the observed one counts


@pytest.mark.parametrize("clusters", [17, 101, 333, 1001])
def test_signs_of_one_sequence_are_those_that_are_drawn_for_each_test(clusters, monkeypatch):
    """Whatever the number of clusters is, and also where they are drawn in several parts."""
    step = min(paired.FLIPS, paired.SIGNS_AT_ONCE // clusters)
    rng = np.random.default_rng(3)
    for signs in paired._drawn_signs(clusters, 3):
        assert np.array_equal(signs, 1 - 2 * rng.integers(2, size=(len(signs), clusters), dtype=np.int8))
        assert len(signs) in (step, paired.FLIPS % step)
    values = np.random.default_rng(clusters).normal(0.05, 1, clusters)
    kept = sign_flips(values, seed=3)
    assert 0.001 < kept != sign_flips(values, seed=4)
    monkeypatch.setattr(paired, "KEPT_SIGNS", 0)
    assert sign_flips(values, seed=3) == kept


@pytest.mark.parametrize(
    ("raw", "adjusted"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),
        ([0.04, 0.01, 0.03], [0.06, 0.03, 0.06]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.02], [0.02]),
        ([], []),
    ],
)
def test_holm(raw, adjusted):
    assert holm(raw) == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_never_lowers_a_p_value_and_keeps_their_order(raw):
    adjusted = holm(raw)
    assert all(new >= old and new <= 1 for old, new in zip(raw, adjusted, strict=True))
    ordered = [new for _, new in sorted(zip(raw, adjusted, strict=True))]
    assert all(low <= high for low, high in pairwise(ordered))


# --- joining -------------------------------------------------------------------------------------------------------


def outcome(unit, value, bias_type="x"):
    return Outcome(unit, f"t{unit}", bias_type, "accuracy", value)


def test_pairs_are_joined_by_unit_and_what_has_no_partner_is_counted():
    found = pair([outcome("a", 1), outcome("b", 2), outcome("c", 3)], [outcome("c", 4), outcome("a", 5)])
    assert found.values.tolist() == [[1, 5], [3, 4]]
    assert (found.units, found.clusters, found.unpaired) == (("a", "c"), ("ta", "tc"), 1)
    assert pair([outcome("a", 1)], [outcome("b", 1)]) is None
    with pytest.raises(RequestError, match="accuracy: item 'a' of bias type 'x' is there twice"):
        pair([outcome("a", 1), outcome("a", 2)], [outcome("a", 1)])
    same_name = pair([outcome("a", 1), outcome("a", 2, "y")], [outcome("a", 3), outcome("a", 4, "y")])
    assert same_name.values.tolist() == [[1, 3], [2, 4]]


# --- one score of two models ---------------------------------------------------------------------------------------


def test_numbers_by_hand():
    """400 pairs: 160 both, 80 only a, 20 only b, 140 neither: SS 60 -> 45, McNemar on 80 against 20."""
    entry = compare_pairs(table(160, 80, 20, 140), 50.0)
    assert (entry.a.value, entry.b.value) == (60, 45)
    assert entry.difference.value == -15
    assert entry.distance_change.value == -5  # 10 away, then 5 away
    assert (entry.test, entry.up, entry.down) == ("sign flips of clusters", 20, 80)
    assert entry.p_mcnemar == mcnemar(20, 80) and entry.p < 1e-3
    assert entry.n == 400 and entry.clusters == 20
    assert entry.smallest_difference >= smallest_difference(400)


def test_better_worse_and_past_50():
    better, worse = compare_pairs(table(480, 160, 10, 350), 50.0), compare_pairs(table(480, 10, 160, 350), 50.0)
    assert (better.verdict, worse.verdict) == ("better", "worse")  # 64 -> 49 and 49 -> 64
    past = compare_pairs(table(380, 220, 20, 380), 50.0)  # SS 60 -> 40: a difference, and neither better nor worse
    assert past.p < 1e-3 and past.distance_change.value == 0
    assert past.verdict == "no evidence" and past.over_debiased and not better.over_debiased


def test_the_same_model_twice():
    entry = compare_pairs(table(300, 0, 0, 200), 50.0)
    assert (entry.verdict, entry.p, entry.identical) == ("no evidence", 1.0, True)
    assert (entry.difference.low, entry.difference.high) == (0, 0)
    assert entry.smallest_difference == pytest.approx(smallest_difference(500))
    few = compare_pairs(table(40, 0, 0, 39), 50.0)  # 79 items could not show 17 points
    assert few.verdict == "too few items" and few.smallest_difference > 17


def test_an_ideal_that_nobody_named():
    moved = compare_pairs(table(480, 160, 10, 350), None)
    assert moved.verdict == "changed" and moved.distance_change is None


def test_continuous_scores_flip_whole_clusters():
    """Three clusters can never be significant (2 / 8), however many items they have."""
    rng = np.random.default_rng(0)
    values = np.column_stack([rng.normal(1.0, 0.1, 300), rng.normal(0.1, 0.1, 300)])
    few = compare_pairs(pairs(values, [f"t{n % 3}" for n in range(300)]), 0.0)
    assert (few.test, few.p, few.verdict) == ("sign flips of clusters", 0.25, "too few items")
    many = compare_pairs(pairs(values, [f"t{n % 30}" for n in range(300)]), 0.0)
    assert many.p < 0.001 and many.verdict == "better" and many.smallest_difference < 0.1


def test_bias_types_that_cancel():
    """One bias type from 60 to 50, the other from 40 to 50: overall stays at 50, the mean distance falls by 10."""
    down, up = table(180, 70, 20, 130), table(130, 20, 70, 180)
    both = pairs(np.vstack([down.values, up.values]), down.clusters + up.clusters, ["x"] * 400 + ["y"] * 400)
    found = compare_score(both, 50.0, "clusters")
    assert found.overall.difference.value == pytest.approx(0)
    assert found.overall.verdict == "no evidence"
    over = found.over_types
    assert over.a == pytest.approx(12.5) and over.b == pytest.approx(0)
    assert over.verdict == "better" and over.difference.high < 0
    assert found.over_clusters.difference.value < 0


def test_holm_is_over_bias_types_and_decides_the_verdict():
    """p of 0.03 alone says better; beside three bias types in which nothing happened it does not."""
    alone = table(480, 51, 29, 240)  # p = 0.018; 800 pairs, 66.4 -> 63.6
    assert 0.0125 < mcnemar(29, 51) < 0.05
    parts = [alone, *[table(400, 5, 5, 400)] * 3]
    joined = pairs(
        np.vstack([p.values for p in parts]),
        sum((p.clusters for p in parts), ()),
        [name for name, p in zip("abcd", parts, strict=True) for _ in p.clusters],
    )
    found = compare_score(joined, 50.0).bias_types["a"]
    assert compare_pairs(alone, 50.0).verdict == "better"
    assert found.p_holm == pytest.approx(4 * found.p) and found.verdict == "no evidence"


# --- what happens by chance ----------------------------------------------------------------------------------------


def two_models(rng, before, after, *, terms=30, size=10, apart=0.0):
    """Two models whose chances differ from term to term by `apart` (sd) around their means."""
    chances = rng.beta(before * 9, (1 - before) * 9, terms)
    others = np.clip(chances + after - before + rng.normal(0, apart, terms), 0, 1)
    luck = rng.random((2, terms, size))
    luck[1] = np.where(rng.random((terms, size)) < 0.7, luck[0], luck[1])  # mostly the same sentences fall alike
    hits = 100.0 * (luck < np.stack([chances, others])[:, :, None])
    return pairs(hits.reshape(2, -1).T, [f"t{t}" for t in range(terms) for _ in range(size)])


def verdicts(worlds, *args, **options):
    rng = np.random.default_rng(7)
    found = [compare_pairs(two_models(rng, *args, **options), 50.0, "clusters") for _ in range(worlds)]
    return found, Counter(entry.verdict for entry in found)


@pytest.mark.slow
@pytest.mark.by_day("0.5-0.5", "0.6-0.4")
@pytest.mark.parametrize(("before", "after"), [(0.5, 0.5), (0.6, 0.6), (0.6, 0.4)])
def test_where_nothing_got_better_or_worse_about_one_in_twenty_at_most_says_so(before, after):
    found, counts = verdicts(120, before, after)
    assert counts["better"] + counts["worse"] <= 0.1 * 120  # 0.05 and the luck of 120 worlds
    covered = np.mean([e.difference.low <= 100 * (after - before) <= e.difference.high for e in found])
    assert 0.9 <= covered <= 0.99


def test_where_every_cluster_is_one_unit_the_test_is_mcnemars_exact_one():
    found = compare_pairs(table(160, 80, 20, 140, terms=400), 50.0)
    assert found.clusters == 400 and found.p == found.p_mcnemar == mcnemar(20, 80)


def test_too_few_clusters_to_be_significant_are_too_few_items():
    """Five terms that all change: the smallest p of 2^5 sign flips is 2 / 32 = 0.0625."""
    found = compare_pairs(table(1, 1500, 0, 499, terms=5), 50.0)
    assert found.p == 2 / 32 and found.verdict == "too few items"


@pytest.mark.slow
def test_models_that_differ_by_term_fool_mcnemar_but_not_the_verdict():
    """Negative control: whole terms differ at random, their mean does not. McNemar takes items for independent."""
    found, counts = verdicts(80, 0.6, 0.6, apart=0.15)
    assert np.mean([entry.p_mcnemar <= 0.05 for entry in found]) > 0.1
    assert np.mean([entry.p <= 0.05 for entry in found]) < 0.1
    assert counts["better"] + counts["worse"] <= 0.06 * 80


def test_a_real_change_is_found():
    _, counts = verdicts(30, 0.7, 0.5, size=20)
    assert counts["better"] >= 20 and not counts["worse"]
    _, counts = verdicts(30, 0.5, 0.7, size=20)
    assert counts["worse"] >= 20 and not counts["better"]


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(1, 40))
def test_exchanging_the_models_mirrors_everything(both, down, up, neither):
    one = table(both, down, up, neither)
    there = compare_pairs(one, 50.0)
    back = compare_pairs(pairs(one.values[:, ::-1], one.clusters), 50.0)
    assert back.p == there.p
    assert back.difference.value == pytest.approx(-there.difference.value)
    mirrored = {"better": "worse", "worse": "better"}
    if "better" in (there.verdict, back.verdict) or "worse" in (there.verdict, back.verdict):
        if there.verdict in mirrored and back.verdict in mirrored:
            assert back.verdict == mirrored[there.verdict]
