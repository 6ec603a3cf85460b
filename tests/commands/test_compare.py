"""Runs against each other: the right pairs, the right words, and a refusal where the data differ."""

import json
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet
import pytest

from biasunlearn import compare as compare_typed
from biasunlearn.benchmarks import BENCHMARKS, stereoset
from biasunlearn.cli import main
from biasunlearn.commands.compare import compare_stages, paired_with_first
from biasunlearn.commands.measure import rescore
from biasunlearn.commands.run_stages import read_stage
from biasunlearn.errors import RequestError
from biasunlearn.report.tables.comparison import bias_type_tests, overview_table
from biasunlearn.stats.outcome import Outcome
from biasunlearn.stats.paired import mcnemar
from biasunlearn.stats.stereoset import Item
from tests.made_runs import debiased, entry, items, measured, text
from tests.shared_data import SHARED, needs_shared

BASE = {"age": 84, "work": 84}  # 70 %: 7 of the 10 pairs of each term
FAIR = {"age": 60, "work": 60}  # 50 %


def compare(*arguments, **options):
    """What the command gives, as plain values: compare.json."""
    return compare_typed(*arguments, **options).to_dict()


def by_type(result, score="ss", run=0):
    return result["comparisons"][run]["benchmarks"]["stereoset"]["scores"][score]["bias_types"]


def lines(result):
    return {(line["benchmark"], line["score"], line["run"]): line for line in result["overview"]}


def test_numbers_by_hand(tmp_path):
    """Per bias type 24 of 120 pairs leave the stereotyped side, none joins it: McNemar p = 2 / 2^24.

    All twelve terms change in the same direction: the smallest of 2^12 sign flips, p = 2 / 2^12.
    """
    base, better = measured(tmp_path / "a", items(BASE)), measured(tmp_path / "b", items(FAIR))
    result = compare([base, better])
    found = by_type(result)["age"]
    assert (found["n"], found["clusters"], found["up"], found["down"]) == (120, 12, 0, 24)
    assert found["p_mcnemar"] == mcnemar(0, 24) == pytest.approx(2 / 2**24)
    assert found["p"] == pytest.approx(2 / 2**12) and found["test"] == "sign flips of clusters"
    assert found["p_holm"] == pytest.approx(2 * found["p"])
    assert (found["a"]["value"], found["b"]["value"]) == (70, 50)
    assert (found["difference"]["value"], found["distance_change"]["value"]) == (-20, -20)
    assert found["verdict"] == "better"
    overview = lines(result)
    line = overview["stereoset", "ss", better]
    assert line["verdict"] == "better" and line["a"]["value"] == 70
    stored = json.loads((tmp_path / "a/results.json").read_text())["benchmarks"]["stereoset"]["overall"]["ss"]
    assert line["a"] == stored  # a score has one interval, wherever it is shown
    assert overview["stereoset", "mean |ss - 50|, bias types", better]["difference"]["value"] == pytest.approx(-20)
    assert overview["stereoset", "lms", better]["verdict"] == "no evidence"
    other = result["comparisons"][0]["benchmarks"]["stereoset"]["scores"]["margin"]["overall"]
    assert other["test"] == "sign flips of clusters"  # 24 margins of +1 became -1: by 48 * 2 / 240
    assert other["difference"]["value"] == pytest.approx(-0.4)


def test_a_run_against_itself(tmp_path):
    base = measured(tmp_path / "a", items(BASE), perplexity=20.0)
    result = compare([base, base])
    for parts in result["comparisons"][0]["benchmarks"]["stereoset"]["scores"].values():
        for found in (parts["overall"], *parts["bias_types"].values()):
            assert found["p"] == 1 and found["identical"]
            assert found["difference"] == pytest.approx({"value": 0, "low": 0, "high": 0})
    assert lines(result)["stereoset", "ss", f"{base} (2)"]["verdict"] == "no evidence"  # 240 items: from 9.9 points
    assert {row["verdict"] for row in by_type(result).values()} == {"too few items"}  # 120 items: from 14 points
    assert lines(result)["perplexity", "per_token", f"{base} (2)"]["change_percent"] == 0
    assert result["seeds"] == []


