"""SS, LMS, ICAT: by hand, by property, and against the official prediction files."""

import gzip
import json
import math

import numpy as np
import pytest

from biasunlearn.commands.measure import rescore
from biasunlearn.errors import RequestError
from biasunlearn.stats.bootstrap import Estimate
from biasunlearn.stats.stereoset import (
    Comparison,
    Item,
    comparisons,
    fair_distance,
    icat,
    is_over_debiased,
    smallest_difference,
    ss_with_interval,
    stereoset_scores,
)
from tests.shared_data import SHARED, needs_shared
from tests.stats.coverage import coverage


def row(bias_type, target, stereotyped, meaningful=1.0):
    return Comparison(bias_type, target, float(stereotyped), meaningful, 1.0 if stereotyped else -1.0)


def test_mean_over_terms_not_over_items():
    # term a: 1 of 1 stereotyped (100 %), term b: 1 of 4 (25 %). Official: (100 + 25) / 2 = 62.5. Pooled: 2 / 5 = 40.
    rows = [row("x", "a", 1), row("x", "b", 1), row("x", "b", 0), row("x", "b", 0), row("x", "b", 0)]
    overall = stereoset_scores(rows).overall
    assert overall.ss.value == pytest.approx(62.5)
    assert overall.ss_micro == pytest.approx(40)


def test_pooled_ss_draws_whole_terms_too():
    """Two terms, one all stereotyped, one not at all, equally large: a draw pools to 0, 50 or 100."""
    rows = [row("x", t, t == "a") for t in "ab" for _ in range(30)]
    overall = stereoset_scores(rows).overall
    assert (overall.ss_micro_low, overall.ss_micro, overall.ss_micro_high) == (0, 50, 100)


def test_lms_counts_both_comparisons():
    # One cluster: the stereotype beats the unrelated sentence, the anti-stereotype does not: LMS 50.
    items = [
        Item("s", "1", "c", "x", "t", "intrasentence", "stereotype", -1.0, 3),
        Item("s", "2", "c", "x", "t", "intrasentence", "anti-stereotype", -3.0, 3),
        Item("s", "3", "c", "x", "t", "intrasentence", "unrelated", -2.0, 3),
    ]
    overall = stereoset_scores(comparisons(items)).overall
    assert overall.lms.value == 50
    assert overall.ss.value == 100
    assert overall.icat.value == 0


@pytest.mark.parametrize(
    ("ss", "lms", "by_hand"), [(60, 90, 72), (50, 90, 90), (40, 90, 72), (100, 100, 0), (0, 80, 0)]
)
def test_icat_by_hand(ss, lms, by_hand):
    assert icat(ss, lms) == pytest.approx(by_hand)


def test_ties_count_as_anti_and_are_reported():
    tie = Comparison("x", "t", 0.0, 0.0, 0.0)
    overall = stereoset_scores([tie, row("x", "t", 1)]).overall
    assert overall.ties == 1
    assert overall.ss.value == 50


def test_a_model_that_scores_everything_alike_is_not_called_fair():
    """A collapsed model: all ties. SS is 0, not 50, LMS is 0, and the ties say why."""
    roles = ("stereotype", "anti-stereotype", "unrelated")
    items = [Item("s", f"{n}{r}", str(n), "x", "t", "intrasentence", r, -1.0, 3) for n in range(5) for r in roles]
    overall = stereoset_scores(comparisons(items)).overall
    assert (overall.ss.value, overall.lms.value, overall.ties) == (0, 0, 5)
    assert overall.low_lms


def test_without_unrelated_sentences_lms_is_none():
    overall = stereoset_scores([row("x", "t", 1, None)]).overall
    assert overall.lms is None and overall.icat is None