def test_40_and_60_do_not_cancel(tmp_path):
    mixed, fair = {"age": 48, "work": 72}, FAIR
    result = compare([measured(tmp_path / "a", items(mixed)), measured(tmp_path / "b", items(fair))])
    overview = {line["score"]: line for line in result["overview"]}
    assert overview["ss"]["difference"]["value"] == 0 and overview["ss"]["verdict"] != "better"
    apart = overview["mean |ss - 50|, bias types"]
    assert (apart["a"]["value"], apart["b"]["value"], apart["verdict"]) == (10, 0, "better")


def test_past_50_is_called_over_debiased(tmp_path):
    low = measured(tmp_path / "b", items({"age": 36, "work": 60}))
    result = compare([measured(tmp_path / "a", items(BASE)), low])
    age = by_type(result)["age"]  # 70 -> 30: a difference, and neither better nor worse
    assert age["over_debiased"] and age["p_holm"] < 0.001 and age["verdict"] not in ("better", "worse")
    assert not by_type(result)["work"]["over_debiased"]


@pytest.mark.slow
def test_the_stages_of_a_debias_run(tmp_path):
    run = debiased(tmp_path / "run", items(BASE), items(FAIR), perplexity=(20.0, 21.0))
    result = compare([f"{run}:before", run])
    assert [(r["stage"], r["seed"]) for r in result["runs"]] == [("before", 0), ("after", 0)]
    assert lines(result)["stereoset", "ss", run]["difference"]["value"] == -20
    text = lines(result)["perplexity", "per_token", run]
    assert text["change_percent"] == pytest.approx(5) and text["verdict"] is None
    assert compare([run, f"{run}:after"])["overview"][0]["difference"]["value"] == 0
    with pytest.raises(RequestError, match="has no stage before"):
        compare([run, measured(tmp_path / "m", items(BASE)) + ":before"])


@pytest.mark.slow
def test_what_cannot_be_compared_is_refused(tmp_path):
    base = measured(tmp_path / "a", items(BASE))
    for one in ([base], base):  # a path alone is one run, not a sequence of letters
        with pytest.raises(RequestError, match="two runs or more; for one debias run write RUN:before RUN"):
            compare(one)
    with pytest.raises(RequestError, match="no finished run here"):
        compare([base, tmp_path / "nowhere"])
    made = items(FAIR)
    cases = {
        "other file": (made, entry(made, sha256="cd" * 32), "720 items are shared, of 720 and 720; sha256 abab"),
        "fewer items": (made[3:], None, "717 items are shared, of 720 and 717"),
        "other items": (items(FAIR, prefix="new-"), None, "0 items are shared"),
        # The same sentences with their labels exchanged: the ids are shared, what they say is not.
        "other labels": ([replace(i, target="x") for i in made], None, "720 items are shared, of 720 and 720"),
    }
    for name, (chosen, stored, message) in cases.items():
        entries = {"stereoset": stored or entry(chosen)}
        other = measured(tmp_path / name, chosen, benchmarks=entries)
        with pytest.raises(RequestError, match="stereoset: .* measured on different data") as refused:
            compare([base, other])
        assert message in str(refused.value), name
    short = measured(tmp_path / "text", [], benchmarks={"perplexity": {**text(2.0), "bytes": 3}})
    with pytest.raises(RequestError, match="no benchmark in common: stereoset against perplexity"):
        compare([base, short])
    longer = measured(tmp_path / "longer", [], benchmarks={"perplexity": {**text(2.0), "bytes": 4}})
    with pytest.raises(RequestError, match="perplexity: .* different data"):
        compare([short, longer])


def test_items_in_another_order_are_the_same_data(tmp_path):
    made = items(FAIR)
    base, there, back = (measured(tmp_path / name, chosen, benchmarks={"stereoset": entry(made)})
                         for name, chosen in (("a", items(BASE)), ("b", made), ("c", made[::-1])))  # fmt: skip
    there, back = (compare([base, run])["comparisons"][0]["benchmarks"] for run in (there, back))
    assert there == back


def test_the_outcomes_of_each_run_are_computed_once(tmp_path, monkeypatch):
    """The first of many runs is compared with each of the others."""
    counted = Counter()
    whole = stereoset.outcomes
    monkeypatch.setattr(stereoset, "outcomes", lambda items: counted.update([id(items)]) or whole(items))
    compare([measured(tmp_path / str(number), items(FAIR)) for number in range(4)])
    assert sorted(counted.values()) == [1, 1, 1, 1]