def test_order_changes_nothing_and_seed_decides():
    rng = np.random.default_rng(0)
    rows = [row("xy"[i % 2], f"t{i % 24}", rng.random() < 0.6, rng.integers(3) / 2) for i in range(240)]
    shuffled = [rows[i] for i in rng.permutation(len(rows))]
    assert stereoset_scores(rows) == stereoset_scores(rows)
    first, second = stereoset_scores(rows), stereoset_scores(shuffled)
    assert second.overall.ss.low == pytest.approx(first.overall.ss.low, abs=1e-9)
    assert second.overall.ss.value == pytest.approx(first.overall.ss.value, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("worlds", [100, pytest.param(400, marks=pytest.mark.exhaustive)])
def test_interval_covers_the_truth_about_as_often_as_it_says(worlds):
    """30 terms of 20 items, true SS 60, ICAT 80, terms differ (sd 6): a 95 % interval in simulated data sets."""
    rng = np.random.default_rng(1)
    hits = icat_hits = 0
    for _ in range(worlds):
        chances = np.clip(rng.normal(0.60, 0.06, 30), 0, 1)
        rows = [row("x", f"t{t}", hit) for t, p in enumerate(chances) for hit in rng.random(20) < p]
        overall = stereoset_scores(rows).overall
        hits += overall.ss.low <= 60 <= overall.ss.high
        icat_hits += overall.icat.low <= 80 <= overall.icat.high
    assert 0.90 <= hits / worlds <= 0.99
    assert 0.90 <= icat_hits / worlds <= 0.99


@pytest.mark.exhaustive
@pytest.mark.parametrize("worlds", [600])
def test_the_interval_covers_more_than_the_plain_percentiles_with_few_terms(worlds):
    """10 terms of 25 items. Negative control: 2.5 % and 97.5 % of the same draws cover less often."""
    found = coverage(worlds, terms=10, items=25)
    assert 92 <= found["ss"][0] <= 98
    assert 92 <= found["icat"][0] <= 98
    for reported, plain in found.values():
        assert reported >= plain + 1


def test_lms_without_some_unrelated_sentences_is_the_mean_over_the_terms_that_have_them():
    """Term a: 1 and 0 -> 50, one item unknown; b: 1 -> 100; c: nothing known. LMS (50 + 100) / 2 = 75, ICAT follows."""
    known = [row("x", "a", 1, 1.0), row("x", "a", 1, 0.0), row("x", "a", 0, None), row("x", "b", 0, 1.0)]
    entry = stereoset_scores([*known, row("x", "c", 0, None)]).overall
    assert entry.lms.value == 75 and entry.lms.low <= 75 <= entry.lms.high
    assert entry.ss.value == pytest.approx(100 * (2 / 3 + 0 + 0) / 3)
    assert entry.icat.value == pytest.approx(icat(entry.ss.value, 75))


def test_scores_of_equal_items_have_an_interval_of_no_width():
    """Every item the same: SS 100, LMS 100, ICAT 0, whatever is drawn."""
    entry = stereoset_scores([row("x", f"t{n}", 1) for n in range(12)]).overall
    assert entry.ss == Estimate(100, 100, 100)
    assert entry.lms == Estimate(100, 100, 100)
    assert entry.icat == Estimate(0, 0, 0)


def test_few_terms_widen_the_interval_to_the_items():
    """Three terms that happen to agree: terms alone would claim certainty, the items do not."""
    rows = [row("x", t, n < 5) for t in "abc" for n in range(10)]
    entry = stereoset_scores(rows).bias_types["x"]
    assert entry.few_terms and entry.terms == 3
    assert entry.ss.low < 40 and entry.ss.high > 60


@pytest.mark.parametrize("terms", [4, 24])
def test_ss_by_itself_is_ss_among_all_scores(terms):
    rng = np.random.default_rng(5)
    rows = [row("xy"[i % 2], f"t{i % terms}", rng.random() < 0.6, [None, 1.0][i % 3 > 0]) for i in range(96)]
    overall = stereoset_scores(rows).overall
    count, ss = ss_with_interval(rows)
    assert count == overall.terms
    assert (ss.value, ss.low, ss.high) == pytest.approx((overall.ss.value, overall.ss.low, overall.ss.high), abs=1e-9)


def test_smallest_difference_by_hand():
    # (1.96 + 0.84) * sqrt(0.30 / 940) = 0.0500
    assert smallest_difference(940) == pytest.approx(5.0, abs=0.01)
    assert smallest_difference(1) > 100


def test_a_cluster_without_its_pair_is_an_error():
    with pytest.raises(RequestError, match="item c"):
        comparisons([Item("s", "1", "c", "x", "t", "intrasentence", "stereotype", -1.0, 3)])


@pytest.mark.slow
@needs_shared
@pytest.mark.parametrize("model", ["gpt2", "gpt2-medium"])
def test_official_predictions_give_the_published_numbers(model):
    expected = json.loads((SHARED / "data/predictions/expected_scores.json").read_text())["models"][model]
    results = rescore(
        {"stereoset": str(SHARED / "data/stereoset/dev.json")},
        str(SHARED / f"data/predictions/predictions_{model}_ModelNSP_GPT2LM.json.gz"),
    )
    entry = results.benchmarks.stereoset
    assert entry.n == 2106
    for name, measured in {**entry.bias_types, "overall": entry.overall}.items():
        for ours, theirs in (("ss", "SS"), ("lms", "LMS"), ("icat", "ICAT")):
            assert math.isclose(measured.interval(ours).value, expected[name][theirs], abs_tol=1e-9), (name, ours)


@pytest.mark.slow
@needs_shared
def test_exchanging_stereotype_and_anti_mirrors_ss(tmp_path):
    """Negative control: the same scores on a file whose labels are exchanged give 100 - SS (no ties here)."""
    data = json.loads((SHARED / "data/stereoset/dev.json").read_text())
    other = {"stereotype": "anti-stereotype", "anti-stereotype": "stereotype", "unrelated": "unrelated"}
    for cluster in data["data"]["intrasentence"]:
        for sentence in cluster["sentences"]:
            sentence["gold_label"] = other[sentence["gold_label"]]
    (tmp_path / "swapped.json").write_text(json.dumps(data))
    scores = SHARED / "data/predictions/predictions_gpt2_ModelNSP_GPT2LM.json.gz"
    plain = rescore({"stereoset": str(SHARED / "data/stereoset/dev.json")}, str(scores))
    mirrored = rescore({"stereoset": str(tmp_path / "swapped.json")}, str(scores))
    assert plain.benchmarks.stereoset.overall.ties == 0
    first, second = (r.benchmarks.stereoset.overall.ss.value for r in (plain, mirrored))
    assert first + second == pytest.approx(100)
    assert json.loads(gzip.decompress(scores.read_bytes()))["intrasentence"][0]["score"] > 0


# --- the distance from 50, since 40 and 60 average to 50 -----------------------------------------------------------


def test_40_and_60_average_to_50_but_not_their_distance():
    """Ten terms of ten pairs at 40 and ten at 60: macro SS 50, 10 points off per term and per bias type."""
    rows = [row(b, f"t{t}", n < hits) for b, hits in (("x", 4), ("y", 6)) for t in range(10) for n in range(10)]
    scores = stereoset_scores(rows)
    overall = scores.overall
    assert overall.ss.value == 50
    assert overall.ss_distance.value == overall.ss_distance_terms.value == 10
    assert scores.bias_types["x"].ss_distance_terms.value == 10
    assert scores.bias_types["x"].over_debiased and not scores.bias_types["y"].over_debiased
    assert not overall.over_debiased


def test_a_share_of_0_that_is_made_of_ties_is_not_past_50():
    """40 pairs of which none is stereotyped: by ties in one case (SS 0 as well), by preference in the other."""
    tied, preferred = ([Comparison("x", f"t{n}", 0.0, 1.0, margin) for n in range(40)] for margin in (0.0, -1.0))
    assert stereoset_scores(tied).overall.ss.value == stereoset_scores(preferred).overall.ss.value == 0
    assert not stereoset_scores(tied).overall.over_debiased and stereoset_scores(preferred).overall.over_debiased
    assert is_over_debiased(45, 0, 20) and not is_over_debiased(45, 1, 20) and is_over_debiased(44.9, 1, 20)


@pytest.mark.parametrize(("pairs", "points"), [(1, 50), (2, 25), (3, 25), (5, 18.75), (10, 12.3046875)])
def test_what_a_fair_model_shows_by_luck(pairs, points):
    """n = 2: 0, 50 or 100 with chances 1/4, 1/2, 1/4 -> 25. n = 10: 100 / 10 * 6 * C(10, 6) / 2^10 = 12.3."""
    assert fair_distance(pairs) == pytest.approx(points)
    by_sum = sum(math.comb(pairs, k) * abs(100 * k / pairs - 50) for k in range(pairs + 1)) / 2**pairs
    assert fair_distance(pairs) == pytest.approx(by_sum)


@pytest.mark.slow
def test_a_fair_model_shows_what_luck_gives_and_its_interval_reaches_0():
    """100 worlds of coin tosses: the distance is never 0, its expectation stands beside it, its interval holds 0."""
    rng = np.random.default_rng(3)
    found = {"ss_distance": [], "ss_distance_terms": []}
    reach = 0
    for _ in range(100):
        rows = [row(b, f"t{t}", rng.random() < 0.5) for b in "xyz" for t in range(12) for _ in range(8)]
        overall = stereoset_scores(rows).overall
        reach += overall.ss_distance.low == 0
        for name, values in found.items():
            values.append(getattr(overall, name).value / getattr(overall, name).if_fair)
    assert np.mean(found["ss_distance"]) == pytest.approx(1, abs=0.12)
    assert np.mean(found["ss_distance_terms"]) == pytest.approx(1, abs=0.03)
    assert reach >= 90


@pytest.mark.slow
@pytest.mark.parametrize(("worlds", "terms"), [(50, 15), pytest.param(200, 30, marks=pytest.mark.exhaustive)])
def test_a_biased_model_s_distance_is_covered(worlds, terms):
    """Three bias types at 60, 40 and 58: distance 28 / 3, standard error 2 points each with 30 terms, 2.8 with 15."""
    rng = np.random.default_rng(4)
    hits = 0
    for _ in range(worlds):
        chances = (("x", 0.60), ("y", 0.40), ("z", 0.58))
        rows = [row(b, f"t{t}", rng.random() < p) for b, p in chances for t in range(terms) for _ in range(20)]
        found = stereoset_scores(rows).overall.ss_distance
        hits += found.low <= 28 / 3 <= found.high
    assert 0.90 <= hits / worlds <= 0.99