def test_a_page_shows_the_same_tests_as_compare_from_fewer_of_them(tmp_path):
    """Scores that a page does not show are not tested for it, and others only where their tests are shown."""
    made = [items({"age": 84 - 12 * n, "work": 70}, meaningless=9 * n) for n in range(3)]
    stages = [read_stage(measured(tmp_path / str(n), one)) for n, one in enumerate(made)]
    whole = compare_stages(stages, paired_with_first(stages))
    page = compare_stages(stages, paired_with_first(stages, for_page=True), for_page=True)
    letters = dict(zip([stage.name for stage in stages], "ABC", strict=True))
    for tables in (overview_table, bias_type_tests):
        assert tables(page, letters) == tables(whole, letters)
    assert page.nearer == whole.nearer
    scores = [one.comparisons[0].benchmarks["stereoset"].scores for one in (page, whole)]
    shown, known = ({name: len(score.bias_types) for name, score in one.items()} for one in scores)
    assert shown == {"ss": 2, "lms": 0} and known == {"ss": 2, "lms": 2, "margin": 2}


def test_a_benchmark_that_one_run_lacks_is_named(tmp_path):
    base, other = measured(tmp_path / "a", items(BASE), perplexity=9.0), measured(tmp_path / "b", items(FAIR))
    result = compare([base, other])
    assert result["comparisons"][0]["not_shared"] == ["perplexity"]
    assert {line["benchmark"] for line in result["overview"]} == {"stereoset"}


@pytest.mark.slow
def test_runs_that_differ_in_their_seed_only_show_their_spread(tmp_path):
    """SS of age: 50, 55, 60 in three seeds: mean 55, standard deviation 5. A fourth run has another recipe."""
    ages = (60, 66, 72)
    seeds = [
        debiased(tmp_path / f"s{seed}", items(BASE), items({"age": age, "work": 60}), seed=seed, beta=0.1)
        for seed, age in enumerate(ages)
    ]
    other = debiased(tmp_path / "other", items(BASE), items(FAIR), seed=3, beta=0.2)
    result = compare([f"{seeds[0]}:before", *seeds, other])
    (group,) = result["seeds"]
    assert (group["runs"], group["seeds"]) == (seeds, [0, 1, 2])
    spread = group["benchmarks"]["stereoset"]["bias_types"]["age"]["ss"]
    assert spread["values"] == [50, 55, 60] and (spread["mean"], spread["sd"]) == (55, 5)
    assert spread["low"] <= 55 <= spread["high"]
    assert group["benchmarks"]["stereoset"]["overall"]["ss"]["mean"] == pytest.approx(52.5)
    assert group["benchmarks"]["perplexity"]["overall"]["per_token"]["sd"] == 0
    assert len(result["comparisons"]) == 4


def test_the_folder_holds_what_it_was_computed_from(tmp_path):
    runs = [measured(tmp_path / "a", items(BASE)), measured(tmp_path / "b", items(FAIR))]
    result = compare(runs, out=tmp_path / "c")
    assert json.loads((tmp_path / "c/compare.json").read_text()) == result
    table = pyarrow.parquet.read_table(tmp_path / "c/items.parquet").to_pandas()
    rows = table[(table.score == "ss") & (table.bias_type == "age")]
    assert len(rows) == 120 and rows.difference.mean() == pytest.approx(-20)
    assert mcnemar(int((rows.difference > 0).sum()), int((rows.difference < 0).sum())) == pytest.approx(2 / 2**24)
    with pytest.raises(RequestError, match="already holds a comparison"):
        compare(runs, out=tmp_path / "c")
    with pytest.raises(RequestError, match="already holds a finished run"):
        compare(runs, out=tmp_path / "a")


def made_benchmark(values_of):
    """A benchmark of the common shape whose items carry the values of two scores."""

    def outcomes(made):
        return [
            Outcome(item.cluster_id, item.target, item.bias_type, score, value)
            for item in made for score, value in values_of(item).items()
        ]  # fmt: skip

    return SimpleNamespace(outcomes=outcomes, IDEAL={"accuracy": 1.0})  # accuracy_twice is asked in another way


def test_any_benchmark_is_compared_by_its_outcomes(tmp_path, monkeypatch):
    """Accuracy is 0 or 1; "speed" has no ideal; "style" is only defined where the answer is right."""

    def values_of(item):
        right = float(item.score > 0)
        return {"speed": item.score, "accuracy": right, "accuracy_twice": right} | ({"style": 1.0} if right else {})

    monkeypatch.setitem(BENCHMARKS, "quiz", made_benchmark(values_of))
    rng = np.random.default_rng(0)
    first, second = rng.normal(0, 1, 600), rng.normal(1.5, 1, 600)
    runs = [
        measured(
            tmp_path / name,
            [Item("quiz", str(n), str(n), "x", f"t{n % 20}", "k", "r", float(v), 1) for n, v in enumerate(values)],
            benchmarks={"quiz": {"ideal": {}, "n": 600, "overall": {"n": 600}, "bias_types": {}}},
        )
        for name, values in (("a", first), ("b", second))
    ]
    scores = compare(runs)["comparisons"][0]["benchmarks"]["quiz"]["scores"]
    assert list(scores) == ["accuracy", "speed", "accuracy_twice", "style"]  # its own score first
    assert scores["accuracy_twice"]["ideal"] == 1 and scores["speed"]["ideal"] is None
    accuracy, speed = scores["accuracy"]["overall"], scores["speed"]["overall"]
    assert (accuracy["test"], accuracy["verdict"]) == ("sign flips of clusters", "better")
    assert accuracy["difference"]["value"] == pytest.approx((second > 0).mean() - (first > 0).mean())
    assert (speed["test"], speed["verdict"]) == ("sign flips of clusters", "changed")
    both = ((first > 0) & (second > 0)).sum()
    assert scores["style"]["overall"]["n"] == both
    assert scores["style"]["unpaired"] == ((first > 0) ^ (second > 0)).sum()


@pytest.mark.slow
def test_the_command_prints_tables_or_json(tmp_path, capsys):
    evil = "[red]old[/red]<script>"
    base, fair, other = (items({evil: n, "work": 60}, bias_types=(evil, "work")) for n in (84, 60, 62))
    runs = [
        measured(tmp_path / "a", base),
        debiased(tmp_path / "b", base, fair),
        debiased(tmp_path / "c", base, other, seed=1),
    ]
    assert main(["compare", *runs, "--out", str(tmp_path / "out")]) == 0
    shown = capsys.readouterr().out
    for part in ("better", "Holm", evil, "Spread between seeds: B (seed 0), C (seed 1)", "mean |ss - 50|, bias types"):
        assert part in shown, part
    assert "Measured in A or B only: perplexity" in shown
    assert main(["compare", *runs[:2], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["overview"][0]["verdict"] == "better"
    assert main(["compare", runs[0], str(tmp_path / "none")]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no finished run here" in error


@pytest.mark.slow
@needs_shared
def test_two_published_models(tmp_path):
    """Official predictions of gpt2 and gpt2-medium: on gender, race and religion 87 pairs against 109.

    Known from an independent count of 1,294 of these 1,296 pairs: 87 against 108, p = 0.15.
    """
    dev = {"stereoset": str(SHARED / "data/stereoset/dev.json")}
    runs = [str(tmp_path / model) for model in ("gpt2", "gpt2-medium")]
    for run, model in zip(runs, ("gpt2", "gpt2-medium"), strict=True):
        rescore(dev, str(SHARED / f"data/predictions/predictions_{model}_ModelNSP_GPT2LM.json.gz"), out=run)
    result = compare(runs)
    types = by_type(result)
    assert "predictions_gpt2_" in result["runs"][0]["model"]
    up, down = (sum(types[name][way] for name in ("gender", "race", "religion")) for way in ("up", "down"))
    assert (up, down) == (109, 87) and mcnemar(108, 87) == pytest.approx(0.15, abs=0.005)
    assert types["religion"]["verdict"] == "too few items" and types["religion"]["few_clusters"]
    assert {row["verdict"] for row in types.values()} <= {"no evidence", "too few items"}
